"""Changed versions of recorded sound: what is changed, what is drawn, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.data.sound_versions import changed_sound
from neurodeploy.errors import InputError, SimulationError
from neurodeploy.ir.sound import SoundVersions
from neurodeploy.ir.source import DataSource
from neurodeploy.recipe import load_recipe
from neurodeploy.training import epoch, resume_run, train
from neurodeploy.training.assembly import split_of
from neurodeploy.training.augmentation_over_time import drawn_versions
from support.small_runs import metrics_of
from support.wording import refused

RATE, DT = 8000, 1e-2
CHANGES = SoundVersions(count=3, speed=0.2, equalizer=6, noise=(10, 30))


def tone(hertz: float, seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.rint(8000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    for digit in range(10):
        for index in (0, 4, 5, 7, 9, 11):
            sound = tone(300 + 300 * digit, 0.05 + index / 200)
            wavfile.write(folder / f"{digit}_a_{index}.wav", RATE, sound)
    return folder


def load(folder: Path, versions: SoundVersions | None = None, seed: int = 0) -> Dataset:
    source = DataSource(str(folder), bins="dt", dt=DT)
    return load_dataset("fsdd", source, 20, encoder="events", versions=versions, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_speed_moves_length_and_pitch_alike(seed: int) -> None:
    sound = tone(1000, 0.5)
    changed = changed_sound(
        sound, RATE, SoundVersions(count=1, speed=0.2), np.random.default_rng(seed)
    )
    speed = len(sound) / len(changed)
    assert 1 / 1.2 - 1e-3 <= speed <= 1.2 + 1e-3 and speed != 1
    spectrum = np.abs(np.fft.rfft(changed, 16 * len(changed)))
    pitch = spectrum.argmax() * RATE / (16 * len(changed))
    assert pitch == pytest.approx(1000 * speed, rel=2e-3)
    middle = changed[500:-500]
    assert np.abs(middle).max() == pytest.approx(8000, rel=0.02), "as loud as it was"


def test_an_equalizer_is_straight_between_five_pitches() -> None:
    sound = np.zeros(4000)
    sound[0] = 1.0  # all frequencies alike
    changes = SoundVersions(count=1, equalizer=6)
    changed = changed_sound(sound, RATE, changes, np.random.default_rng(3))
    decibels = 20 * np.log10(np.abs(np.fft.rfft(changed)))
    gains = np.random.default_rng(3).uniform(-6, 6, 5)
    top = 2595 * np.log10(1 + 4000 / 700)
    for position in np.linspace(0, 4, 41):
        hertz = 700 * (10 ** (position / 4 * top / 2595) - 1)
        bin_ = round(hertz * 4000 / RATE)
        left = min(int(position), 3)
        expected = gains[left] + (position - left) * (gains[left + 1] - gains[left])
        assert decibels[bin_] == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_as_loud_as_drawn_and_falls_with_frequency(seed: int) -> None:
    sound = tone(1000, 2)
    changes = SoundVersions(count=1, noise=(10, 30))
    noise = changed_sound(sound, RATE, changes, np.random.default_rng(seed)) - sound
    below, slope = (np.random.default_rng(seed).uniform(size=2) * (20, 1)) + (10, 0)
    wanted = np.sqrt(np.mean(sound.astype(float) ** 2)) * 10 ** (-below / 20)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(wanted, rel=1e-9)
    power = np.abs(np.fft.rfft(noise)) ** 2
    low, high = power[400:800].mean(), power[4000:8000].mean()
    # Bins of half a hertz, ten times apart: amplitudes 10^-slope, powers 10^(-2 slope).
    assert np.log10(low / high) == pytest.approx(2 * slope, abs=0.15)


def test_silence_comes_before_and_behind_and_noise_over_all() -> None:
    sound, rng = tone(1000, 0.1), np.random.default_rng(7)
    changed = changed_sound(sound, RATE, SoundVersions(count=1, silence=0.5), rng)
    before, behind = np.rint(np.random.default_rng(7).uniform(0, 0.5, 2) * RATE).astype(int)
    assert before > 0 and behind > 0 and len(changed) == before + len(sound) + behind
    np.testing.assert_array_equal(changed[before:-behind], sound)
    assert not changed[:before].any() and not changed[-behind:].any()
    noisy = SoundVersions(count=1, silence=0.5, noise=(10, 30))
    assert changed_sound(sound, RATE, noisy, np.random.default_rng(7))[:before].all()


def test_silence_stays_silence() -> None:
    changed = changed_sound(np.zeros(800, np.int64), RATE, CHANGES, np.random.default_rng(0))
    assert not changed.any()


def test_only_training_samples_have_versions(digits: Path) -> None:
    plain, found = load(digits), load(digits, CHANGES)
    for part in ("x_train", "y_train", "x_test", "y_test", "lengths_train", "lengths_test"):
        np.testing.assert_array_equal(getattr(plain, part), getattr(found, part))
    versions = found.versions_train
    assert plain.versions_train is None and versions is not None
    assert versions.x.shape == (40, 3, 20, 64) and versions.lengths.shape == (40, 3)
    different = (versions.x != np.asarray(found.x_train)[:, None]).any((2, 3))
    assert different.mean() > 0.9
    for row, lengths in zip(versions.x, versions.lengths, strict=True):
        assert all(not x[n:].any() and x[:n].any() for x, n in zip(row, lengths, strict=True))
    again, other = load(digits, CHANGES).versions_train, load(digits, CHANGES, 1).versions_train
    assert again is not None and other is not None
    np.testing.assert_array_equal(versions.x, again.x)
    assert (versions.x != other.x).any()


def test_each_epoch_draws_one_of_all(digits: Path) -> None:
    recipe = load_recipe("fsdd", [f'data.path="{digits}"', "data.validation=0.25"])
    dataset = load(digits, CHANGES)
    split = split_of(recipe, dataset)
    changed = split.versions_train
    assert changed is not None and len(split.x_train) == len(changed.x) == 30
    numbers = np.arange(30)
    drawn = np.array([drawn_versions(3, (0, epoch), numbers) for epoch in range(200)])
    shares = np.bincount(drawn.ravel(), minlength=4) / drawn.size
    np.testing.assert_allclose(shares, 0.25, atol=0.02)
    # Whoever else is in its batch, a sample has the same.
    np.testing.assert_array_equal(drawn_versions(3, (0, 7), numbers[[4, 2]]), drawn[7, [4, 2]])

    chosen = np.array([0, 3, 1])
    seen, lasting = (
        split.seen(np.array([5, 5, 9]), chosen),
        split.lasting(np.array([5, 5, 9]), chosen),
    )
    assert lasting is not None and split.lengths_train is not None
    np.testing.assert_array_equal(seen[0], split.x_train[np.array([5])][0])
    np.testing.assert_array_equal(seen[1:], changed.x[[5, 9], [2, 0]])
    expected = [split.lengths_train[5], changed.lengths[5, 2], changed.lengths[9, 0]]
    assert lasting.tolist() == expected
    # What was held back is in no version.
    held = {x.tobytes() for x in np.asarray(dataset.x_train)[split.held_back]}
    assert not any(x.tobytes() in held for x in split.x_train[:])


def test_a_run_hears_them_and_goes_on_after_an_interruption(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        f'data.path="{digits}"',
        *("data.validation=0.25", "training.steps=20", "training.epochs=3"),
        *("network.hidden=[8]", "network.gain=[2.0]", "training.batch_size=16"),
    ]
    sound = "augmentation.sound={count=3,speed=0.2,equalizer=6,noise=[10,30]}"
    recipe, heard, run = (
        load_recipe("fsdd", [*options, sound]),
        tmp_path / "heard",
        tmp_path / "run",
    )
    train(recipe, heard, progress=False)
    train(load_recipe("fsdd", options), tmp_path / "plain", progress=False)
    assert metrics_of(heard) != metrics_of(tmp_path / "plain")
    train_batch, calls = epoch._train_batch, iter(range(3))

    def interrupt(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return train_batch(*arguments)

    with monkeypatch.context() as patch, refused(SimulationError, "--resume", by="train"):
        patch.setattr(epoch, "_train_batch", interrupt)
        train(recipe, run, progress=False)
    resume_run(run, progress=False)
    assert metrics_of(run) == metrics_of(heard)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{count=65, speed=0.1}", "count is from 0 to 64"),
        ("{count=-1, speed=0.1}", "count is from 0 to 64"),
        ("{count=2}", "2 versions with nothing changed"),
        ("{speed=0.1}", "0 versions of what is to be changed"),
        ("{count=1, speed=1.5}", "speed is from 0 to 1"),
        ("{count=1, equalizer=-3}", "equalizer is in decibels, from 0"),
        ("{count=1, silence=99}", "silence is in seconds, from 0 to 60"),
        ("{count=1, noise=[10]}", r"noise is \[lowest, highest\]"),
        ("{count=1, noise=[30, 10]}", r"noise is \[lowest, highest\]"),
        ("{count=1, noise=[10, 900]}", r"noise is \[lowest, highest\]"),
        ("{count=1, pitch=1}", "unknown key 'pitch'"),
    ],
)
def test_bad_versions_are_refused(table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("fsdd", [f"augmentation.sound={table}"])


def test_what_is_no_sound_has_no_versions(tmp_path: Path) -> None:
    options: list[Any] = ["augmentation.sound={count=1,speed=0.1}", "training.epochs=1"]
    with refused(InputError, r"data set 'digits' is not sound", by="train"):
        train(load_recipe("digits_mlp", options), tmp_path / "run")
