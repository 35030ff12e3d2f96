"""Discretisation of one first-order leak, shared by every model with a time constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.contract import Semantics
from neurodeploy.errors import UnsupportedError


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
            "cannot step; use a smaller --dt or --integrator exponential"
        )
    feed = np.minimum(feed, 1.0)
    return 1.0 - feed, feed


def refuse_v_reset(node: Any, where: str) -> None:
    """Only a reset to 0 can be deployed.

    Raises:
        UnsupportedError: some v_reset differs from 0.
    """
    if node.v_reset is not None and np.any(np.asarray(node.v_reset) != 0):
        raise UnsupportedError(
            f"{where}: v_reset is not 0; Loihi's neurons reset to 0, so shift v_leak, v_threshold "
            "and v_reset together until it is"
        )
