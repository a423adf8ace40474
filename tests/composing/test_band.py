"""A band writes pieces near a target, in the key and chords asked for."""

import dataclasses

import numpy as np
import pytest

from va_magenta.composing import band as composing
from va_magenta.composing import composer, request
from va_magenta.music import band, chords, grid, midi, notes
from va_magenta.va import VA
from va_magenta.va_to_music import (
  band_model,
  configs,
  forms,
  harmony,
  performance,
  prior,
)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, write_checkpoint):
  """A tiny band with random weights."""
  folder = tmp_path_factory.mktemp('band')
  config = configs.Config(
      name='va-cat-band_2bar', max_seq_len=32,
      output_depths=band.OUTPUT_DEPTHS, level_lengths=None, z_size=8,
      enc_rnn_size=(4,), dec_rnn_size=(16,), control_depth=31,
      context_depth=29, structure='band')
  write_checkpoint(folder, config)
  prior.save(prior.LatentPrior(prior.PriorConfig(
      z_size=8, context_depth=106, width=16, num_blocks=1,
      num_heads=2)), folder)
  harmony.save(harmony.Harmony(harmony.HarmonyConfig(units=(8,))), folder)
  returns = np.array([0, 1, 2, 3, 0, 1, 6, 7, 8, 9, 10, 11, 0, 1, 2, 15])
  forms.save(forms.Forms(
      np.tile(returns, (1, len(forms.ROWS), 1)), np.zeros((1, 2))), folder)
  return folder


@pytest.fixture(scope='module')
def structure(checkpoint):
  return composing.Band.load(request.Settings(
      checkpoint=checkpoint, performance='plain'))


def _draw(structure, n=2, path=None, seed=0, **settings):
  """Draws candidates; each other `n` would be compiled anew."""
  path = path or [VA(0.5, 0.5)]
  settings = request.Settings(performance='plain', seed=seed, **settings)
  return structure.draw(np.random.default_rng(seed), path, n, settings)


def _chords(candidate):
  """Names of the chords of each half bar, as the file has them."""
  found = {
      a.quantized_step // 8: a.text
      for a in candidate.to_sequence().text_annotations}
  names, last = [], None
  for i in range(int(candidate.num_bars) * 2):
    last = found.get(i, last)
    names.append(last)
  return names


def test_a_checkpoint_says_that_a_band_draws_with_it(checkpoint):
  assert composer.structure_of(checkpoint) is composing.Band
  assert composer.phrase_bars(checkpoint) == 2


def test_pieces_have_sixteen_bars_and_all_voices(structure):
  for candidate in _draw(structure):
    assert candidate.num_bars == 16
    tokens, progression = candidate.score
    assert tokens.shape == (256, 4) and progression.shape == (32,)
    sequence = candidate.to_sequence()
    assert {i.name for i in sequence.instrument_infos} == set(band.VOICE_NAMES)


def test_a_band_of_sixteen_bars_draws_from_the_normal_prior(
    tmp_path, write_checkpoint):
  config = dataclasses.replace(
      configs.get('va-hierdec-band_16bar'), z_size=6, enc_rnn_size=(4,),
      dec_rnn_size=(8,), conductor_rnn_size=(4,))
  write_checkpoint(tmp_path, config)
  assert composer.structure_of(tmp_path) is composing.Band
  drawn = composing.Band.load(request.Settings(
      checkpoint=tmp_path, performance='plain'))
  with pytest.raises(ValueError, match='no learned prior: set prior to normal'):
    _draw(drawn)
  for candidate in _draw(drawn, prior='normal', bars=20, chords='C G Am F'):
    assert candidate.num_bars == 20
    assert _chords(candidate)[:8] == ['C', 'C', 'G', 'G', 'Am', 'Am', 'F', 'F']


def test_chords_are_kept_to_the_letter(structure):
  for candidate in _draw(structure, chords='C G Am F', bars=8):
    assert _chords(candidate)[:8] == ['C', 'C', 'G', 'G', 'Am', 'Am', 'F', 'F']
    assert _chords(candidate)[8:] == _chords(candidate)[:8]
  # In any key: these are not those of the key that models write in.
  for candidate in _draw(structure, chords='Ebm Bb7 Cb Db', bars=4):
    progression = chords.parse_progression('Ebm Bb7 Cb Db')
    played = [chords.parse(name) for name in _chords(candidate)]
    assert played == progression.tolist()


