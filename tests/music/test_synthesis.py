"""Music as sound: what is heard, when, how loud; and what is missing."""

import sys

import note_seq
import numpy as np
import pytest
import soundfile

from va_magenta.music import sound, synthesis

RATE_HZ = 22050


def _sequence(*notes, **fields):
  """A piece of notes given as dicts."""
  sequence = note_seq.NoteSequence(**fields)
  for note in notes:
    sequence.notes.add(**({
        'pitch': 69, 'velocity': 80, 'start_time': 0, 'end_time': 1} | note))
  sequence.tempos.add(qpm=120)
  return sequence


def _rms(samples):
  return float(np.sqrt(np.mean(np.square(samples))))


def _loudest_hz(samples):
  spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
  return np.fft.rfftfreq(len(samples), 1 / RATE_HZ)[spectrum.argmax()]


def _share_above(frequency_hz, samples):
  power = np.abs(np.fft.rfft(samples))**2
  is_above = np.fft.rfftfreq(len(samples), 1 / RATE_HZ) > frequency_hz
  return power[is_above].sum() / power.sum()


@pytest.fixture(scope='module')
def synthesize():
  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))

  def function(music, **kwargs):
    samples, rate = synthesis.synthesize(
        music, **({'sample_rate_hz': RATE_HZ} | kwargs))
    assert rate == kwargs.get('sample_rate_hz', RATE_HZ)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.abs(samples).max() <= 1
    return samples

  return function


