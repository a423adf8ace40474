"""va_magenta_app, as far as it needs no page; see tests/app for that."""

import socket
import sys

import pytest

from va_magenta import app


def test_without_gradio_the_extra_is_named(
    run_command, check_one_line, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gradio', None)
  monkeypatch.delattr(app, 'page', raising=False)
  monkeypatch.delitem(sys.modules, 'va_magenta.app.page', raising=False)
  check_one_line(
      run_command('va_magenta_app'), 'pip install "va_magenta[app]"')


def test_port_that_is_taken_is_one_line(run_command, check_one_line):
  pytest.importorskip('gradio', reason='the extra `app` is not installed')
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    check_one_line(
        run_command('va_magenta_app', '--noopen', f'--port={port}'), str(port))


@pytest.mark.parametrize('args', [['--port=70000'], ['picture.jpg']])
def test_wrong_arguments_are_one_line(run_command, check_one_line, args):
  check_one_line(run_command('va_magenta_app', *args), args[0])
