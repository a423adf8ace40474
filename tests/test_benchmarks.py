"""The scripts behind the figures run, on the smallest of sizes."""

import pathlib
import re
import subprocess
import sys

BENCHMARKS = pathlib.Path(__file__).parents[1] / 'benchmarks'


def _run(name, *args):
  done = subprocess.run(
      [sys.executable, str(BENCHMARKS / name), *args], capture_output=True,
      text=True, timeout=600)
  assert not done.returncode, done.stderr
  return done.stdout


def test_reach():
  out = _run(
      'reach.py', '--candidates=4', '--candidates=16', '--seeds=2',
      '--targets=1')
  few, many = re.findall(
      r'^\(0.4, 0.6\), best of \d+: ([\d.]+) ± [\d.]+$', out, re.MULTILINE)
  assert 0 <= float(many) <= float(few) < 2


def test_pieces():
  out = _run(
      'pieces.py', '--checkpoints=cat-mel_2bar', '--candidates=8', '--rounds=1')
  assert re.match(r'cat-mel_2bar: 2 bars, first [\d.]+ s, of 8 cand', out)