def test_pitch_and_time_are_heard(synthesize):
  samples = synthesize(_sequence(
      {'pitch': 69, 'start_time': 1, 'end_time': 2},
      {'pitch': 81, 'start_time': 2, 'end_time': 3}, ))
  assert len(samples) == 4 * RATE_HZ
  first, second, third = (
      samples[i * RATE_HZ:(i + 1) * RATE_HZ] for i in range(3))
  assert _rms(first) < 1e-3 < 1e-2 < _rms(second)
  assert _loudest_hz(second) == pytest.approx(440, abs=3)
  assert _loudest_hz(third[RATE_HZ // 3:]) == pytest.approx(880, abs=6)


def test_velocity_is_loudness_and_nothing_is_normalized(synthesize):
  soft, loud = (
      _rms(synthesize(_sequence({'velocity': v}))) for v in (30, 110))
  assert loud > 4 * soft
  # A second voice adds to the first and does not push it down.
  both = synthesize(_sequence(
      {'velocity': 110}, {'velocity': 110, 'pitch': 45, 'instrument': 1}))
  assert _rms(both) > loud


def test_programs_sound_different(synthesize):
  piano, flute = (
      synthesize(_sequence({'program': p, 'end_time': 2})) for p in (0, 73))
  held = slice(int(1.5 * RATE_HZ), 2 * RATE_HZ)
  assert _rms(flute[held]) / _rms(flute) > 1.5 * _rms(piano[held]) / _rms(piano)
  # Two instruments at once are the sum of each, so each has its own channel.
  both = synthesize(_sequence(
      {'end_time': 2}, {'program': 73, 'instrument': 1, 'end_time': 2}))
  error = both - piano - flute
  assert _rms(error[:2 * RATE_HZ]) < 0.2 * _rms(both[:2 * RATE_HZ])


def test_drums_are_drums_whatever_the_program(synthesize):
  drum = synthesize(_sequence({'pitch': 38, 'is_drum': True}))
  low_d = synthesize(_sequence({'pitch': 38}))
  # A snare is noise, and so bright.
  assert _share_above(3000, drum) > 5 * _share_above(3000, low_d)
  odd = synthesize(_sequence({'pitch': 38, 'is_drum': True, 'program': 99}))
  np.testing.assert_array_equal(odd, drum)


def test_many_instruments_beside_drums(synthesize):
  notes = [{'instrument': i, 'program': i, 'pitch': 60 + i} for i in range(20)]
  samples = synthesize(_sequence(*notes, {'is_drum': True, 'pitch': 38}))
  assert _rms(samples) > 1e-3
  with pytest.raises(ValueError, match='255 instruments'):
    synthesize(_sequence(*({'instrument': i} for i in range(256))))


def test_pedal_and_volume_are_obeyed(synthesize):
  def with_control(number, value):
    sequence = _sequence({'end_time': 0.2}, {'pitch': 30, 'start_time': 2})
    sequence.control_changes.add(
        control_number=number, control_value=value, time=0)
    return synthesize(sequence)

  ringing = slice(int(0.8 * RATE_HZ), int(1.6 * RATE_HZ))
  assert _rms(with_control(64, 127)[ringing]) > (
      5 * _rms(with_control(64, 0)[ringing]))
  assert _rms(with_control(7, 20)) < 0.3 * _rms(with_control(7, 127))


def test_same_music_same_samples(synthesize):
  sequence = _sequence({}, {'pitch': 60, 'program': 48})
  np.testing.assert_array_equal(synthesize(sequence), synthesize(sequence))


def test_length_is_bounded(synthesize):
  sequence = _sequence({}, {'start_time': 1e6, 'end_time': 1e6 + 1})
  assert len(synthesize(sequence, max_seconds=3)) == 3 * RATE_HZ
  whole = synthesize(_sequence({}, {'start_time': 2, 'end_time': 3}))
  np.testing.assert_array_equal(
      synthesize(_sequence({}, {'start_time': 2, 'end_time': 3}),
                 max_seconds=1.5), whole[:int(1.5 * RATE_HZ)])


def test_a_part_sounds_as_it_does_within_the_whole(synthesize):
  sequence = _sequence(
      {'start_time': 0, 'end_time': 1, 'program': 73},
      {'start_time': 3, 'end_time': 9, 'program': 73},
      {'pitch': 60, 'start_time': 8, 'end_time': 9, 'program': 48,
       'instrument': 1})
  sequence.control_changes.add(control_number=7, control_value=50, time=0.5)
  whole = synthesize(sequence)
  part = synthesize(sequence, start_seconds=7, max_seconds=2)
  assert len(part) == 2 * RATE_HZ
  # Sample by sample it may be a block of FluidSynth's early or late.
  for begin in range(4):
    half = slice(begin * RATE_HZ // 2, (begin + 1) * RATE_HZ // 2)
    expected = whole[7 * RATE_HZ:][half]
    for measure in (_rms, _loudest_hz):
      assert measure(part[half]) == pytest.approx(measure(expected), rel=.15)
  rest = synthesize(sequence, start_seconds=7)
  np.testing.assert_array_equal(rest[:2 * RATE_HZ], part)
  assert len(rest) == 3 * RATE_HZ


def test_a_start_far_into_a_piece_costs_no_more(synthesize):
  late = _sequence({}, {'start_time': 1e6, 'end_time': 1e6 + 1})
  samples = synthesize(late, start_seconds=1e6 - 1)
  assert len(samples) == 3 * RATE_HZ
  assert _rms(samples[:RATE_HZ // 2]) < 1e-3 < _rms(samples[RATE_HZ:])


@pytest.mark.parametrize('start_seconds', [-1, 2, 1e9])
def test_a_start_outside_the_piece_is_refused(synthesize, start_seconds):
  with pytest.raises(ValueError, match='a piece of 2.00 seconds cannot be'):
    synthesize(_sequence({}), start_seconds=start_seconds)


def test_nothing_to_play_is_silence(synthesize):
  samples = synthesize(_sequence())
  assert len(samples) == RATE_HZ
  assert np.abs(samples).max() < 1e-4  # FluidSynth dithers.


def test_notes_without_length_end(synthesize):
  samples = synthesize(_sequence(
      {'end_time': 0, 'program': 73},
      {'pitch': 20, 'velocity': 1, 'start_time': 4, 'end_time': 5}))
  assert _rms(samples[2 * RATE_HZ:3 * RATE_HZ]) < 1e-3


def test_midi_file_sounds_like_its_sequence(synthesize, tmp_path):
  sequence = _sequence({}, {'program': 40, 'instrument': 1, 'start_time': .5})
  path = tmp_path / 'piece.mid'
  note_seq.note_sequence_to_midi_file(sequence, str(path))
  np.testing.assert_allclose(
      synthesize(path), synthesize(sequence), atol=1e-3)


def test_bad_files_are_one_line(synthesize, tmp_path):
  bad = tmp_path / 'bad.mid'
  bad.write_bytes(b'no music')
  with pytest.raises(ValueError, match='bad.mid: not a readable MIDI file'):
    synthesize(bad)
  with pytest.raises(FileNotFoundError, match='missing.mid'):
    synthesize(tmp_path / 'missing.mid')
  with pytest.raises(FileNotFoundError, match='no soundfont at .*missing.sf2'):
    synthesize(_sequence({}), soundfont=tmp_path / 'missing.sf2')
  with pytest.raises(ValueError, match='bad.mid is not a soundfont'):
    synthesize(_sequence({}), soundfont=bad)


def test_missing_library_tells_what_to_install(monkeypatch):
  # None makes Python's import fail, as the library's absence does.
  monkeypatch.setitem(sys.modules, 'fluidsynth', None)
  with pytest.raises(OSError, match='apt-get install libfluidsynth3') as error:
    synthesis.synthesize(_sequence({}))
  assert '\n' not in str(error.value)
  assert 'brew install fluid-synth' in str(error.value)


def test_the_best_soundfont_of_the_system_is_found(tmp_path, monkeypatch):
  first, second = tmp_path / 'first', tmp_path / 'second'
  monkeypatch.setattr(
      synthesis, 'SOUNDFONT_FOLDERS',
      (str(first), str(second), str(tmp_path / 'missing')))
  assert synthesis.find_soundfont() == synthesis.small_soundfont()
  for path in (first / 'default-GM.sf2', second / 'FluidR3_GM.sf2',
               first / 'fluidr3_gm.txt'):
    path.parent.mkdir(exist_ok=True)
    path.touch()
  assert synthesis.find_soundfont() == second / 'FluidR3_GM.sf2'
  (second / 'MuseScore_General.sf3').touch()
  assert synthesis.find_soundfont() == second / 'MuseScore_General.sf3'
  (first / 'FluidR3_GM.sf2').touch()
  (second / 'MuseScore_General.sf3').unlink()
  assert synthesis.find_soundfont() == first / 'FluidR3_GM.sf2'


def test_saved_for_people(synthesize, tmp_path):
  music = _sequence({'velocity': 20, 'end_time': 2}, {'pitch': 40})
  soundfont = synthesis.save(tmp_path / 'a.flac', music, sample_rate_hz=RATE_HZ)
  assert soundfont == synthesis.find_soundfont()
  samples, rate = soundfile.read(tmp_path / 'a.flac')
  assert rate == RATE_HZ and samples.shape == (3 * RATE_HZ, 2)
  assert sound.loudness(samples, rate) == pytest.approx(-16, abs=.3)
  copy = tmp_path / 'copy.sf2'
  copy.write_bytes(synthesis.small_soundfont().read_bytes())
  assert synthesis.save(tmp_path / 'b.wav', music, soundfont=copy) == copy


def test_a_length_is_kept_to_the_sample_and_fades(synthesize, tmp_path):
  music = _sequence({'program': 48, 'end_time': 2})
  for seconds in (1.5, 2.4, 4):
    synthesis.save(
        tmp_path / 'a.wav', music, seconds=seconds, sample_rate_hz=RATE_HZ)
    samples, _ = soundfile.read(tmp_path / 'a.wav')
    assert len(samples) == round(seconds * RATE_HZ)
    assert np.abs(samples[-20:]).max() < .001 < np.abs(samples).max()


def test_a_loop_has_no_click_at_its_joint_and_no_tail_is_cut(
    synthesize, tmp_path):
  seconds = 2 + 1 / 3
  music = _sequence(
      {'program': 48, 'start_time': .5, 'end_time': 1},
      {'program': 74, 'pitch': 60, 'velocity': 120, 'start_time': 1,
       'end_time': seconds, 'instrument': 1})
  loop = synthesize(music, loop_seconds=seconds)
  assert len(loop) == round(seconds * RATE_HZ)
  # What rings on after the end is heard at the beginning.
  plain = synthesize(music)
  tail = plain[len(loop):][:RATE_HZ // 4]
  assert _rms(tail) > 1e-3
  np.testing.assert_allclose(
      loop[:RATE_HZ // 4] - plain[:RATE_HZ // 4], tail, atol=1e-4)

  def click(samples):
    """How sharply the wave bends at the joint: share of the most near it."""
    again = np.concatenate([samples[-1000:], samples[:1000]])
    bends = np.abs(np.diff(again, 2))
    joint = slice(998, 1001)
    return bends[joint].max() / np.delete(bends, joint).max()

  assert click(loop) <= 1 < click(plain[:len(loop)])
  path = tmp_path / 'a.wav'
  synthesis.save(
      path, music, seconds=seconds, loops=True, sample_rate_hz=RATE_HZ)
  saved, _ = soundfile.read(path)
  assert len(saved) == round(seconds * RATE_HZ)
  assert click(saved[:, 0]) <= 1
  with pytest.raises(ValueError, match='ends at 2.33 seconds, after the loop'):
    synthesize(music, loop_seconds=2)
