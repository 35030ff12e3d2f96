"""Spoken digits: sound as spikes, the official split and those by speaker, and bad recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.data.sound import band_levels, filter_bank, read_wav, spikes_of
from neurodeploy.errors import InputError
from neurodeploy.ir.sound import FrontEnd, Loudest
from neurodeploy.ir.source import DataSource
from neurodeploy.recipe import load_recipe
from support.wording import refused

RATE, DT = 8000, 1e-2
FSDD = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "fsdd"


def tone(hertz: float, seconds: float, loudness: float = 8000) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.rint(loudness * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def write_set(folder: Path, speakers: tuple[str, ...] = ("a", "b_c")) -> Path:
    for digit in range(10):
        for speaker in speakers:
            for index in (0, 4, 5, 11):
                name = f"{digit}_{speaker}_{index}.wav"
                wavfile.write(folder / name, RATE, tone(300 + 300 * digit, 0.05 + index / 100))
    return folder


def load(folder: Path, steps: int = 20, levels: int = 0, **options: Any) -> Dataset:
    source = DataSource(str(folder), **{"bins": "dt", "dt": DT, **options})
    return load_dataset("fsdd", source, steps, levels, encoder="events")


def test_the_official_split_and_own_lengths(tmp_path: Path) -> None:
    found = load(write_set(tmp_path))
    assert (len(found.x_train), len(found.x_test), found.classes) == (40, 40, 10)
    assert (found.sample_shape, found.over_time, found.levels) == ((64,), True, 1)
    assert found.lengths_train is not None and found.lengths_test is not None
    assert found.channel_groups == 2, "ON bands, then OFF bands"
    # 0.05 s and as many hundredths as the index says, in steps of 0.01 s.
    assert sorted(set(found.lengths_train.tolist())) == [10, 16]
    assert sorted(set(found.lengths_test.tolist())) == [5, 9]
    for x, lengths in ((found.x_train, found.lengths_train), (found.x_test, found.lengths_test)):
        for sample, length in zip(x[:], lengths, strict=True):
            assert sample[:length].any() and not sample[length:].any()
    assert (found.source.split, found.source.dt, found.notes) == ("official", DT, ())


def test_a_speaker_left_out(tmp_path: Path) -> None:
    found = load(write_set(tmp_path), split="speaker:b_c")
    assert (len(found.x_train), len(found.x_test)) == (40, 40)
    assert found.lengths_test is not None and set(found.lengths_test.tolist()) == {5, 9, 10, 16}
    with refused(InputError, r"there is no speaker 'bc' in .*did you mean 'b_c'", by="train"):
        load(tmp_path, split="speaker:bc")
    for wrong in ("speakers", "speaker:", "half"):
        with refused(InputError, r'expected "official" or "speaker:NAME"', by="train"):
            load(tmp_path, split=wrong)


def test_a_level_crossing_by_hand() -> None:
    """A tone that begins, grows by a factor of ten (20 dB) and stops."""
    end = FrontEnd(bands=4, window=0.01, floor=40, delta=10)
    sound = np.concatenate([tone(1000, 0.04, 1000), tone(1000, 0.04, 10000), np.zeros(320, int)])
    levels = band_levels(sound, RATE, DT, end)
    loud = int(levels[5].argmax())
    # 20 dB below the loudest, which is 40 dB above the floor, then the loudest, then silence.
    assert levels[:, loud].tolist() == [200] * 4 + [400] * 4 + [0] * 4
    spikes = spikes_of(sound, RATE, DT, end, 9).reshape(-1, 2, 4)[:, :, loud]
    assert spikes[:, 0].tolist() == [2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
    assert spikes[:, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]
    # Of one spike a step, those beyond it come in the next ones; none is lost.
    one = spikes_of(sound, RATE, DT, end, 1).reshape(-1, 2, 4)[:, :, loud]
    assert one[:, 0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert one[:, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_what_a_band_has_throughout_does_not_count_beside_its_own_loudest() -> None:
    """A low tone, then a higher one, without and with a microphone that takes 20 dB from it."""
    swell = np.hanning(1600)
    low, high = tone(500, 0.2) * swell, tone(3000, 0.2) * swell
    ends: dict[Loudest, FrontEnd] = {
        loudest: FrontEnd(bands=6, floor=30, delta=10, loudest=loudest)
        for loudest in ("recording", "band")
    }
    levels = {
        (loudest, gain): band_levels(np.concatenate([low, gain * high]), RATE, DT, end)
        for loudest, end in ends.items()
        for gain in (1.0, 0.1)
    }
    shrill = int(levels["band", 1.0][-12].argmax())
    heard = {key: found[21:, shrill] for key, found in levels.items()}
    np.testing.assert_array_equal(heard["band", 1.0], heard["band", 0.1])
    assert heard["band", 1.0].max() == 300
    assert heard["recording", 1.0].max() - heard["recording", 0.1].max() == pytest.approx(200, 1)
    silence = spikes_of(np.zeros(800, int), RATE, DT, FrontEnd(loudest="band"), 1)
    assert silence.shape == (10, 64) and not silence.any()


@pytest.mark.parametrize("loudest", ["recording", "band"])
def test_bands_against_a_sum_written_out(loudest: Loudest) -> None:
    """The power of one window in one band, by the definition of the Fourier transform."""
    end = FrontEnd(bands=3, window=0.016, loudest=loudest)
    sound = tone(700, 0.02) + tone(2100, 0.02)
    size, width, hop = 256, 128, 80
    weights = filter_bank(RATE, size, end)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    powers = []
    for step in range(2):
        heard = [
            0 if n < 0 else sound[n] for n in range((step + 1) * hop - width, (step + 1) * hop)
        ]
        found = [
            abs(
                sum(
                    h * w * np.exp(-2j * np.pi * k * n / size)
                    for n, (h, w) in enumerate(zip(heard, window, strict=True))
                )
            )
            ** 2
            for k in range(size // 2 + 1)
        ]
        powers.append(weights @ found)
    highest = np.max(powers, 0 if loudest == "band" else None)
    expected = np.rint(10 * np.maximum(0, 50 + 10 * np.log10(powers / highest)))
    np.testing.assert_array_equal(band_levels(sound, RATE, DT, end), expected)


def test_sound_is_as_loud_as_it_is_recorded(tmp_path: Path) -> None:
    """A factor on a whole recording changes no spike, and silence sends none."""
    end, sound = FrontEnd(), tone(400, 0.1, 300)
    np.testing.assert_array_equal(
        spikes_of(sound, RATE, DT, end, 1), spikes_of(sound.astype(np.int64) * 64, RATE, DT, end, 1)
    )
    assert not spikes_of(np.zeros(800, np.int64), RATE, DT, end, 1).any()
    wavfile.write(tmp_path / "8.wav", RATE, np.array([128, 255, 0], np.uint8))
    values, rate = read_wav(tmp_path / "8.wav")
    assert (values.tolist(), rate) == ([0, 127, -128], RATE)


def test_longer_than_the_steps(tmp_path: Path) -> None:
    write_set(tmp_path)
    message = (
        r"20 of 40 recordings last longer than T = 12 steps of 0\.01 s; the longest, 0_a_11\.wav, "
        r"lasts 16; set --set training\.steps=16, or cut them"
    )
    with refused(InputError, message, by="train"):
        load(tmp_path, steps=12)
    found = load(tmp_path, steps=12, longer="cut")
    assert found.lengths_train is not None and found.lengths_train.max() == 12
    assert len(found.notes) == 1
    assert "training: 20 of 40 recordings last longer than T = 12" in found.notes[0]
    assert "were cut" in found.notes[0]


def test_bad_recordings(tmp_path: Path) -> None:
    write_set(tmp_path)
    bad = tmp_path / "3_a_7.wav"
    cases: list[tuple[Any, str]] = [
        (lambda: wavfile.write(bad, RATE, np.zeros((9, 2), np.int16)), "has 2 channels"),
        (lambda: wavfile.write(bad, 11025, tone(300, 0.1)), "11,025 Hz, but 0_a_0.wav has 8,000"),
        (lambda: wavfile.write(bad, RATE, np.zeros(0, np.int16)), "holds no sound"),
        (lambda: wavfile.write(bad, RATE, np.zeros(9, np.float32)), "float32; expected PCM"),
        (lambda: bad.write_bytes(b"RIFF, or so"), "not a readable wav"),
        (lambda: bad.write_bytes(b""), "not a readable wav"),
    ]
    for spoil, message in cases:
        spoil()
        with pytest.raises(InputError, match=r"3_a_7\.wav") as caught:
            load(tmp_path)
        assert message in str(caught.value)
    bad.unlink()
    for name in ("three_a_7.wav", "33_a_7.wav", "3_a_last.wav"):
        wavfile.write(tmp_path / name, RATE, tone(300, 0.1))
        with pytest.raises(InputError, match=r"named DIGIT_SPEAKER_INDEX\.wav"):
            load(tmp_path)
        (tmp_path / name).unlink()


def test_steps_that_do_not_suit_the_sound(tmp_path: Path) -> None:
    write_set(tmp_path)
    with pytest.raises(InputError, match=r"dt = 0\.0003 s does not divide sound of 8,000 Hz"):
        load(tmp_path, dt=3e-4)
    with pytest.raises(InputError, match=r"the steps of .* 'fsdd' last one duration; set bins"):
        load_dataset("fsdd", DataSource(str(tmp_path)), 20)
    for end, message in (
        (FrontEnd(high=5000), "is above 4000"),
        (FrontEnd(bands=400), "is narrower than"),
        (FrontEnd(low=4500), "no sound above 4000"),
    ):
        with pytest.raises(InputError, match=message):
            load(tmp_path, front_end=end)
    for key, value, message in (
        ("dt", "0", "dt is in seconds of a step and must be positive, found 0"),
        ("dt", "-0.001", "must be positive, found -0.001"),
        ("bins", '"time"', 'it goes with bins = "dt", found bins = "time"'),
        ("front_end.bands", "0", "bands are 1 to 512"),
        ("front_end.delta", "0.25", "a multiple of 0.1 dB"),
        ("front_end.width", "1", "unknown key 'width'"),
    ):
        with pytest.raises(InputError, match=message):
            load_recipe("fsdd", [f"data.{key}={value}"])


def test_what_a_contract_says_of_sound() -> None:
    from neurodeploy.ir.contract import Contract, InputCode, Semantics

    source = DataSource("fsdd", "", 0, "dt", DT, "cut", "speaker:s5", FrontEnd(bands=16))
    semantics = Semantics(1e-4, "zero", ">")
    contract = Contract(semantics, InputCode("events"), 132, "sum_v", "fsdd", source)
    assert Contract.from_metadata(contract.to_metadata(), "file") == contract
    plain = replace(contract, source=DataSource("a", bins="count"))
    # Files say nothing of what older versions do not know, unless it is meant.
    assert set(plain.to_metadata()["source"]) == {"path", "sha256", "side", "bins"}


@pytest.mark.skipif(not FSDD.is_dir(), reason="the recordings are not here")
def test_the_recordings_themselves() -> None:
    data = load_recipe("fsdd").data
    source = replace(data.source, path=str(FSDD))
    found = load_dataset("fsdd", source, 132, 1, encoder="events")
    assert (len(found.x_train), len(found.x_test)) == (2250, 250)
    assert "2 of 2,250 recordings last longer" in found.notes[0]
    rates = found.x_train[:].mean((0, 1))
    assert rates.min() > 0.005 and rates.max() < 0.5
