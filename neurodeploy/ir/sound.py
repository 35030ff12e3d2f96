"""Sound: how it becomes spikes, and how it is changed for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Loudest = Literal["recording", "band"]

MOST_VERSIONS = 64
"""Of a recording, all of which are kept in memory."""


@dataclass(frozen=True)
class FrontEnd:
    """How sound becomes spikes: the power in frequency bands, and a spike where it has changed.

    Powers are in whole tenths of a decibel, from 0 at the floor up to the loudest of a recording,
    or of its band in the recording.
    A band sends an ON spike for each ``delta`` that it has risen since its last spike, an OFF spike
    for each that it has fallen.

    Attributes:
        bands: number of bands, evenly spaced in mel between ``low`` and ``high``, triangles that
            overlap by half; each has an ON and an OFF channel.
        low: lower end of the bands in hertz.
        high: upper end of the bands in hertz; 0 is half the rate of the recording.
        window: seconds of sound that one step covers, up to the step's end.
        floor: decibels below the loudest that count as silence.
        loudest: the loudest in all bands of the ``recording``, or in each ``band`` separately,
            which cancels the constant effect of a microphone or voice on a band.
        delta: decibels from one spike to the next, a multiple of 0.1.
    """

    bands: int = 32
    low: float = 60.0
    high: float = 0.0
    window: float = 0.032
    floor: float = 50.0
    delta: float = 4.0
    loudest: Loudest = "recording"

    def __post_init__(self) -> None:
        if not 1 <= self.bands <= 512:
            raise ValueError(f"front_end: bands are 1 to 512, found {self.bands}")
        if not 0 <= self.low < (self.high or float("inf")):
            raise ValueError(
                f"front_end: low is from 0 to below high, found {self.low:g} and {self.high:g} Hz"
            )
        if not 0 < self.window <= 1:
            raise ValueError(f"front_end: window is in seconds, up to 1, found {self.window:g}")
        if not 0.1 <= self.delta <= self.floor <= 200:
            raise ValueError(
                "front_end: delta and floor are in decibels, 0.1 <= delta <= floor <= 200, found "
                f"{self.delta:g} and {self.floor:g}"
            )
        if abs(10 * self.delta - round(10 * self.delta)) > 1e-6:
            raise ValueError(f"front_end: delta is a multiple of 0.1 dB, found {self.delta:g}")


@dataclass(frozen=True)
class SoundVersions:
    """Changed versions of the recordings for training, as of other voices, microphones and rooms.

    The sound itself is changed, before the front end, in this order; each change is drawn evenly
    from its range, for each version by itself. They are made once, when the data is read.

    Attributes:
        count: versions of each recording in addition to itself. Each epoch uses one of all these,
            drawn anew for every recording.
        speed: a version is played between 1/(1 + speed) and 1 + speed times as fast, which also
            changes its pitch (Ko et al. 2015, "Audio augmentation for speech recognition"); drawn
            uniformly in the logarithm.
        equalizer: largest change of loudness in decibels: five values, evenly spaced in mel from 0
            to half the rate, with linear interpolation between them.
        silence: largest duration of silence before and after a recording, in seconds.
        noise: lowest and highest of the decibels by which noise is softer than the recording; empty
            for none. Its amplitude falls with frequency as f^-a, a from 0 (white) to 1 (red).
    """

    count: int = 0
    speed: float = 0.0
    equalizer: float = 0.0
    silence: float = 0.0
    noise: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.count <= MOST_VERSIONS:
            raise ValueError(
                f"sound: count is from 0 to {MOST_VERSIONS} versions, found {self.count}"
            )
        if not 0 <= self.speed <= 1:
            raise ValueError(f"sound: speed is from 0 to 1, found {self.speed:g}")
        if not 0 <= self.equalizer <= 60:
            raise ValueError(
                f"sound: equalizer is in decibels, from 0 to 60, found {self.equalizer:g}"
            )
        if not 0 <= self.silence <= 60:
            raise ValueError(f"sound: silence is in seconds, from 0 to 60, found {self.silence:g}")
        ordered = tuple(sorted(self.noise)) == self.noise
        if len(self.noise) not in (0, 2) or not ordered or any(abs(n) > 120 for n in self.noise):
            raise ValueError(
                "sound: noise is [lowest, highest] in decibels below the recording, from -120 to "
                f"120, found {list(self.noise)}"
            )
        changes = bool(self.speed or self.equalizer or self.silence or self.noise)
        if bool(self.count) != changes:
            raise ValueError(
                f"sound: count = {self.count} versions "
                + ("with nothing changed" if self.count else "of what is to be changed")
                + "; set count, and one or more of speed, equalizer, silence and noise"
            )