def test_the_key_is_kept(structure):
  for candidate in _draw(structure, key='E minor'):
    sequence = candidate.to_sequence()
    assert chords.parse(_chords(candidate)[-1]) == chords.parse('Em')
    assert sequence.key_signatures[0].key == 4


def test_segments_of_a_letter_return(structure):
  for candidate in _draw(structure, form='ABAB', bars=16):
    tokens, progression = candidate.score
    segments = tokens.reshape(8, -1)
    np.testing.assert_array_equal(segments[0], segments[2])
    np.testing.assert_array_equal(segments[1], segments[3])
    assert (segments[0] != segments[1]).any()
    np.testing.assert_array_equal(progression[:4], progression[8:12])


def test_calm_bands_mostly_have_no_drums(structure):
  def share(va):
    return np.mean([
        c.notes['is_drum'].any() for seed in range(16)
        for c in _draw(structure, path=[va], seed=seed)])
  assert share(VA(0.5, -0.9)) + 0.3 < share(VA(-0.2, 0.9))


def test_voices_that_are_not_asked_for_rest(structure):
  for candidate in _draw(structure, voices='melody,comping'):
    assert set(np.unique(candidate.notes['part'])) <= {
        band.MELODY, band.COMPING}


def test_who_plays_by_name(structure):
  for candidate in _draw(structure, band='violin,choir aahs,bass'):
    found = {
        (int(p), int(q)) for p, q in candidate.notes[['part', 'program']]}
    assert found <= {(band.MELODY, 40), (band.COMPING, 52), (band.BASS, 33)}
    melody = candidate.notes[candidate.notes['part'] == band.MELODY]
    assert 55 <= melody['pitch'].min() and melody['pitch'].max() <= 103
  with pytest.raises(ValueError, match='give either band or program'):
    request.Settings(band='piano', program=3)
  with pytest.raises(ValueError, match="'kazoo' is no instrument"):
    request.Settings(band='piano,kazoo')


# In D; in A flat and D at an edge of the piano, which C is beyond.
@pytest.mark.parametrize('up', [2, 32, -34])
def test_a_melody_is_kept_note_for_note(structure, tmp_path, up):
  pitches = up + np.array(
      [60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 72, 67, 64, 60, 55, 60])
  written = np.zeros((64, 4), int)
  written[::4, band.MELODY] = grid.token_of(pitches)
  sequence = band.to_sequence(
      band.voice(written, np.zeros(8, int)), tempo_qpm=100)
  path = tmp_path / 'scale.mid'
  path.write_bytes(midi.to_bytes(sequence))
  for candidate in _draw(structure, input=path):
    heard = candidate.notes[candidate.notes['part'] == band.MELODY]
    assert heard['pitch'].tolist() == pitches.tolist()
    assert heard['start_beats'].tolist() == list(range(16))
    assert heard['end_beats'].max() <= 16  # It is not held at the end.
    assert (candidate.notes['part'] != band.MELODY).any()
  with pytest.raises(ValueError, match='seconds must lie in 4..24'):
    _draw(structure, input=path, seconds=60)


def test_a_melody_ends_where_it_ends(structure, tmp_path):
  """In the middle of a segment, which is filled up with silence."""
  written = np.zeros((48, 4), int)
  written[::4, band.MELODY] = grid.token_of(np.resize([60, 64, 67], 12))
  path = tmp_path / 'three_bars.mid'
  path.write_bytes(midi.to_bytes(band.to_sequence(
      band.voice(written, np.zeros(6, int)), tempo_qpm=100)))
  for candidate in _draw(structure, input=path):
    heard = candidate.notes[candidate.notes['part'] == band.MELODY]
    assert heard['end_beats'].max() == pytest.approx(12)


def test_harmony_of_a_melody_fits_it():
  c_major_arpeggio = np.zeros(32, int)
  c_major_arpeggio[::4] = np.array([60, 64, 67, 72] * 2) - 19
  progressions = np.stack([
      np.resize(chords.parse_progression(text), 4)
      for text in ('C', 'F#', 'Am', 'Dm')])
  fits = band_model._fit(c_major_arpeggio, progressions)
  assert fits[0] == 1 and fits[1] == 0
  assert fits.argmax() == 0


