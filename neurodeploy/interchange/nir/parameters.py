"""Parameters of NIR nodes in the shape of a population, and times as steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Neuron
from neurodeploy.ir.operators import Shape
from neurodeploy.neurons.leak import exactly_one


def fit(values: Any, shape: Shape, where: str) -> np.ndarray:
    """A parameter in the shape of its neurons, float64.

    Args:
        values: one number, one for each neuron in any shape, or what broadcasts to ``shape``.

    Raises:
        UnsupportedError: it does not fit, or is infinite or not a number.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise UnsupportedError(f"{where}: a parameter is infinite or not a number")
    if values.size == 1:
        return np.full(shape, values.item())
    if values.size == np.prod(shape):
        return values.reshape(shape)
    try:
        return np.broadcast_to(values, shape).copy()
    except ValueError:
        raise UnsupportedError(
            f"{where}: parameters of shape {values.shape} do not fit neurons of shape {shape}"
        ) from None


def fitted(neuron: Neuron, gain: np.ndarray, shape: Shape, where: str) -> tuple[Neuron, np.ndarray]:
    """A neuron and the gain of its input with parameters in the shape of the population.

    Raises:
        UnsupportedError: as ``fit``, or a threshold is below 0.
    """
    threshold = neuron.v_threshold
    if threshold is not None:
        threshold = fit(threshold, shape, where)
        if (threshold < 0).any():
            raise UnsupportedError(
                f"{where}: a threshold lies {-threshold.min():g} below where v starts and returns "
                "to; thresholds of the chip are at least 0"
            )
    full = replace(
        neuron,
        u_keep=fit(neuron.u_keep, shape, where),
        v_keep=fit(neuron.v_keep, shape, where),
        bias=fit(neuron.bias, shape, where),
        v_threshold=threshold,
    )
    return full, exactly_one(fit(gain, shape, where))


MOST_STEPS = 2**31
"""Of a delay."""


def delay_steps(node: Any, shape: Shape, dt: float, where: str) -> np.ndarray:
    """Delays of a Delay node in steps of ``dt``, int64 of its input's shape.

    Raises:
        UnsupportedError: one that is no whole number of steps from 0, or too large.
    """
    seconds = fit(node.delay, shape, where)
    # What is far beyond the longest may leave the floats in steps.
    far = np.abs(seconds) > MOST_STEPS * dt
    exact = np.where(far, 0.0, seconds) / dt
    steps = np.rint(exact)
    wrong = far | (steps < 0) | (np.abs(exact - steps) > 1e-6)
    if wrong.any():
        raise UnsupportedError(
            f"{where}: a delay of {seconds[wrong].flat[0]:g} s is not a whole number of steps "
            f"of dt = {dt:g} s; round the delays, or choose a dt that divides them"
        )
    return steps.astype(np.int64)
