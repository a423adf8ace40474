"""What the commands share: quiet start, one-line errors, exit codes.

The rule of the house: whatever a user can put right is raised as `ValueError`,
`OSError` or `ImportError` with a message of one line that says what, where, and
what would be right. A command prints that line and exits with 1;
`--verbosity=1` adds the traceback. Anything else is a bug of ours and keeps its
traceback.
"""

import importlib.machinery
import importlib.util
import io
import os
import re
import signal
import sys
import types
import warnings
from collections.abc import Callable, Sequence

from absl import app, flags, logging

# Flags that are defined here are those of the module that asks for them.
flags.disclaim_key_flags()


class _PathParser(flags.ArgumentParser):
  """Expands `~`, which shells leave alone after `--flag=`."""

  def parse(self, argument):
    if not argument:
      raise ValueError('a path must not be empty')
    return os.path.expanduser(argument)


def DEFINE_path(name: str, default: str | None, help: str, **kwargs):
  """Defines a flag that takes a path, or a name where the text says so.

  Every flag of ours that takes a path is defined by this one.
  """
  return flags.DEFINE(
      _PathParser(), name, default, help, flags.FLAGS,
      flags.ArgumentSerializer(), **kwargs)


def DEFINE_multi_path(name: str, default: list[str] | None, help: str):
  """Likewise, of one that may be given again."""
  return flags.DEFINE_multi(
      _PathParser(), flags.ArgumentSerializer(), name, default, help)


class _OptionalEnumFlag(flags.Flag):
  """May be given without a value, as boolean flags are."""

  def __init__(self, name: str, values: list[str], help: str):
    super().__init__(
        _OptionalEnumParser(values), flags.ArgumentSerializer(), name, False,
        f'<{"|".join(values)}>: {help} Without a value: {values[0]}.',
        boolean=True)


class _OptionalEnumParser(flags.ArgumentParser):

  def __init__(self, values: list[str]):
    self._values = values

  def parse(self, argument):
    if argument in (False, 'false'):
      return False
    value = self._values[0] if argument == 'true' else argument.lower()
    if value not in self._values:
      raise ValueError(f'should be one of {", ".join(self._values)}')
    return value

  def flag_type(self):
    return 'string enum'


def DEFINE_optional_enum(name: str, values: list[str], help: str):
  """Defines a flag that is False, or one of some values: the first if bare."""
  return flags.DEFINE_flag(_OptionalEnumFlag(name, values, help))


def check_file(path: str | None, name: str):
  """Raises FileNotFoundError if a file is asked for that is not there."""
  if path is not None and not os.path.isfile(path):
    raise FileNotFoundError(f'there is no {name} at {path}')


def run(main: Callable[[Sequence[str]], int | None], *,
        takes_arguments: bool = False, any_backend: bool = False):
  """Parses flags, runs `main(argv)` and exits with its return value (or 0).

  `--help` prints the docstring and the flags of main's module and exits with 0.

  Args:
    main: called with the program's name and the arguments that are no flags. It
      imports TensorFlow itself, after the flags are parsed, so that `--help` is
      instant.
    takes_arguments: whether there may be any that are no flags.
    any_backend: whether KERAS_BACKEND says what Keras runs on; of a command
      that trains on JAX as well.
  """
  # TensorFlow's C++ log (where no GPU is, even its errors) would drown the one
  # line that matters, and so would pydub, which note_seq imports for nothing.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  if not any_backend:
    os.environ['KERAS_BACKEND'] = 'tensorflow'  # What all is tested on.
  warnings.filterwarnings('ignore', "Couldn't find ffmpeg", RuntimeWarning)
  # Where it is set, pyfluidsynth prints to stdout which library it has found.
  os.environ.pop('CI', None)
  # note_seq would import it, for plots that we do not draw, for a second.
  _defer('bokeh', 'plotting')
  # A plain `kill` ends the command like an exception: temporary files go.
  signal.signal(signal.SIGTERM, _raise_exit)
  _open_streams()

  def parse_flags(argv: Sequence[str]) -> list[str]:
    if _wants_help(argv):
      print(_help(main))
      sys.exit(0)
    try:
      return flags.FLAGS(argv)
    except flags.Error as error:
      message = re.sub(
          r'^flag --(\w+)=None: .* must have a value other than None\.$',
          r'--\1 must be given', str(error), flags=re.MULTILINE)
      _fail(f'{", ".join(message.splitlines())} (--help lists the flags)')

  def checked_main(argv: Sequence[str]) -> int | None:
    try:
      if argv[1:] and not takes_arguments:
        raise ValueError(
            f'unexpected argument {argv[1]!r}: flags begin with --')
      code = main(argv)
      print_all()
      return code
    except (ValueError, OSError, ImportError) as error:
      if logging.get_verbosity() >= logging.DEBUG:
        raise
      _fail(error)
    except KeyboardInterrupt:
      _fail('interrupted', exit_code=128 + signal.SIGINT)

  try:
    app.run(checked_main, flags_parser=parse_flags)
  finally:
    signal.alarm(0)  # Of _raise_exit: who is slow to end is not killed by it.


