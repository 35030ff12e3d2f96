"""NIR's neurons as steps of Norse's own functions.

    LIF      lif_box_feed_forward_step(r I)
    LI       li_box_feed_forward_step(r I)
    CubaLIF  li_box_feed_forward_step(w_in S) for the current, then as LIF
    CubaLI   li_box_feed_forward_step(w_in S) for the current, then as LI
    IF       iaf_feed_forward_step(r dt I), which can only reset to a value
    I        iaf_feed_forward_step(r dt I) with an infinite threshold

A Threshold is Norse's threshold function and nothing else.

Norse takes Euler steps v' = v + dt tau_inv (v_leak - v + x). We give it one step as unit of time,
so that dt is 1 and tau_inv is dt/tau, or 1 - exp(-dt/tau) for an exponential integrator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.operators import Shape
from neurodeploy.norse.compat import require_norse

ONE_STEP = 1.0
"""Norse's dt, in steps."""

FIRES = "heaviside"
"""Norse's plain threshold function; the others differ from it in their gradients alone."""


SENDS_POTENTIAL = (nir.LI, nir.CubaLI, nir.I)
"""Primitives without spikes, whose output is v."""


class State(NamedTuple):
    """State of one population: (N, *shape), or (*shape) and less before the first step.

    Attributes:
        v: membrane potential, after the reset.
        i: synaptic current, of neurons that have one.
    """

    v: Tensor
    i: Tensor


Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""From the summed input (N, *shape) and a state to who fires, 0.0 or 1.0, and the next state."""


class NorseNeuron(NamedTuple):
    """A NIR neuron ready to step.

    Attributes:
        step: one step in Norse.
        rest: v before the first step, and what a deployed v counts from: v_reset.
        current_gain: factor from Norse's synaptic current to what enters v per step, or None for
            a neuron without current.
    """

    step: Step
    current_gain: Tensor | None
    rest: Tensor

    def start(self) -> State:
        """The state before the first step of a sample; Norse itself would begin at v_leak."""
        return State(self.rest, torch.zeros_like(self.rest))


def norse_neuron(node: Any, shape: Shape, semantics: Semantics, where: str) -> NorseNeuron:
    """The step of one NIR neuron over an array of ``shape``.

    Args:
        where: the place to name in messages.

    Raises:
        UnsupportedError: Norse has no such neuron, or no such reset for it.
        MissingDependencyError: Norse is not installed.
    """
    require_norse()
    make = NORSE_NEURONS.get(type(node).__name__)
    if make is None:
        raise UnsupportedError(
            f"{where}: Norse has no counterpart of it",
            fix=Text(Setting("engine", "float"), " runs what we deploy"),
        )
    parameters = _Parameters(node, shape, semantics, where)
    step, current_gain = make(parameters)
    return NorseNeuron(step, current_gain, parameters.rest())


Made = tuple[Step, Tensor | None]
"""A step and the gain of its current, if it has one."""


class _Parameters:
    """Parameters of a node as float64 tensors that broadcast to the population's shape."""

    def __init__(self, node: Any, shape: Shape, semantics: Semantics, where: str) -> None:
        self.node = node
        self.shape = shape
        self.semantics = semantics
        self.where = where

    def __getitem__(self, name: str) -> Tensor:
        return self._fitted(getattr(self.node, name))

    def _fitted(self, values: Any) -> Tensor:
        array = np.asarray(values, np.float64)
        if array.size == 1:
            array = array.reshape(())
        elif array.size == math.prod(self.shape):
            array = array.reshape(self.shape)
        return torch.from_numpy(array.copy())

    def rest(self) -> Tensor:
        """v_reset, which a neuron starts from; 0 for one that does not return to it."""
        if self.semantics.reset == "zero" and hasattr(self.node, "v_reset"):
            return self["v_reset"]
        return torch.zeros((), dtype=torch.float64)

    def per_step(self, name: str) -> Tensor:
        """Share of the distance to the resting value that a step covers, from a time constant."""
        ratio = self.semantics.dt / np.asarray(getattr(self.node, name), np.float64)
        if self.semantics.integrator == "euler":
            return self._fitted(ratio)
        if self.semantics.integrator == "exponential":
            return self._fitted(-np.expm1(-ratio))
        raise UnsupportedError(
            f"{self.where}: integrator {self.semantics.integrator!r} cannot be put into Norse's "
            "Euler steps",
            fix=Text("use ", Setting("engine", "float")),
        )

    def threshold(self) -> Tensor:
        """The threshold as the node has it."""
        return self["v_threshold" if hasattr(self.node, "v_threshold") else "threshold"]

    def v_th(self) -> Tensor:
        """What Norse compares v with: it fires strictly above.

        v >= a says the same as v > b when b is the largest number below a.
        """
        threshold = self.threshold()
        if self.semantics.comparison == ">":
            return threshold
        return torch.nextafter(threshold, torch.full_like(threshold, -math.inf))

    def reset_method(self) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """Norse's reset, given the threshold itself and not the number just below it."""
        from norse.torch.functional.reset import reset_subtract, reset_value

        if self.semantics.reset == "zero":
            return reset_value
        threshold = self.threshold()
        return lambda z, v, reset, _th: reset_subtract(z, v, reset, threshold)


