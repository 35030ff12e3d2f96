"""Sound as spikes: the power in bands of pitch over steps of one duration, and its crossings.

Nothing here draws or learns. Sound is cut into one window per step, which ends where the step ends;
its power is summed up in bands and taken in decibels below the loudest of the recording, or of the
band in it. These are rounded to whole tenths, and from there on everything is integers: two
machines differ only where a power lies within its last digits of the border between two tenths.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.sound import FrontEnd

TENTHS = 10
"""Of a decibel."""


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """(n,) integer values of a mono wav, and its rate in hertz.

    Raises:
        InputError: damaged, no wav, empty, of several channels, or of floats.
    """
    from scipy.io import wavfile

    try:
        rate, values = wavfile.read(path)
    except (OSError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable wav: {error}") from None
    if values.ndim != 1:
        raise InputError(
            f"{path}: has {values.shape[1]} channels; expected mono, for example one of them"
        )
    if values.dtype.kind not in "iu":
        raise InputError(f"{path}: holds {values.dtype}; expected PCM, integers of 8 to 32 bits")
    if values.size == 0 or rate <= 0:
        raise InputError(f"{path}: holds no sound; leave this recording out of the data set")
    # Eight bits are stored from 0, with silence at 128; others around 0.
    return values.astype(np.int64) - (128 if values.dtype == np.uint8 else 0), int(rate)


def samples_per_step(dt: float, rate: int) -> int:
    """Values of sound in one step.

    Raises:
        InputError: they are not a whole number.
    """
    exact = dt * rate
    whole = round(exact)
    if whole < 1 or abs(exact - whole) > 1e-6 * whole:
        near = max(whole, 1) / rate
        raise InputError(
            f"[data] dt = {dt:g} s does not divide sound of {rate:,} Hz into whole values: a step "
            f"would have {exact:g}; the nearest that does is {near:g}"
        )
    return whole


def spikes_of(values: np.ndarray, rate: int, dt: float, end: FrontEnd, levels: int) -> np.ndarray:
    """Spikes of one recording, (steps, 2 bands) uint8: ON of every band, then OFF.

    Args:
        values: (n,) sound, n >= 1.
        rate: in hertz.
        dt: seconds of a step, a whole number of values.
        end: the front end.
        levels: at most so many spikes of a channel in one step; those beyond come in the next.

    Returns:
        As many steps as begin before the sound ends, ceil(n / (rate dt)).

    Raises:
        InputError: dt, or a band, does not suit the rate.
    """
    loudness = band_levels(values, rate, dt, end)
    step = round(TENTHS * end.delta)
    changes = np.empty_like(loudness)
    heard = np.zeros(end.bands, np.int64)
    for t, now in enumerate(loudness):
        # Towards zero: a band that moves by less than delta sends nothing.
        whole = np.trunc((now - heard) / step).astype(np.int64)
        changes[t] = np.minimum(np.maximum(whole, -levels), levels)
        heard += changes[t] * step
    spikes = np.stack([np.maximum(changes, 0), np.maximum(-changes, 0)], 1).astype(np.uint8)
    return spikes.reshape(len(spikes), -1)


def band_levels(values: np.ndarray, rate: int, dt: float, end: FrontEnd) -> np.ndarray:
    """Tenths of a decibel above the floor, (steps, bands) int64 from 0.

    Silence throughout is 0 throughout.

    Raises:
        InputError: as ``spikes_of``.
    """
    from scipy.fft import next_fast_len, rfft
    from scipy.signal import get_window

    hop = samples_per_step(dt, rate)
    width = max(round(end.window * rate), hop)
    steps = -(-len(values) // hop)
    # A window ends where its step ends, so that no step hears what comes after it.
    padded = np.zeros(steps * hop + width - hop)
    padded[width - hop : width - hop + len(values)] = values
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    size: Any = next_fast_len(2 * width, real=True)
    spectrum: Any = rfft(windows * get_window("hann", width), size)
    power = (spectrum.real**2 + spectrum.imag**2) @ filter_bank(rate, size, end).T
    loudest = power.max(0) if end.loudest == "band" else power.max()
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where all is silence nothing is loudest.
        decibels = end.floor + 10 * np.log10(np.where(loudest > 0, power / loudest, 0.0))
    return np.rint(TENTHS * np.maximum(decibels, 0)).astype(np.int64)


@cache
def filter_bank(rate: int, size: int, end: FrontEnd) -> np.ndarray:
    """Weights of the powers of a spectrum in each band, (bands, size // 2 + 1).

    Triangles between points that lie evenly in mel; each is 1 where the next begins and ends.

    Raises:
        InputError: a band is too narrow for the spectrum, or beyond half the rate.
    """
    high = end.high or rate / 2
    if high > rate / 2:
        raise InputError(
            f"[data.front_end] high = {high:g} Hz is above {rate / 2:g}, half the rate of the sound"
        )
    if end.low >= high:
        raise InputError(f"[data.front_end] low = {end.low:g} Hz; there is no sound above {high:g}")
    mel = np.linspace(mel_of(end.low), mel_of(high), end.bands + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.arange(size // 2 + 1) * rate / size
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (
        (frequencies - left) / (middle - left),
        (right - frequencies) / (right - middle),
    )
    weights = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(weights.sum(1) == 0)
    if len(empty):
        raise InputError(
            f"[data.front_end] bands = {end.bands}: band {empty[0]} is narrower than the "
            f"{rate / size:g} Hz that windows of {end.window:g} s tell apart; take fewer bands or "
            "a longer window"
        )
    weights.flags.writeable = False
    return weights


def mel_of(frequency: Any) -> Any:
    """Pitch in mel, 2595 log10(1 + f/700) (O'Shaughnessy 1987).

    Args:
        frequency: in hertz, a number or an array.
    """
    return 2595 * np.log10(1 + frequency / 700)