def print_all(*lines: str):
  """Prints lines, and has all that was printed arrive, or raises OSError.

  A reader who has gone (`| head -1`) wants no more, which is no error.
  """
  try:
    for line in lines:
      print(line)
    sys.stdout.flush()
  except BrokenPipeError:
    _to_nowhere(1)
  except OSError as error:
    _to_nowhere(1)  # Or Python tries again at the end, and complains.
    raise OSError(f'cannot print: {error.strerror}') from error


def _open_streams():
  """Lets commands print whatever they were started with.

  A stream that is closed (`2>&-`) leads nowhere; else the first file that is
  opened would take its place, and get what libraries print. A name that the
  terminal's encoding lacks is escaped.
  """
  for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    if getattr(sys, name) is None:
      _to_nowhere(number)
      setattr(sys, name, open(number, 'w' if number else 'r', closefd=False))
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='backslashreplace')


def _to_nowhere(number: int):
  null = os.open(os.devnull, os.O_RDWR)
  if null != number:
    os.dup2(null, number)
    os.close(null)


def _raise_exit(signal_number, frame):
  del signal_number, frame
  # Libraries have handlers that swallow any exception: then it comes again.
  signal.signal(signal.SIGALRM, _raise_exit)
  signal.alarm(2)
  sys.exit(128 + signal.SIGTERM)


def error_line(error: Exception | str) -> str:
  """What a command prints on stderr of what the user can put right."""
  return f'{_program()}: error: {one_line(error)}'


def one_line(error: Exception | str) -> str:
  """What is wrong, without the name of the command."""
  message = error if isinstance(error, str) else _message(error)
  return ' '.join(message.split())


def _fail(error: Exception | str, exit_code: int = 1):
  print(error_line(error), file=sys.stderr)
  sys.exit(exit_code)


def _message(error: Exception) -> str:
  if isinstance(error, OSError) and error.strerror:  # Without '[Errno 2]'.
    return (
        f'{error.filename}: {error.strerror}' if error.filename else
        error.strerror)
  return str(error) or type(error).__name__


def _program() -> str:
  return os.path.basename(sys.argv[0]).removesuffix('.py')


def _wants_help(argv: Sequence[str]) -> bool:
  names = [arg.partition('=')[0] for arg in argv[1:]]
  if '--' in names:
    names = names[:names.index('--')]
  return any(name in _HELP_FLAGS for name in names)


_HELP_FLAGS = frozenset(
    dashes + name for dashes in ('-', '--')
    for name in ('h', 'help', 'helpshort', 'helpfull'))


def _help(main: Callable) -> str:
  """Usage text. absl would print the docstring of the installed script."""
  module = sys.modules[main.__module__]
  # absl files the flags of the script that runs under the script's path.
  name = sys.argv[0] if module.__name__ == '__main__' else module.__name__
  return f'{module.__doc__ or ""}\nFlags of {_program()}:\n' + (
      flags.FLAGS.module_help(name))


class _Deferred(types.ModuleType):
  """A module that runs when something in it is asked for."""

  def __getattr__(self, name):
    self.__class__ = types.ModuleType  # pyright: ignore[reportAttributeAccessIssue]
    self.__spec__.loader.exec_module(self)
    return getattr(self, name)


def _defer(package: str, submodule: str):
  """Has a package and one of its modules run when they are needed, if ever.

  `importlib.util.LazyLoader` would run them at the next import statement.
  """
  path = None
  for name in (package, f'{package}.{submodule}'):
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec is None or name in sys.modules:
      return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _Deferred
    sys.modules[name] = module
    path = spec.submodule_search_locations
  setattr(sys.modules[package], submodule, module)
