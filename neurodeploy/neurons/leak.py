"""Discretisation of one first-order leak, shared by every model with a time constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.ir.contract import Semantics

ENDLESS = 2.0**60
"""Steps of a time constant that keeps exactly everything: 1 - 1/ENDLESS is 1."""

INSTANT = 2.0**-10
"""Steps of a time constant that keeps exactly nothing exponentially: exp(-1/INSTANT) is 0."""

NEIGHBOURS = 8
"""How many floats to either side are tried for a value that gives another to the last bit."""

ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Up to here a product of parameters that should be 1 is off by the rounding of its factors."""


def keep_and_feed(tau: Any, semantics: Semantics, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Share of the state kept and of the input fed per step for tau dx/dt = -x + input.

    Euler: keep 1 - dt/tau, feed dt/tau. Exponential (input constant within the step): keep
    exp(-dt/tau), feed 1 - exp(-dt/tau).

    Args:
        tau: time constants in seconds.
        semantics: gives dt and the integrator.
        where: the place to name in messages.

    Raises:
        UnsupportedError: tau is not positive, or with Euler below dt, where v would oscillate.
    """
    tau = np.asarray(tau, np.float64)
    if not (tau > 0).all():
        raise UnsupportedError(f"{where}: time constants must be positive, found {tau.min():g} s")
    if semantics.integrator == "exponential":
        keep = np.exp(-semantics.dt / tau)
        return keep, -np.expm1(-semantics.dt / tau)
    feed = semantics.dt / tau
    if (feed > 1 + 1e-9).any():
        raise UnsupportedError(
            f"{where}: time constant {tau.min():g} s is below dt = {semantics.dt:g} s, which Euler "
            "cannot step",
            fix=Text("use a smaller ", Setting("dt"), " or ", Setting("integrator", "exponential")),
        )
    feed = np.minimum(feed, 1.0)
    return 1.0 - feed, feed


def time_constant(keep: Any, semantics: Semantics) -> np.ndarray:
    """The time constant in seconds that keeps this share per step: ``keep_and_feed`` backwards.

    Of the floats that give ``keep`` back to the last bit, the one with the fewest digits; where
    there is none, the nearest.

    Args:
        keep: shares from 0 to 1.
        semantics: gives dt and the integrator.
    """
    found, where = np.unique(np.asarray(keep, np.float64), return_inverse=True)
    dt = semantics.dt
    with np.errstate(divide="ignore"):
        steps = 1 / (1 - found) if semantics.integrator == "euler" else -1 / np.log(found)
    shortest = INSTANT if semantics.integrator == "exponential" else 1.0
    steps = np.clip(steps, shortest, ENDLESS)

    def kept(tau: np.ndarray) -> np.ndarray:
        return keep_and_feed(tau, semantics, "")[0]

    tau = first_giving(found, kept, _rounded(steps) * dt, _rounded(steps * dt), steps * dt)
    return tau[where].reshape(np.shape(keep))


def first_giving(goal: np.ndarray, function: Any, *guesses: np.ndarray) -> np.ndarray:
    """For each element the first guess, or float next to the last, that gives ``goal`` exactly.

    Where none does, the last guess.
    """
    result = guesses[-1].copy()
    missing = np.ones(goal.shape, bool)
    above = below = guesses[-1]
    candidates = list(guesses)
    for _ in range(NEIGHBOURS):
        above, below = np.nextafter(above, np.inf), np.nextafter(below, -np.inf)
        candidates += [above, below]
    for candidate in candidates:
        hits = missing & (function(candidate) == goal)
        result[hits] = candidate[hits]
        missing &= ~hits
        if not missing.any():
            break
    return result


def exactly_one(gain: np.ndarray) -> np.ndarray:
    """The gain, 1 where it is 1 but for the rounding of its factors.

    r = tau/dt means that weights stay as they are; dt/tau r may miss 1 in its last bits.
    """
    return np.where(np.abs(gain - 1) <= ROUNDING, 1.0, gain)


def from_reset(node: Any, semantics: Semantics, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Threshold and v_reset of a node, the threshold as its distance from v_reset.

    The chip's neurons start and return to 0, so v counts from v_reset here: a sample starts with v
    at v_reset, which NIR leaves open.

    Raises:
        UnsupportedError: v_reset is not 0 where a spike does not set v to it.
    """
    threshold = np.asarray(node.v_threshold, np.float64)
    v_reset = np.zeros(1) if node.v_reset is None else np.asarray(node.v_reset, np.float64)
    if semantics.reset != "zero" and np.any(v_reset != 0):
        raise UnsupportedError(
            f"{where}: v_reset is not 0, but "
            + ("a reset by subtraction" if semantics.reset == "subtract" else "no reset")
            + " has no v_reset",
            fix=Text("set it to 0, or state ", Setting("reset", "zero"), " for a reset to v_reset"),
        )
    return threshold - v_reset, v_reset


def _rounded(values: np.ndarray) -> np.ndarray:
    """To 12 significant decimal digits, as a person would have written it."""
    scale = 10.0 ** (11 - np.floor(np.log10(values)))
    with np.errstate(over="ignore"):
        rounded = np.rint(values * scale) / scale
    return np.where(np.isfinite(rounded), rounded, values)
