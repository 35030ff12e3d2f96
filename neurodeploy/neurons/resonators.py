"""Resonators: neurons whose state turns in the complex plane, and that fire once in a turn.

    z[t] = (1 - alpha) e^(i 2 pi / period) z[t-1] + a[t],   a complex

    RF     s[t] = Re z[t] >= threshold and Im z[t] >= 0 and Im z[t-1] < 0; nothing is reset
    RF_IZ  s[t] = Im z[t] >= threshold; then Re z = 0 and Im z just below the threshold

(Izhikevich 2001, "Resonate-and-fire neurons", for the second; Frady et al. 2022, "Efficient
neuromorphic signal processing with resonator neurons", for the first. lava-dl calls them RF_PHASE
and RF.)

One resonator takes two places of its population: those in the first half of the first axis are real
parts, those in the second half imaginary parts, each with its own summed input, as lava-dl's files
have real and imaginary weights. A resonator fires at the place of its real part; the other one
never does.

In integers it is what lava-nc 0.10.0 computes in fixed point (``lava/proc/rf`` and ``rf_iz``),
where trz(x) = sign(x) (|x| >> 12), and cos_decay and sin_decay are 4096 (1 - alpha) times the
cosine and the sine:

    Re = trz(cos_decay Re) - trz(sin_decay Im) + (a_re << 6), held within 24 bits
    Im = trz(sin_decay Re) + trz(cos_decay Im) + (a_im << 6), likewise

The threshold is threshold << 6, and just below it is one less. Lava's processes are given a period
and an alpha, from which they round cosine and sine towards 0, so that not every pair of integers
can be had from them, and they have no reset between samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS, DECAY_ONE, STATE_LIMIT
from neurodeploy.ir.models import Arriving, FloatModel, IntegerModel, Tally
from neurodeploy.neurons.scale import gain_of, roomy, scale_within
from neurodeploy.support.schema import build
from neurodeploy.target import Target

RESONATOR = "Resonator"
"""Name of both models."""

Firing = Literal["phase", "izhikevich"]
"""Of RF and of RF_IZ."""

MOST_THRESHOLD = 2**17 - 1
"""In integers, in units of the summed input."""

ALMOST = 1e-5
"""So far below the threshold a reset leaves RF_IZ in real numbers, as in Lava."""


@dataclass(frozen=True, eq=False)
class Resonator(FloatModel):
    """Resonators in real numbers.

    Attributes:
        sin_decay, cos_decay: (1 - alpha) times sine and cosine of 2 pi / period; they broadcast to
            the population, and those at the places of real parts count.
        threshold: above 0, one for all.
        firing: when it fires, and what a spike leaves.
    """

    sin_decay: np.ndarray
    cos_decay: np.ndarray
    threshold: float
    firing: Firing = "phase"
    kind: str = RESONATOR
    states: ClassVar[tuple[str, ...]] = ("v",)

    def laid_out(
        self, incoming: Sequence[Arriving], ratios: Sequence[float], target: Target, steps: int
    ) -> tuple[float, tuple[int, ...]]:
        """Within what the threshold and the state hold."""
        kept = float(np.hypot(self.sin_decay, self.cos_decay).max())
        most = min(roomy(incoming, gain_of(kept, steps)), MOST_THRESHOLD / self.threshold)
        return scale_within(incoming, ratios, target, most)

    def integers(
        self, scale: float, reach: int, target: Target
    ) -> tuple[QuantizedResonator, list[str]]:
        """To the nearest decays, and the nearest threshold of at least 1."""
        sine, cosine = (
            np.rint(DECAY_ONE * np.asarray(decay, np.float64)).astype(np.int64)
            for decay in (self.sin_decay, self.cos_decay)
        )
        threshold = max(round(self.threshold * scale), 1)
        return QuantizedResonator(sine, cosine, threshold, self.firing), []

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        (re, im), (a_re, a_im) = _parts(state["v"]), _parts(activation)
        sine, cosine = (_of_real(d, activation) for d in (self.sin_decay, self.cos_decay))
        turned_re = cosine * re - sine * im + a_re
        turned_im = sine * re + cosine * im + a_im
        return _fired(state, im, turned_re, turned_im, self, self.threshold - ALMOST)


@dataclass(frozen=True)
class _Table:
    """What a deployment says of resonators beside their arrays."""

    threshold: int
    firing: Firing

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= MOST_THRESHOLD:
            raise ValueError(
                f"a threshold is from 1 to {MOST_THRESHOLD:,}, found {self.threshold:,}"
            )


@dataclass(frozen=True, eq=False)
class QuantizedResonator(IntegerModel):
    """Resonators in integers.

    Attributes:
        sin_decay, cos_decay: int64 in 1/4096, -4096 to 4096; places as of ``Resonator``.
        threshold: in units of the summed input, 1 to 2^17 - 1.
        firing: as of ``Resonator``.
    """

    sin_decay: np.ndarray
    cos_decay: np.ndarray
    threshold: int
    firing: Firing = "phase"
    kind: str = RESONATOR
    states: ClassVar[tuple[str, ...]] = ("v",)

    def step(
        self, state: dict[str, np.ndarray], activation: np.ndarray, tally: Tally
    ) -> np.ndarray:
        exact = activation << ACTIVATION_SHIFT
        shifted = exact.astype(np.int32).astype(np.int64)
        tally.wraps += int(np.count_nonzero(shifted != exact))
        (re, im), (a_re, a_im) = _parts(state["v"]), _parts(shifted)
        sine, cosine = (_of_real(d, activation) for d in (self.sin_decay, self.cos_decay))
        turned_re = _scaled(cosine * re) - _scaled(sine * im) + a_re
        turned_im = _scaled(sine * re) + _scaled(cosine * im) + a_im
        held = [np.clip(part, 1 - STATE_LIMIT, STATE_LIMIT - 1) for part in (turned_re, turned_im)]
        for part, kept in zip((turned_re, turned_im), held, strict=True):
            tally.saturations += int(np.count_nonzero(part != kept))
        below = (self.threshold << ACTIVATION_SHIFT) - 1
        return _fired(state, im, held[0], held[1], self, below)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"sin_decay": self.sin_decay, "cos_decay": self.cos_decay}

    def table(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "firing": self.firing}

    @classmethod
    def restored(
        cls, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
    ) -> QuantizedResonator:
        known = build(_Table, table, where)
        for name in ("sin_decay", "cos_decay"):
            if name not in arrays:
                raise InputError(f"{where}: there is no {name}")
            if np.abs(arrays[name]).max(initial=0) > DECAY_ONE:
                raise InputError(f"{where}: {name} is from -{DECAY_ONE} to {DECAY_ONE}")
        return cls(arrays["sin_decay"], arrays["cos_decay"], known.threshold, known.firing)


def _parts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of (N, *population).

    Raises:
        ValueError: the population has not two places for each resonator.
    """
    if values.shape[1] % 2:
        raise ValueError(f"resonators take an even first axis, found {values.shape[1:]}")
    re, im = np.split(values, 2, axis=1)
    return re, im


def _of_real(decay: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A decay at the places of real parts, for values (N, *population)."""
    shape = values.shape[1:]
    return np.broadcast_to(decay, shape)[: shape[0] // 2]


def _fired(
    state: dict[str, np.ndarray],
    before: np.ndarray,
    re: np.ndarray,
    im: np.ndarray,
    neuron: Any,
    below: float,
) -> np.ndarray:
    """Who fires, uint8; the state becomes what that leaves.

    Args:
        before: imaginary parts of the last step.
        re, im: parts of this one.
        below: what a reset leaves.
    """
    threshold = neuron.threshold
    if isinstance(neuron, QuantizedResonator):
        threshold <<= ACTIVATION_SHIFT
    if neuron.firing == "phase":
        fires = (re >= threshold) & (im >= 0) & (before < 0)
    else:
        fires = im >= threshold
        re, im = np.where(fires, 0, re), np.where(fires, below, im)
    state["v"] = np.concatenate([re, im], axis=1)
    return np.concatenate([fires, np.zeros_like(fires)], axis=1).astype(np.uint8)


def _scaled(product: np.ndarray) -> np.ndarray:
    """A product with a decay in units of the state, rounded to 0."""
    return np.sign(product) * (np.abs(product) >> DECAY_BITS)
