"""Commands fail with one line and exit code 1, and help without TensorFlow."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent('''
    """A small command.

      probe --number=1
    """
    import os, signal, sys, tempfile, time
    from absl import flags
    from va_magenta import command, files

    flags.DEFINE_integer('number', 0, 'A number.', lower_bound=0)
    flags.DEFINE_enum('do', 'nothing', [
        'nothing', 'value', 'os', 'missing', 'bug', 'wait', 'interrupt',
        'arguments', 'import', 'backend'], 'What happens.')

    def main(argv):
      do = flags.FLAGS.do
      if do == 'value':
        raise ValueError('two\\n  lines')
      if do == 'os':
        raise OSError('no device at /dev/null')
      if do == 'missing':
        open('/nowhere/file')
      if do == 'bug':
        raise KeyError('ours')
      if do == 'interrupt':
        # A shell's background jobs are started with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
      if do == 'arguments':
        print(argv[1:])
      if do == 'import':
        import note_seq
        print(sorted(m for m in sys.modules if m.startswith('bokeh')))
        import bokeh.plotting
        print(bokeh.plotting.figure.__name__, bokeh.__version__[0])
      if do == 'wait':
        with files.writing('result.txt') as path:
          path.write_text('half')
          print('ready', flush=True)
          time.sleep(int(os.environ.get('PROBE_SECONDS', 60)))
      if do == 'backend':
        print(os.environ['KERAS_BACKEND'])
      return flags.FLAGS.number

    if __name__ == '__main__':
      command.run(main, takes_arguments='--do=arguments' in sys.argv)
    ''').lstrip()


@pytest.fixture
def probe(tmp_path):
  (tmp_path / 'probe.py').write_text(PROGRAM)

  def start(*args):
    return subprocess.Popen(
        [sys.executable, 'probe.py', *args], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

  return start


def _finish(process):
  out, err = process.communicate(timeout=60)
  return process.returncode, out, err


@pytest.mark.parametrize(('args', 'line'), [
    (['--do=value'], 'two lines'),
    (['--do=os'], 'no device at /dev/null'),
    (['--do=missing'], '/nowhere/file: No such file or directory'),
    (['--number=-1'], 'flag --number=-1: -1 is not a non-negative integer '
     '(--help lists the flags)'),
    (['--nonsense'], "Unknown command line flag 'nonsense' "
     '(--help lists the flags)'),
    (['picture.jpg'],
     "unexpected argument 'picture.jpg': flags begin with --"),
])
def test_what_a_user_can_put_right_is_one_line(probe, args, line):
  assert _finish(probe(*args)) == (1, '', f'probe: error: {line}\n')


def test_verbosity_adds_the_traceback(probe):
  code, _, err = _finish(probe('--do=value', '--verbosity=1'))
  assert code == 1
  assert 'Traceback' in err
  assert 'lines' in err


def test_a_bug_keeps_its_traceback(probe):
  code, _, err = _finish(probe('--do=bug'))
  assert code == 1
  assert 'Traceback' in err
  assert "KeyError: 'ours'" in err


def test_exit_code_is_what_main_returns(probe):
  assert _finish(probe()) == (0, '', '')
  assert _finish(probe('--number=3'))[0] == 3


def test_arguments_that_are_no_flags_reach_a_main_that_takes_them(probe):
  assert _finish(probe('--do=arguments', 'a', '--', '--help')) == (
      0, "['a', '--help']\n", '')


@pytest.mark.parametrize('flag', ['--help', '-h', '--helpfull'])
def test_help_is_the_docstring_and_the_flags(probe, flag):
  code, out, err = _finish(probe(flag, '--number=-1'))
  assert (code, err) == (0, '')
  assert out.startswith('A small command.')
  assert '--number' in out
  assert '--do' in out


def test_interrupt_is_one_line(probe):
  assert _finish(probe('--do=interrupt')) == (
      130, '', 'probe: error: interrupted\n')


def test_kill_leaves_no_temporary_file(probe, tmp_path):
  process = probe('--do=wait')
  assert process.stdout.readline() == 'ready\n'
  process.send_signal(signal.SIGTERM)
  assert _finish(process)[0] == 143
  assert [p.name for p in tmp_path.iterdir()] == ['probe.py']


def test_note_seq_imports_no_bokeh_and_nothing_prints(
    probe, monkeypatch):
  monkeypatch.setenv('CI', 'true')  # pyfluidsynth would print to stdout.
  output, errors = probe('--do=import').communicate()
  assert output.splitlines() == [
      "['bokeh', 'bokeh.plotting']", 'figure 3'], errors


def test_every_flag_of_a_path_is_expanded():
  """Whatever is called a folder, file or path, and all that are such."""
  from absl import flags

  from va_magenta import command

  code = textwrap.dedent('''
      import importlib, pathlib, sys
      from absl import flags
      import va_magenta
      from va_magenta import command
      seen, left = 0, []
      for path in pathlib.Path(va_magenta.__file__).parent.glob(
          'va_magenta_*.py'):
        name = f'va_magenta.{path.stem}'
        importlib.import_module(name)
        for flag in flags.FLAGS.flags_by_module_dict()[name]:
          is_path = isinstance(flag.parser, command._PathParser)
          seen += is_path
          text = flag.help.lower()
          if not is_path and flag.flag_type().endswith('string') and (
              flag.name.endswith(('_dir', '_path', '_model', 'checkpoint'))
              or any(word in text for word in (
                  'folder', '.json', 'parquet', '--run_dir'))):
            left.append(f'{path.stem} --{flag.name}')
        for flag in list(flags.FLAGS.flags_by_module_dict()[name]):
          delattr(flags.FLAGS, flag.name)
      print(seen, left)
      ''')
  done = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True)
  assert not done.returncode, done.stderr
  number, _, left = done.stdout.strip().partition(' ')
  assert int(number) > 40
  assert left == "['va_magenta_generate --va_path']"
  holder = command.DEFINE_path('probe_path', None, 'A path.')
  try:
    flags.FLAGS.probe_path = None
    flags.FLAGS['probe_path'].parse('~/x')
    assert holder.value == os.path.expanduser('~/x') != '~/x'
  finally:
    delattr(flags.FLAGS, 'probe_path')


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&-', '>&- 2>&- <&-'])
def test_streams_may_be_closed(probe, tmp_path, closed):
  """Nor does the first file that is opened take the place of one."""
  done = subprocess.run(
      ['sh', '-c', f'exec "$0" "$1" --do=wait {closed}', sys.executable,
       str(tmp_path / 'probe.py')], cwd=tmp_path, timeout=60,
      env={**os.environ, 'PROBE_SECONDS': '0'}, capture_output=True)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'result.txt').read_text() == 'half'


def test_names_that_stdout_lacks_are_escaped(probe, tmp_path):
  done = subprocess.run(
      [sys.executable, str(tmp_path / 'probe.py'), '--do=arguments', 'ü🎵'],
      env={**os.environ, 'PYTHONIOENCODING': 'ascii'}, capture_output=True)
  assert (done.returncode, done.stdout) == (0, b"['\\xfc\\U0001f3b5']\n")


def test_what_cannot_be_printed_is_one_line(probe, tmp_path):
  with open('/dev/full', 'w') as full:
    done = subprocess.run(
        [sys.executable, str(tmp_path / 'probe.py'), '--do=arguments', 'a'],
        stdout=full, stderr=subprocess.PIPE, text=True)
  assert done.returncode == 1
  assert done.stderr == 'probe: error: No space left on device\n'


def test_the_backend_is_tensorflow_whatever_is_set(probe, tmp_path):
  done = subprocess.run(
      [sys.executable, str(tmp_path / 'probe.py'), '--do=backend'],
      env={**os.environ, 'KERAS_BACKEND': 'torch'}, capture_output=True,
      text=True)
  assert done.stdout == 'tensorflow\n'
