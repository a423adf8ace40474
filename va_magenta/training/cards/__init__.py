"""Cards: what a checkpoint is, how it was made and how well it does.

The templates, one Markdown file a kind of model, lie beside this file; fields
in braces are filled in as by `str.format`.
"""

import pathlib

from va_magenta import files

_FOLDER = pathlib.Path(__file__).parent


def render(template: str, /, **fields) -> str:
  """The text of a template with its fields filled in.

  Args:
    template: its name, without `.md`.
    **fields: by name.
  """
  text = (_FOLDER / f'{template}.md').read_text(encoding='utf-8')
  return text.format(**fields)


def write(folder: pathlib.Path, template: str, /, **fields):
  """Writes a card, whole or not at all, as `README.md` of a folder."""
  text = render(template, **fields)
  with files.writing(folder / 'README.md') as temporary:
    temporary.write_text(text, encoding='utf-8')
