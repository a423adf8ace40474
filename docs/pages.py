"""Has mkdocs take the pages from where they are in the repository.

So one link works on a git host and on the site.
"""

import pathlib

from mkdocs.structure.files import File, Files

_ROOT = pathlib.Path(__file__).parents[1]
_PAGES = ('*.md', 'docs/**/*.md', 'checkpoints/*/*.md', 'datasets/*/*.md')
# What pages show, or give to download.
_OTHERS = (
    'LICENSE', 'CITATION.cff', 'checkpoints/*/*.png', 'datasets/*/*.png',
    'examples/*.png', 'examples/*.jpg', 'examples/*.ipynb',
    'examples/samples/*')


def on_files(files: Files, config) -> Files:
  """All of the repository that is part of the site, and nothing else."""
  del files
  return Files([
      File.generated(
          config, path.relative_to(_ROOT).as_posix(), abs_src_path=str(path))
      for glob in (*_PAGES, *_OTHERS) for path in sorted(_ROOT.glob(glob))])