def test_along_a_path_each_segment_has_its_place(structure):
  path = [VA(-0.5, -0.5), VA(0.5, 0.5), VA(0, 0)]
  for candidate in _draw(structure, path=path):
    assert candidate.num_bars == 16
    assert len(candidate.sections) == 8
  with pytest.raises(ValueError, match='bars must be 6 or more'):
    _draw(structure, path=path, bars=4)


def test_the_same_seed_gives_the_same_notes(structure):
  for a, b in zip(_draw(structure, seed=3), _draw(structure, seed=3),
                  strict=True):
    np.testing.assert_array_equal(a.notes, b.notes)
  a, b = _draw(structure, seed=4)[0], _draw(structure, seed=5)[0]
  assert a.identity != b.identity


def test_what_is_not_for_bands_is_refused(structure, checkpoint, tmp_path):
  with pytest.raises(ValueError, match='bars must be a multiple of 2'):
    _draw(structure, bars=3)
  with pytest.raises(ValueError, match='mode=search'):
    _draw(structure, mode='search')
  with pytest.raises(ValueError, match='is not a key'):
    request.Settings(key='H major')
  with pytest.raises(ValueError, match='voices must be some of'):
    request.Settings(voices='melody,kazoo')
  with pytest.raises(ValueError, match='form must be a letter'):
    request.Settings(form='A-B')
  for path in checkpoint.glob('*'):
    if path.name != 'prior.json':
      (tmp_path / path.name).write_bytes(path.read_bytes())
  with pytest.raises(ValueError, match='has no prior.json'):
    composer.structure_of(tmp_path)


def test_played_as_it_is_performed():
  tokens = np.zeros((64, 4), int)
  tokens[::4, band.MELODY] = 60 - 19
  tokens[::8, band.BASS] = 36 - 19
  tokens[::4, band.DRUMS] = 1
  tokens[0, band.COMPING] = band.STRUCK
  progression = np.full(8, chords.parse('C'))
  first = performance.FullBandPerformance(
      tempo_qpm=60, velocity=60, articulation=0.5, shift=14, program=40,
      bass_program=32, bass_velocity=50, drum_velocity=40, drums_play=False,
      comping_program=4, comping_velocity=30)
  second = performance.FullBandPerformance(
      tempo_qpm=120, velocity=100, articulation=0.5, shift=14, program=40,
      bass_program=32, bass_velocity=90, drum_velocity=40, drums_play=True,
      comping_program=4, comping_velocity=30)
  heard, played, tempos = composing.play(tokens, progression, [first, second])
  assert set(played) == {chords.parse('D')}
  melody = heard[heard['part'] == band.MELODY]
  assert set(melody['pitch']) == {74}
  assert set(heard[heard['part'] == band.BASS]['pitch']) == {38}
  assert np.all(np.diff(tempos) >= 0) and tempos[0] == 60 and tempos[-1] == 120
  assert melody['velocity'][-4:].mean() > melody['velocity'][:4].mean() + 20
  assert melody['end_seconds'][0] == pytest.approx(0.5)
  drums = heard[heard['is_drum']]
  assert drums['start_beats'].min() == 8  # They rest in the first section.
  comping = heard[heard['part'] == band.COMPING]
  assert set(comping['program']) == {4} and comping['velocity'].max() < 40


class _Late:
  """Plays drums late, and all that is asked to be pleasant louder."""

  def play(self, heard, va, tempo_qpm, random, temperature):
    assert tempo_qpm == 60 and temperature == .5
    heard = heard.copy()
    heard['velocity'] += np.rint(20 * va[:, 0]).astype(int)
    for edge in ('start_beats', 'end_beats'):
      heard[edge][heard['is_drum']] += 11 / 220
    return heard


def test_played_as_people_do_or_on_the_grid():
  tokens = np.zeros((64, 4), int)
  tokens[::4, band.MELODY] = 60 - 19
  tokens[::4, band.DRUMS] = 1
  progression = np.full(8, chords.parse('C'))
  played = performance.FullBandPerformance(tempo_qpm=60, velocity=60)
  plain, _, _ = composing.play(tokens, progression, [played] * 2)
  assert not (4 * plain['start_beats'] % 1).any()
  heard, _, _ = composing.play(
      tokens, progression, [played] * 2, expressive=composing.Expressive(
          _Late(), np.array([(-1, 0), (1, 0)]), 0, .5))
  assert len(heard) == len(plain)
  melody = heard[heard['part'] == band.MELODY]
  assert melody['velocity'][0] == 40 and melody['velocity'][-1] == 80
  drums = heard[heard['is_drum']]
  np.testing.assert_allclose(drums['start_beats'] % 1, .05, atol=1e-9)
  np.testing.assert_allclose(drums['start_seconds'] % 1, .05, atol=1e-6)
  assert (np.diff(heard['start_beats']) >= 0).all()


