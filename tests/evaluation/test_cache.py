"""What was made once is not made again, whatever became of the process."""

import pytest

from va_magenta.evaluation.cache import Cache


def test_a_value_is_made_once(tmp_path):
  made = []

  def make():
    made.append(1)
    return {'x': len(made)}

  with Cache(tmp_path / 'a.jsonl') as cache:
    assert cache.get(['a', 1.5], make) == {'x': 1}
    assert cache.get(['a', 1.5], make) == {'x': 1}
    assert cache.get(['a', 2.5], make) == {'x': 2}
  with Cache(tmp_path / 'a.jsonl') as cache:
    assert len(cache) == 2
    assert cache.get(['a', 1.5], pytest.fail) == {'x': 1}


def test_a_line_that_a_kill_cut_short_is_made_again(tmp_path):
  path = tmp_path / 'a.jsonl'
  with Cache(path) as cache:
    cache.get('first', lambda: 1)
    cache.get('second', lambda: 2)
  path.write_text(path.read_text()[:-4])
  with Cache(path) as cache:
    assert cache.get('first', pytest.fail) == 1
    assert cache.get('second', lambda: 3) == 3
    assert cache.get('third', lambda: 4) == 4
  with Cache(path) as cache:
    assert [cache.get(key, pytest.fail) for key in (
        'first', 'second', 'third')] == [1, 3, 4]
