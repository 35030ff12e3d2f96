"""Recordings as other voices, microphones and rooms would have made them, for training."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.data.sound import mel_of
from neurodeploy.ir.sound import SoundVersions

POINTS = 5
"""Pitches at which an equalizer is set."""

LOWEST = 20.0
"""Hertz below which noise grows no further."""


def changed_sound(
    values: np.ndarray, rate: int, changes: SoundVersions, rng: np.random.Generator
) -> np.ndarray:
    """One version of a recording, (m,) float64; m differs from n where its speed does.

    Args:
        values: (n,) sound, n >= 1.
        rate: in hertz.
        changes: what is changed, and by how much at most.
        rng: of the draws.
    """
    sound = values.astype(np.float64)
    if changes.speed:
        most = np.log1p(changes.speed)
        sound = _faster(sound, np.exp(rng.uniform(-most, most)))
    if changes.equalizer:
        gains = rng.uniform(-changes.equalizer, changes.equalizer, POINTS)
        sound = _equalized(sound, rate, gains)
    if changes.silence:
        before, behind = (round(s * rate) for s in rng.uniform(0, changes.silence, 2))
        sound = np.pad(sound, (before, behind))
    if changes.noise:
        low, high = changes.noise
        below, slope = rng.uniform(low, high), rng.uniform(0, 1)
        sound = sound + _noise(sound, rate, below, slope, rng)
    return sound


def _faster(sound: np.ndarray, speed: float) -> np.ndarray:
    from scipy.signal import resample

    return np.asarray(resample(sound, max(1, round(len(sound) / speed))))


def _equalized(sound: np.ndarray, rate: int, gains: np.ndarray) -> np.ndarray:
    """Sound with so many decibels more at pitches evenly spaced from 0 to half the rate."""
    spectrum, mel = np.fft.rfft(sound), mel_of(np.fft.rfftfreq(len(sound), 1 / rate))
    decibels = np.interp(mel, np.linspace(0, mel_of(rate / 2), len(gains)), gains)
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), len(sound))


def _noise(
    sound: np.ndarray, rate: int, below: float, slope: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise of the sound's mean power less so many decibels, of an amplitude as f^-slope."""
    frequencies = np.maximum(np.fft.rfftfreq(len(sound), 1 / rate), LOWEST)
    spectrum: Any = np.fft.rfft(rng.standard_normal(len(sound)))
    noise = np.fft.irfft(spectrum / frequencies**slope, len(sound))
    loud = np.sqrt(np.mean(sound**2) / np.mean(noise**2))
    return noise * loud * 10 ** (-below / 20)