def _arranged(tokens, intro_bars=2):
  """With an introduction of the bass, softly, and a louder second half."""
  from va_magenta.va_to_music import arranger

  intro = tokens[:16 * intro_bars].copy()
  intro[:, [band.MELODY, band.DRUMS, band.COMPING]] = 0
  num_bars = len(tokens) // 16
  return arranger.Arranged(
      tokens, np.repeat([0, 10], num_bars // 2).astype(float), intro, -20.0)


def _steady(bars=4):
  tokens = np.zeros((16 * bars, 4), int)
  tokens[::4, band.MELODY] = 60 - 19
  tokens[::8, band.BASS] = 36 - 19
  return tokens, chords.parse_progression(' '.join('CFGC'[:bars]))


def test_what_comes_before_is_heard_before():
  tokens, progression = _steady()
  played = performance.FullBandPerformance(
      tempo_qpm=60, velocity=60, bass_velocity=60)
  plain, _, _ = composing.play(tokens, progression, [played], ends=True)
  heard, names, tempos = composing.play(
      tokens, progression, [played], ends=True, arranged=_arranged(tokens))
  melody = heard[heard['part'] == band.MELODY]
  assert melody['start_beats'].min() == 8
  bass = heard[heard['part'] == band.BASS]
  assert bass['start_beats'][:5].tolist() == [0, 2, 4, 6, 8]
  assert (bass['velocity'][:4] < 50).all() and bass['velocity'][5] >= 60
  # The chords of the beginning are heard with it; all else is as without.
  np.testing.assert_array_equal(names[:4], progression[:4])
  np.testing.assert_array_equal(names[4:12], progression)
  rest = heard[heard['start_beats'] >= 8]
  for name in ('pitch', 'part'):
    np.testing.assert_array_equal(rest[name], plain[name])
  np.testing.assert_allclose(rest['start_beats'] - 8, plain['start_beats'])
  assert len(tempos) == 4 * (4 + 2 + 1)
  # The last beat of the first bar, and of the last.
  assert melody['velocity'][-2] >= melody['velocity'][3] + 9


def test_sections_say_what_comes_before():
  assert composing._sections('AB', 2, 4, 7) == [
      (0, 'Intro'), (2, 'A'), (4, 'B'), (6, 'End')]
  assert composing._sections('AA', 0, 4, 4) == [(0, 'A')]


@pytest.mark.parametrize('settings, tempo, bars', [
    ({}, 120, 2), ({}, 100, 1), ({}, 60, 0), ({'bars': 16}, 60, 2),
    ({'seconds': 40}, 120, 2), ({'seconds': 30}, 120, 0)])
def test_nothing_comes_before_that_there_is_no_time_for(settings, tempo, bars):
  arranged = _arranged(_steady(4)[0].repeat(4, 0))
  fits = composing._that_fits(
      arranged, performance.FullBandPerformance(tempo_qpm=tempo),
      request.Settings(**settings))
  np.testing.assert_array_equal(
      fits.intro, arranged.intro[len(arranged.intro) - 16 * bars:])


class _Arranges:
  """Notes what it is asked for; has every piece begin with two bars."""

  def __init__(self):
    self.asked = []

  def arrange(self, tokens, va, random, *, opens, builds):
    self.asked.append((opens, builds))
    return _arranged(tokens, 2 if opens and builds else 0)


def test_what_is_given_begins_with_its_first_bar(
    structure, tmp_path, monkeypatch):
  arranges = _Arranges()
  monkeypatch.setattr(structure, '_arranger', arranges)
  path = tmp_path / 'melody.mid'
  path.write_bytes(midi.to_bytes(band.to_sequence(
      band.voice(_steady()[0] * [1, 0, 0, 0], _steady()[1]), tempo_qpm=120)))
  for settings, asked in (
      ({'bars': 4}, (True, True)), ({'bars': 4, 'loop': True}, (True, False)),
      ({'chords': 'C F', 'bars': 4}, (False, True)),
      ({'input': path}, (False, True))):
    [candidate] = _draw(structure, n=1, **settings)
    assert arranges.asked.pop() == asked
    names = [a.text for a in candidate.to_sequence().text_annotations]
    assert ('Intro' in names) == (asked == (True, True))
    assert candidate.num_bars == 4


def test_a_piece_ends_on_a_chord_of_its_key_and_slows_down(structure):
  for candidate in _draw(structure, bars=4, key='A minor'):
    heard = candidate.notes
    last = heard[heard['start_beats'] == heard['start_beats'].max()]
    assert last['start_beats'][0] == 16
    pitched = last[~last['is_drum']]
    assert {*pitched['pitch'] % 12} <= {9, 0, 4}
    bass = pitched[pitched['part'] == band.BASS]
    assert {*bass['pitch'] % 12} <= {9}
    # Held together, for 2 to 4 quarter notes.
    assert len({*pitched['end_beats']}) == 1
    assert 2 <= pitched['end_beats'][0] - 16 <= 4
    sequence = candidate.to_sequence()
    tempos = [t.qpm for t in sequence.tempos]
    assert tempos == sorted(tempos, reverse=True)
    assert tempos[0] == 120 and 60 < tempos[-1] < 100
    assert chords.parse(_chords(candidate)[-1]) >= 1
  for candidate in _draw(structure, bars=4, key='A minor', loop=True):
    assert candidate.notes['start_beats'].max() < 16
    assert [t.qpm for t in candidate.to_sequence().tempos] == [120]
    assert candidate.sound_seconds == pytest.approx(8)


def test_a_length_is_kept(structure):
  for seconds, loop in ((12, False), (30, False), (30, True), (57.5, False)):
    for candidate in _draw(structure, seconds=seconds, loop=loop):
      assert candidate.sound_seconds == seconds and candidate.loops == loop
      sequence = candidate.to_sequence()
      assert candidate.num_bars % 2 == 0
      assert sequence.tempos[0].qpm == pytest.approx(120, rel=.3)
      if not loop:
        assert sequence.total_time == pytest.approx(seconds - .4, abs=.01)
      else:
        beats = candidate.num_bars * 4
        assert beats * 60 / sequence.tempos[0].qpm == pytest.approx(
            seconds, abs=1e-3)
  with pytest.raises(ValueError, match='give either seconds or bars'):
    request.Settings(seconds=30, bars=16)
  with pytest.raises(ValueError, match='seconds must lie in 5.0..300.0'):
    request.Settings(seconds=2)


def test_by_default_a_piece_is_no_longer_than_forty_seconds(checkpoint):
  settings = request.Settings(checkpoint=checkpoint)
  structure = composing.Band.load(settings)
  bars = {}
  for arousal in (-.9, .8):
    for candidate in structure.draw(
        np.random.default_rng(0), [VA(-.5, arousal)], 6, settings):
      assert 15 < candidate.notes['end_seconds'].max() <= 40
      bars[arousal] = candidate.num_bars
  assert bars[-.9] in (8, 12) and bars[.8] == 16
  # But as long as is asked for.
  settings = request.Settings(checkpoint=checkpoint, bars=16, tempo_qpm=50)
  [candidate] = structure.draw(
      np.random.default_rng(0), [VA(-.5, -.9)], 1, settings)
  assert candidate.notes['end_seconds'].max() > 70


def test_what_is_heard_is_what_the_file_says(structure):
  candidate, _ = _draw(structure)
  heard = notes.from_note_sequence(candidate.to_sequence())
  assert len(heard) == len(candidate.notes)
  np.testing.assert_allclose(
      np.sort(heard['start_seconds']),
      np.sort(candidate.notes['start_seconds']), atol=1e-6)


def test_a_bass_lies_where_people_have_it():
  bass = np.zeros((4, 16), int)
  for line, pitch in zip(bass, (40, 58, 20 + 8, 71), strict=True):
    line[::4] = grid.token_of(pitch)
  bass[0, 2] = grid.NOTE_OFF
  moved = band_model.in_register(bass)
  np.testing.assert_array_equal(
      grid.pitch_of(moved[:, 0]), [40, 46, 40, 47])
  assert moved[0, 2] == grid.NOTE_OFF and not moved[:, 1].any()
  np.testing.assert_array_equal(
      band_model.in_register(np.zeros((1, 16), int)), 0)
