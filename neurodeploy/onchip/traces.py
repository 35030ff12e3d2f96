"""Traces of synapses: what their past input still does to the neuron behind them (rule ``eprop``).

For the synapses from i to j, with the share K_j that u_j keeps of itself through its reset:

    a_i[t]  = U_j a_i[t-1] + s_i[t]                      the current; s_i without one
    e_ji[t] = K_j[t-1] e_ji[t-1] + a_i[t]                the membrane
    f_ji[t] = surrogate_j[t] e_ji[t]                     what of it reaches the spike
    m_ji[t] = mean_k(K_k[t-1]) m_ji[t-1] + f_ji[t]       for each population k above, nearest first

as Bellec et al. 2020 and ``rules.eprop`` have it; a population above with currents filters twice,
and one that is read out by the change of v passes on m[t] - m[t-1]. In integers every factor is one
of 1/4096, products are cut towards zero, and shifts go down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurodeploy.ir.fixed_point import DECAY_BITS, DECAY_ONE
from neurodeploy.onchip.arithmetic import SURROGATE_BITS
from neurodeploy.onchip.trace_plan import FilterPlan, TracePlan


class Numbers(Protocol):
    """What traces are computed in."""

    @property
    def dtype(self) -> Any:
        """Of arrays."""
        ...

    def share(self, kept: Any) -> Any:
        """A share from 1/4096."""
        ...

    def decayed(self, values: np.ndarray, share: Any) -> np.ndarray:
        """What is left of values."""
        ...

    def shifted(self, values: np.ndarray, by: int) -> np.ndarray:
        """Values to the right by so many bits, or to the left."""
        ...

    def sloped(self, values: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Values (outputs, inputs) times the surrogates (outputs,)."""
        ...


@dataclass(frozen=True)
class Integers:
    """As a chip has them."""

    dtype: Any = np.int64

    def share(self, kept: Any) -> Any:
        return int(kept) if isinstance(kept, float) else kept

    def decayed(self, values: np.ndarray, share: Any) -> np.ndarray:
        product = values * share
        # Towards zero: a negative product is cut upwards.
        return (product + ((product >> 63) & (DECAY_ONE - 1))) >> DECAY_BITS

    def shifted(self, values: np.ndarray, by: int) -> np.ndarray:
        return values >> by if by >= 0 else values << -by

    def sloped(self, values: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return (values * slope[:, None]) >> SURROGATE_BITS


@dataclass(frozen=True)
class Reals:
    """Without any rounding, in float64."""

    dtype: Any = np.float64

    def share(self, kept: Any) -> Any:
        return kept / DECAY_ONE

    def decayed(self, values: np.ndarray, share: Any) -> np.ndarray:
        return values * share

    def shifted(self, values: np.ndarray, by: int) -> np.ndarray:
        _ = by
        return values

    def sloped(self, values: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return values * slope[:, None]


class Traces:
    """Of one projection, for one sample; arrays are (outputs, inputs).

    Attributes:
        filtered: whether the surrogate is in what an error meets, which then is one of the output.
    """

    def __init__(self, plan: TracePlan, shape: tuple[int, int], numbers: Numbers) -> None:
        self.plan, self.shape, self.numbers = plan, shape, numbers
        self.u_share = numbers.share(plan.u_kept)
        self.keeps_current = bool(plan.u_kept.any())
        self.filtered = bool(plan.filters)
        self.reset()

    def reset(self) -> None:
        """Start a sample."""
        self.a = np.zeros((len(self.plan.u_kept), self.shape[1]), self.numbers.dtype)
        self.e = self.before = np.zeros(self.shape, self.numbers.dtype)
        self.filters = [_Filter(plan, self.numbers) for plan in self.plan.filters]

    def advance(self, spikes: np.ndarray, kept: np.ndarray) -> None:
        """One step: what arrives (inputs,), and what each neuron keeps (outputs,)."""
        plan, numbers = self.plan, self.numbers
        arrived = numbers.shifted(spikes.astype(numbers.dtype), -plan.current_bits)[None]
        self.a = numbers.decayed(self.a, self.u_share) + arrived if self.keeps_current else arrived
        if plan.seen in ("spikes", "current"):
            return
        entering = numbers.shifted(self.a, plan.current_bits - plan.bits)
        self.before = self.e
        self.e = numbers.decayed(self.e, kept[:, None]) + entering

    def seen(self, slope: np.ndarray, means: Mapping[str, Any]) -> np.ndarray:
        """What the error of the step meets, (outputs or 1, inputs).

        Args:
            slope: surrogates, (outputs,).
            means: mean share that the membranes of a population keep, by name.
        """
        seen = self.plan.seen
        if seen in ("spikes", "current"):
            return self.a
        if seen == "change":
            return self.e - self.before
        if not self.filtered:
            return self.e
        found = self.numbers.sloped(self.e, slope)
        for filter in self.filters:
            found = filter.step(found, means[filter.plan.population])
        return found


class _Filter:
    """Of a population above."""

    def __init__(self, plan: FilterPlan, numbers: Numbers) -> None:
        self.plan, self.numbers = plan, numbers
        self.current_share = numbers.share(plan.current)
        self.current: Any = None
        self.membrane: Any = None

    def step(self, x: np.ndarray, mean: Any) -> np.ndarray:
        """One step of (outputs, inputs)."""
        numbers, plan = self.numbers, self.plan
        x = numbers.shifted(x, plan.shift)
        if plan.current:
            if self.current is not None:
                x = numbers.decayed(self.current, self.current_share) + x
            self.current = x
        before = self.membrane
        if before is not None:
            x = numbers.decayed(before, mean) + x
        self.membrane = x
        return x - before if plan.change and before is not None else x
