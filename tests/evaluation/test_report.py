"""Tables, JSON and the page say what was found."""

import html.parser
import json
import math

import numpy as np
import pytest

from va_magenta.evaluation import report


def _figures(valence_r, arousal_r, quadrant, distance):
  return {
      name: {'mean': value, 'sd': .01} for name, value in {
          'valence/pearson_r': valence_r, 'arousal/pearson_r': arousal_r,
          'quadrant_accuracy': quadrant, 'distance': distance}.items()}


def test_spread_is_that_of_seeds():
  assert report.spread([1, 2, 3]) == {'mean': 2, 'sd': 1}
  assert math.isnan(report.spread([1])['sd'])


@pytest.mark.parametrize(('figure', 'text'), [
    ({'mean': .714, 'sd': .0249}, '0.71 ± 0.02'),
    ({'mean': -.001, 'sd': math.nan}, '0.00'),
    ({'mean': math.nan, 'sd': math.nan}, '–'), (.5, '0.50'), (None, '–')])
def test_cells(figure, text):
  assert report.cell(figure) == text


def test_more_decimals():
  assert report.cell({'mean': .95123, 'sd': .00249}, 3) == '0.951 ± 0.002'


def test_columns_stand_under_each_other():
  lines = report.systems_table(
      {'asked': _figures(.9, .8, .7, .3), 'a longer name': {}},
      report.DECISIVE).splitlines()
  assert len({len(line) for line in lines}) == 1
  assert lines[0].split('|')[2].strip() == 'valence r'
  assert lines[2].split('|')[2].strip() == '0.90 ± 0.01'
  assert '–' in lines[3]


def test_a_baseline_that_wins_is_named():
  found = {
      'asked': _figures(.7, .9, .8, .4),
      'worse': _figures(.6, .8, .7, .5),
      'better': _figures(.75, .9, .8, .3),
      'near': _figures(.7, .9, .8, .39),
      'undefined': _figures(math.nan, math.nan, .1, .9)}
  assert report.winners(found, 'asked') == [
      'valence r: better than asked (0.70) are better (0.75)',
      'distance: better than asked (0.40) are better (0.30), near (0.39)']


def test_json_has_no_nan_and_no_numpy(tmp_path):
  path = tmp_path / 'report.json'
  report.write_json(path, {
      'a': np.float32(.5), 'b': [math.nan, np.arange(2)], 'c': {1: tmp_path}})
  assert json.loads(path.read_text()) == {
      'a': .5, 'b': [None, [0, 1]], 'c': {'1': str(tmp_path)}}


class _Page(html.parser.HTMLParser):
  """What a page refers to, and the order of its cells."""

  def __init__(self, text):
    super().__init__()
    self.links, self.sources, self.text = [], [], ''
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    if tag == 'a':
      self.links.append(attrs['href'])
    if 'src' in attrs:
      self.sources.append(attrs['src'])

  def handle_data(self, data):
    self.text += data


def test_page_shows_the_plane_as_it_lies():
  pieces = [
      {'target': [v, a], 'judged': [v / 2, a / 2], 'roll': '<svg></svg>',
       'midi': f'{v}{a}.mid', 'wav': f'{v}{a}.wav'}
      for v in (-.5, .5) for a in (-.5, .5)]
  page = _Page(report.page(
      'Title <b>', 'x < y', ['plane.png'], {'asked & more': pieces}))
  # From the top left: unpleasant and excited first.
  assert page.links == [
      '-0.50.5.mid', '0.50.5.mid', '-0.5-0.5.mid', '0.5-0.5.mid']
  assert page.sources == [
      'plane.png', '-0.50.5.wav', '0.50.5.wav', '-0.5-0.5.wav', '0.5-0.5.wav']
  assert 'x < y' in page.text and 'asked & more' in page.text
  assert 'Title <b>' in page.text
  assert '-0.25 +0.25' in page.text
