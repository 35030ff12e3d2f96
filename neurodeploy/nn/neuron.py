"""The leaky integrate-and-fire neuron of training.

u[t] = (1 - 1/tau) v[t-1] + x[t]       membrane before the spike
s[t] = H(u[t] - Vth)                   spike, 0 or 1
v[t] = u[t] - Vth s[t]                 soft reset ("subtract"), or u[t] (1 - s[t]) ("zero")

(Meng et al. 2023, eq. 2 and 3; tau in steps.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from neurodeploy.errors import InputError, nearest
from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.nn.constants import (
    Learning,
    Parameter,
    check_above,
    constant,
    given,
    hold,
    learn_share,
)
from neurodeploy.nn.spikes import CutMembranes, Firing, membrane_dtype
from neurodeploy.nn.surrogate import SURROGATES, Surrogate
from neurodeploy.nn.through_time import LinkedMembranes
from neurodeploy.recipe import NeuronRecipe


class LIF(Learning):
    """A layer of LIF neurons that keeps its membrane between calls.

    u[t] = (1 - 1/tau) v[t-1] + x[t];  s[t] = H(u[t] - Vth);  v[t] = u[t] - Vth s[t]

    Each call is one step: it takes the input x[t] of any shape and returns the spikes s[t], 0 or 1
    in the shape and dtype of the input. ``reset_state``, or ``nn.reset`` for a whole module, starts
    a new batch. Membranes are float32 where the input is narrower, as under autocast: a sum over
    steps would lose what each step adds.

    For ``refractory_period`` steps after a spike v stays what the reset left, whatever comes in,
    and no spike can come; no gradient passes there.

    A learned tau is 1/tau = sigmoid(w) with a parameter w (Fang et al. 2021, ICCV, eq. 12). Where
    gradients are cut between steps its gradient is that within a step, dL/dkeep = sum_t e_u[t]
    v[t-1], with v[t-1] as given.

    Attributes:
        tau: membrane time constant in steps; a float, or a buffer with one per neuron, or what is
            computed from the parameter ``tau_w``.
        keep: 1 - 1/tau, the share of v kept per step; likewise.
        v_threshold: Vth; a float, or a buffer with one per neuron.
        reset: after a spike, v loses (``subtract``) the threshold or becomes ``zero``.
        comparison: whether a neuron fires when u ``>=`` or ``>`` the threshold.
        surrogate: ds/du in training, a function of u - Vth and Vth.
        refractory_period: steps after a spike, at least 0.
        by_keep: whether ``keep`` was given and tau follows from it.
        cut: whether the carried membrane is detached, so that no gradient crosses a step. The
            reset acts on the carried membrane and on nothing else, so it is cut with it.
    """

    tau: Parameter
    keep: Parameter
    v_threshold: Parameter

    def __init__(
        self,
        tau: Parameter,
        v_threshold: Parameter = 1.0,
        reset: Reset = "subtract",
        comparison: Comparison = ">=",
        surrogate: str | Surrogate = "triangle",
        *,
        refractory_period: int = 0,
        learn_tau: bool = False,
    ) -> None:
        """Neurons at rest.

        Args:
            tau: membrane time constant in steps, above 1; infinite for no leak.
            v_threshold: above 0.
            surrogate: a name from ``nn.surrogate.SURROGATES``, or such a function.
            refractory_period: steps after a spike, at least 0.
            learn_tau: whether tau is learned, starting from this one.

        Raises:
            InputError: a value out of range, or an unknown reset, comparison or surrogate.
        """
        super().__init__()
        tau, v_threshold = constant(tau, "tau"), constant(v_threshold, "v_threshold")
        check_above(tau, 1, "tau, in steps,")
        check_above(v_threshold, 0, "v_threshold")
        if reset not in ("subtract", "zero"):
            raise InputError(f"LIF: reset {reset!r} is neither 'subtract' nor 'zero'")
        if comparison not in (">=", ">"):
            raise InputError(f"LIF: comparison {comparison!r} is neither '>=' nor '>'")
        if refractory_period < 0:
            raise InputError(
                f"LIF: refractory_period is in steps, at least 0, found {refractory_period}"
            )
        if learn_tau:
            learn_share(self, "tau_w", 1 - 1 / tau)
        else:
            hold(self, "tau", tau)
            hold(self, "keep", 1 - 1 / tau)
        hold(self, "v_threshold", v_threshold)
        self.reset: Reset = reset
        self.comparison: Comparison = comparison
        self.surrogate = surrogate if callable(surrogate) else find_surrogate(str(surrogate))
        self.refractory_period = refractory_period
        self.by_keep = learn_tau
        self.cut = True
        # What is carried: u when gradients are cut, v with its graph when they are not. The first
        # is kept for backward anyway, and so costs no memory of its own.
        self._u: Tensor | None = None
        self._v: Tensor | None = None
        self._resting: Tensor | None = None

    @classmethod
    def of(cls, neuron: NeuronRecipe) -> LIF:
        """The layer that a recipe's ``[neuron]`` describes.

        Raises:
            InputError: its surrogate is not known, or it is more than these neurons.
        """
        if neuron.tau_syn != 1 or not isinstance(neuron.tau, int | float):
            raise InputError(
                "[neuron] says more than LIF.of(neuron) can make: a tau_syn, or a tau that is "
                "drawn, learned or different by layer; make layers with nn.Neurons(neuron), whose "
                "layer(*shape) gives the next one"
            )
        options = (neuron.v_threshold, neuron.reset, neuron.comparison, neuron.surrogate)
        return cls(neuron.tau, *options, refractory_period=neuron.refractory_period)

    @classmethod
    def keeping(cls, keep: Parameter, *options: Any, **named: Any) -> LIF:
        """A layer by its kept share, to the last bit, in place of tau; else as the constructor."""
        layer = cls(2.0, *options, **named)
        if "tau_w" in layer._parameters:
            learn_share(layer, "tau_w", keep)
            return layer
        del layer.tau, layer.keep
        hold(layer, "tau", 1 / (1 - torch.as_tensor(keep, dtype=torch.float64)))
        hold(layer, "keep", keep)
        layer.by_keep = True
        return layer

    def __setattr__(self, name: str, value: Any) -> None:
        """As of any module; but a new tau comes with the share that it keeps."""
        has = {*vars(self), *vars(self).get("_buffers", ()), *vars(self).get("_parameters", ())}
        if name == "tau" and {"keep", "tau_w"} & has:
            value = constant(value, "tau")
            check_above(value, 1, "tau, in steps,")
            for old in {"tau", "keep", "tau_w"} & has:
                delattr(self, old)
            hold(self, "tau", value)
            hold(self, "keep", 1 - 1 / value)
            self.by_keep = False
        else:
            super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: a membrane goes without its graph."""
        kept = None if self._v is None else self._v.detach()
        return {**vars(self), "_v": kept}

    @property
    def v(self) -> Tensor | None:
        """Membrane after the last step, of the shape of the layer's input.

        None before the first step, which stands for zero.
        """
        if self._u is None:
            return self._v
        return self.after_reset(self._u, torch.empty_like(self._u), torch.empty_like(self._u))

    @property
    def u(self) -> Tensor | None:
        """Membrane of the last step before its spikes, where gradients are cut; never changed."""
        return self._u

    def fired(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """The spikes that membranes ``u`` give, 0 or 1 in their dtype; into ``out`` if given."""
        compare = torch.ge if self.comparison == ">=" else torch.gt
        return compare(u, self.v_threshold, out=torch.empty_like(u) if out is None else out)

    def reset_state(self, cut: bool) -> None:
        """Start a batch: v = 0, and choose whether gradients are cut between steps."""
        self._u = self._v = self._resting = None
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step for input ``x`` of any shape; both have the same shape and dtype."""
        if not self.cut or self.refractory_period:
            self._check_continues(x.unsqueeze(0))
            return self._step_with_graph(x)
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def over_steps(self, x: Tensor) -> Tensor:
        """Spikes of c steps for their inputs (c, N, ...); both have the same shape and dtype."""
        self._check_continues(x)
        if self.refractory_period:
            return torch.stack([self._step_with_graph(step) for step in x])
        if not self.cut:
            spikes, self._v = LinkedMembranes.apply(x, self._v, self.keep, self)
            return spikes
        learned = self.learned("tau_w")
        if torch.is_grad_enabled() and (x.requires_grad or learned is not None):
            return CutMembranes.apply(x, None if learned is None else self.keep, self)
        # The same memory c times: only the last membrane is kept.
        return self.integrate(x, [torch.empty_like(x[0], dtype=membrane_dtype(x))] * len(x))

    @torch.no_grad()
    def integrate(self, x: Tensor, membranes: Sequence[Tensor]) -> Tensor:
        """Spikes of c steps, without a graph and without rest after a spike.

        Args:
            x: inputs (c, N, ...).
            membranes: c tensors (N, ...) that take u of each step.
        """
        spikes, keep = torch.empty_like(x), self.keep
        # Comparing into another dtype than that of u is several times slower than a copy.
        scratch = None if x.dtype == membranes[0].dtype else torch.empty_like(membranes[0])
        for drive, u, s in zip(x, membranes, spikes, strict=True):
            fired = s if scratch is None else scratch
            if self._u is None:
                u.copy_(drive)
            else:
                v = self.after_reset(self._u, u, fired)
                if isinstance(keep, Tensor):
                    torch.addcmul(drive.to(u.dtype), v, keep, out=u)
                else:
                    torch.add(drive, v, alpha=keep, out=u)
            self.fired(u, fired)
            if scratch is not None:
                s.copy_(scratch)
            self._u = u
        return spikes

    def after_reset(self, u: Tensor, v: Tensor, scratch: Tensor) -> Tensor:
        """Write v after u into ``v``, which may be ``u``; spikes go through ``scratch``."""
        if self.reset == "subtract":
            self.fired(u, scratch)
            if isinstance(self.v_threshold, Tensor):
                return torch.sub(u, scratch.mul_(self.v_threshold), out=v)
            return torch.sub(u, scratch, alpha=self.v_threshold, out=v)
        stays = torch.lt if self.comparison == ">=" else torch.le
        stays(u, self.v_threshold, out=scratch)
        return torch.mul(u, scratch, out=v)

    def _step_with_graph(self, x: Tensor) -> Tensor:
        """Spikes of one step with the path through membrane and reset (backward through time)."""
        keep, threshold = (
            value.to(x.dtype) if isinstance(value, Tensor) else value
            for value in (self.keep, self.v_threshold)
        )
        before = self._v
        u = x if before is None else keep * before + x
        s = Firing.apply(u, threshold, self.comparison, self.surrogate)
        if self._resting is not None and before is not None:
            rests = self._resting > 0
            u, s = torch.where(rests, before, u), s.masked_fill(rests, 0.0)
        v = u - threshold * s if self.reset == "subtract" else u * (1 - s)
        self._v = v.detach() if self.cut else v
        if self.refractory_period:
            left = torch.zeros_like(s) if self._resting is None else self._resting - 1
            self._resting = left.masked_fill_(s.detach() > 0, self.refractory_period)
        return s

    def _check_continues(self, x: Tensor) -> None:
        """Refuse input (c, N, ...) of another batch than the one whose membranes are kept."""
        kept = self._v if self._u is None else self._u
        if kept is not None and kept.shape != x.shape[1:]:
            raise InputError(
                f"{type(self).__name__}: input of shape {tuple(x.shape[1:])} after steps of shape "
                f"{tuple(kept.shape)}; nn.reset(module) starts a new batch"
            )

    def extra_repr(self) -> str:
        """Its constants, in ``print(model)``."""
        rest = f", refractory_period={self.refractory_period}" if self.refractory_period else ""
        return (
            f"tau={given(self.tau)}, v_threshold={given(self.v_threshold)}, "
            f"reset={self.reset!r}, comparison={self.comparison!r}{rest}"
        )


def find_surrogate(name: str) -> Surrogate:
    """The surrogate of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SURROGATES:
        raise InputError(f"[neuron] surrogate {name!r} is not known{nearest(name, SURROGATES)}")
    return SURROGATES[name]
