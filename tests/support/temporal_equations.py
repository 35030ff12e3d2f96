"""Two hidden layers with currents, constants of their own and recurrence, in plain numpy.

x^l[t] = W^l s^(l-1)[t] + b^l + R^l s^l[t-1]
I^l[t] = u_keep I^l[t-1] + x^l[t];  u^l[t] = keep v^l[t-1] + I^l[t];  s = H(u - Vth)
v^l[t] = u^l[t] - Vth s^l[t], or u^l[t] (1 - s^l[t])

and the gradients of L = (1/T) sum_t l(o[t], y): with every path (BPTT), with those within a step
alone (SLTT), or with traces of what arrives in the weights' place of it (OTTT). Arrays are
(T, N, size).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Gradients = dict[str, np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def surrogate(u: np.ndarray, threshold: float) -> np.ndarray:
    """ds/du of the surrogate ``sigmoid``."""
    return 1 / np.cosh(2 * (u - threshold)) ** 2


@dataclass
class Filter:
    """a[t] = keep a[t-1] + c[t], c[t] = u_keep c[t-1] + s[t]."""

    keep: Any
    u_keep: Any
    current: Any = 0.0
    value: Any = 0.0

    def __call__(self, s: np.ndarray) -> np.ndarray:
        self.current = self.u_keep * self.current + s
        self.value = self.keep * self.value + self.current
        return self.value


@dataclass
class Layer:
    """Parameters of one hidden layer, and what its neurons did."""

    weight: np.ndarray
    bias: np.ndarray
    keep: Any
    u_keep: Any
    recurrent: np.ndarray | None = None
    threshold: float = 1.0
    reset: str = "subtract"
    rest: int = 0
    traces: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def start(self, samples: int) -> None:
        size = len(self.weight)
        # Of constants that differ, a trace would be one for each synapse.
        shared = np.ndim(self.keep) == np.ndim(self.u_keep) == 0
        names = ("below", "before") if shared else ()
        self.filters = {name: Filter(self.keep, self.u_keep) for name in names}
        self.traces = {}
        self.current, self.v, self.s = (np.zeros((samples, size)) for _ in range(3))
        self.left = np.zeros((samples, size))

    def step(self, below: np.ndarray) -> np.ndarray:
        found = {"below": below, "v_before": self.v, "current_before": self.current}
        found["before"] = self.s
        x = below @ self.weight.T + self.bias
        if self.recurrent is not None:
            x = x + self.s @ self.recurrent.T
        self.current = self.u_keep * self.current + x
        rests = self.left > 0
        u = np.where(rests, self.v, self.keep * self.v + self.current)
        self.s = ((u >= self.threshold) & ~rests) * 1.0
        self.v = u - self.threshold * self.s if self.reset == "subtract" else u * (1 - self.s)
        self.left = np.where(self.s > 0, self.rest, np.maximum(self.left - 1, 0))
        found |= {f"{name} trace": f(found[name]) for name, f in self.filters.items()}
        found |= {"current": self.current, "u": u, "v": self.v, "s": self.s, "rests": rests * 1.0}
        for name, value in found.items():
            self.traces.setdefault(name, []).append(value)
        return self.s

    def backward(
        self, t: int, error: np.ndarray, later: Later, cut: bool, traced: bool
    ) -> np.ndarray:
        """dL/dx[t] from dL/ds[t] out of the layers above, and what is handed on to t - 1."""
        trace = {name: values[t] for name, values in self.traces.items()}
        awake = 1 - trace["rests"]
        if self.recurrent is not None and not cut:
            error = error + later.x @ self.recurrent
        slope = surrogate(trace["u"], self.threshold) * awake
        by_v = 0 if cut else later.v
        if self.reset == "subtract":
            by_u = error * slope + by_v * (1 - self.threshold * slope)
        else:
            by_u = error * slope + by_v * (1 - trace["s"] - trace["u"] * slope)
        held = by_u * trace["rests"]
        by_u = by_u * awake
        by_x = by_u + (0 if cut else later.current)
        later.v = self.keep * by_u + held
        later.current, later.x = self.u_keep * by_x, by_x
        of = " trace" if traced else ""
        later.gradients["weight"] += by_x.T @ trace[f"below{of}"]
        later.gradients["bias"] += by_x.sum(0)
        later.gradients["keep"] += (by_u * trace["v_before"]).sum(0)
        later.gradients["u_keep"] += (by_x * trace["current_before"]).sum(0)
        if self.recurrent is not None:
            later.gradients["recurrent"] += by_x.T @ trace[f"before{of}"]
        return by_x @ self.weight


@dataclass
class Later:
    """Errors on their way back in time, and gradients added up so far."""

    v: Any
    current: Any
    x: Any
    gradients: Gradients

    @staticmethod
    def of(layer: Layer) -> Later:
        size = len(layer.weight)
        zeros: Gradients = {
            "weight": np.zeros_like(layer.weight),
            "bias": np.zeros(size),
            "keep": np.zeros(size),
            "u_keep": np.zeros(size),
        }
        if layer.recurrent is not None:
            zeros["recurrent"] = np.zeros_like(layer.recurrent)
        return Later(0.0, 0.0, np.zeros((1, size)), zeros)


def gradients(
    layers: list[Layer],
    readout: tuple[np.ndarray, np.ndarray],
    frames: np.ndarray,
    loss_error: Callable[[np.ndarray], np.ndarray],
    cut: bool,
    traced: bool = False,
) -> tuple[list[Gradients], Gradients]:
    """Gradients of each layer, and of the read-out.

    Args:
        loss_error: dl/do of outputs (N, classes).
        cut: without any path from one step to another.
        traced: with traces in place of what arrives; that of the read-out as of the last layer.
    """
    outputs, last = [], []
    trace = Filter(layers[-1].keep, layers[-1].u_keep)
    for layer in layers:
        layer.start(frames.shape[1])
    for frame in frames:
        s = frame
        for layer in layers:
            s = layer.step(s)
        last.append(trace(s) if traced else s)
        outputs.append(s @ readout[0].T + readout[1])
    later = [Later.of(layer) for layer in layers]
    top: Gradients = {"weight": np.zeros_like(readout[0]), "bias": np.zeros(len(readout[1]))}
    for t in reversed(range(len(frames))):
        by_o = loss_error(outputs[t]) / len(frames)
        top["weight"] += by_o.T @ last[t]
        top["bias"] += by_o.sum(0)
        error = by_o @ readout[0]
        for layer, found in zip(reversed(layers), reversed(later), strict=True):
            error = layer.backward(t, error, found, cut, traced)
    return [found.gradients for found in later], top