def _lif(p: _Parameters) -> Made:
    membrane, r = _spiking_membrane(p, "tau"), p["r"]

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        fires, v = membrane(r * x, state.v)
        return fires, State(v, state.i)

    return step, None


def _cuba_lif(p: _Parameters) -> Made:
    synapse, membrane = _synapse(p), _spiking_membrane(p, "tau_mem")
    r = p["r"]

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        i = synapse(x, state.i)
        fires, v = membrane(r * i, state.v)
        return fires, State(v, i)

    return step, p.per_step("tau_mem") * r


def _li(p: _Parameters) -> Made:
    membrane, r = _leaky(p.per_step("tau"), p["v_leak"]), p["r"]

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        v = membrane(r * x, state.v)
        return torch.zeros_like(v), State(v, state.i)

    return step, None


def _cuba_li(p: _Parameters) -> Made:
    synapse, membrane = _synapse(p), _leaky(p.per_step("tau_mem"), p["v_leak"])
    r = p["r"]

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        i = synapse(x, state.i)
        v = membrane(r * i, state.v)
        return torch.zeros_like(v), State(v, i)

    return step, p.per_step("tau_mem") * r


def _if(p: _Parameters) -> Made:
    if p.semantics.reset != "zero":
        raise UnsupportedError(
            f"{p.where}: Norse's integrate-and-fire neuron resets to a value and cannot subtract "
            "its threshold",
            fix=Text(
                "use ", Setting("engine", "float"), ", or export with ", Setting("reset", "zero")
            ),
        )
    return _integrate(p, p.v_th(), p["v_reset"]), None


def _i(p: _Parameters) -> Made:
    never = torch.tensor(math.inf, dtype=torch.float64)
    return _integrate(p, never, torch.zeros_like(never)), None


def _threshold(p: _Parameters) -> Made:
    from norse.torch.functional.threshold import threshold

    v_th, lowered, zero = p.v_th(), p.reset_method(), torch.zeros((), dtype=torch.float64)

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        fires = threshold(x - v_th, FIRES, 0.0)
        return fires, State(lowered(fires, x, zero, v_th), state.i)

    return step, None


def _spiking_membrane(
    p: _Parameters, tau: str
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Norse's LIF without current: from r I and v to who fires and the next v."""
    from norse.torch.functional.lif_box import (
        LIFBoxFeedForwardState,
        LIFBoxParameters,
        lif_box_feed_forward_step,
    )

    parameters = LIFBoxParameters(
        tau_mem_inv=p.per_step(tau),
        v_leak=p["v_leak"],
        v_th=p.v_th(),
        v_reset=p["v_reset"],
        method=FIRES,
        reset_method=p.reset_method(),
    )

    def step(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        fires, state = lif_box_feed_forward_step(x, LIFBoxFeedForwardState(v), parameters, ONE_STEP)
        return fires, state.v

    return step


def _leaky(per_step: Tensor, v_leak: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Norse's leaky integrator without current: from its input and value to the next value."""
    from norse.torch.functional.leaky_integrator_box import (
        LIBoxParameters,
        LIBoxState,
        li_box_feed_forward_step,
    )

    parameters = LIBoxParameters(tau_mem_inv=per_step, v_leak=v_leak)
    return lambda x, v: li_box_feed_forward_step(x, LIBoxState(v), parameters, ONE_STEP)[0]


def _synapse(p: _Parameters) -> Callable[[Tensor, Tensor], Tensor]:
    """The synaptic current, updated before the membrane sees it, as everywhere in this project."""
    w_in = p["w_in"]
    leaky = _leaky(p.per_step("tau_syn"), torch.zeros((), dtype=torch.float64))
    return lambda x, i: leaky(w_in * x, i)


def _integrate(p: _Parameters, v_th: Tensor, v_reset: Tensor) -> Step:
    """Norse's integrate-and-fire, which adds its input as it is; NIR's dv/dt = r I adds r dt I."""
    from norse.torch.functional.iaf import (
        IAFFeedForwardState,
        IAFParameters,
        iaf_feed_forward_step,
    )

    parameters = IAFParameters(v_th=v_th, v_reset=v_reset, method=FIRES)
    gain = p["r"] * p.semantics.dt

    def step(x: Tensor, state: State) -> tuple[Tensor, State]:
        fires, after = iaf_feed_forward_step(gain * x, IAFFeedForwardState(state.v), parameters)
        return fires, State(after.v, state.i)

    return step


NORSE_NEURONS: dict[str, Callable[[_Parameters], Made]] = {
    nir.LIF.__name__: _lif,
    nir.CubaLIF.__name__: _cuba_lif,
    nir.LI.__name__: _li,
    nir.CubaLI.__name__: _cuba_li,
    nir.IF.__name__: _if,
    nir.I.__name__: _i,
    nir.Threshold.__name__: _threshold,
}
