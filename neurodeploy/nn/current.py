"""Neurons with a synaptic current, and neurons that never spike.

u[t] = u_keep u[t-1] + x[t]            synaptic current
v[t] = keep v[t-1] + u[t] + b          membrane, before the spike where there is one
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.nn.constants import Parameter, hold
from neurodeploy.nn.neuron import LIF, membrane_dtype


class CubaLIF(nn.Module):
    """A layer of LIF neurons behind synaptic currents; keeps both states between calls.

    u[t] = u_keep u[t-1] + x[t];  v[t] = keep v[t-1] + u[t] + b;  spikes and resets as in ``LIF``.

    Each call is one step, from the input x[t] to the spikes s[t] of the same shape and dtype.
    Where gradients are cut between steps, both u and v are.

    Attributes:
        lif: the neurons.
        u_keep: share of u kept per step, a float or a buffer with one per neuron.
        bias: b, a parameter that broadcasts to the neurons, or None.
    """

    u_keep: Parameter

    def __init__(
        self,
        tau: Parameter,
        tau_syn: Parameter,
        *options: Any,
        bias: Tensor | None = None,
        **named: Any,
    ) -> None:
        """Neurons at rest.

        Args:
            tau: membrane time constant in steps, above 1.
            tau_syn: that of the current in steps, at least 1; 1 - 1/tau_syn of it is kept.
            options, named: threshold, reset, comparison and surrogate as ``LIF`` takes them.

        Raises:
            InputError: a value out of range.
        """
        super().__init__()
        self.lif = LIF(tau, *options, **named)
        hold_share(self, 1 - 1 / tau_syn)
        self.bias = None if bias is None else nn.Parameter(bias)
        self._u: Tensor | None = None

    @classmethod
    def keeping(
        cls,
        keep: Parameter,
        u_keep: Parameter,
        *options: Any,
        bias: Tensor | None = None,
        **named: Any,
    ) -> CubaLIF:
        """A layer by its kept shares, to the last bit; else as the constructor."""
        layer = cls(2.0, 1.0, bias=bias)
        layer.lif = LIF.keeping(keep, *options, **named)
        del layer.u_keep
        hold_share(layer, u_keep)
        return layer

    @property
    def u(self) -> Tensor | None:
        """Synaptic current of the last step, of the input's shape; None before the first."""
        return self._u

    @property
    def v(self) -> Tensor | None:
        """Membrane after the last step, as of ``LIF``."""
        return self.lif.v

    def reset_state(self, cut: bool) -> None:
        """Start a batch: u = v = 0, and choose whether gradients are cut between steps."""
        self._u = None
        self.lif.reset_state(cut)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step for input ``x`` of any shape; both have the same shape and dtype."""
        return self.lif(self._driven(x)).to(x.dtype)

    def over_steps(self, x: Tensor) -> Tensor:
        """Spikes of c steps for their inputs (c, N, ...); both have the same shape and dtype."""
        return self.lif.over_steps(torch.stack([self._driven(step) for step in x])).to(x.dtype)

    def _driven(self, x: Tensor) -> Tensor:
        """What reaches the membrane in one step."""
        u = integrated(self._u, self.u_keep, x)
        self._u = u.detach() if self.lif.cut else u
        return u if self.bias is None else u + self.bias

    def extra_repr(self) -> str:
        """Its constant, in ``print(model)``."""
        many = isinstance(self.u_keep, Tensor)
        return f"u_keep={'one per neuron' if many else format(self.u_keep, 'g')}"


class LI(nn.Module):
    """A layer of leaky integrators that never spike: a read-out.

    u[t] = u_keep u[t-1] + x[t];  v[t] = keep v[t-1] + u[t] + b

    Each call is one step, from the input x[t] to the output o[t] of the same shape and dtype. The
    class is argmax of sum_t o[t], so o[t] is v[t] where potentials are summed, and v[t] - v[t-1]
    where the last one decides.

    Attributes:
        keep, u_keep: shares kept per step, floats or buffers with one per neuron; keep = 1 for an
            integrator without a leak, u_keep = 0 for none but the present input.
        bias: b, a parameter that broadcasts to the neurons, or None.
        decode: ``sum_v`` or ``last_v``.
        cut: whether carried states are detached, so that no gradient crosses a step.
    """

    keep: Parameter
    u_keep: Parameter

    def __init__(
        self,
        tau: Parameter = math.inf,
        tau_syn: Parameter = 1.0,
        bias: Tensor | None = None,
        decode: Literal["sum_v", "last_v"] = "sum_v",
    ) -> None:
        """Neurons at rest.

        Args:
            tau, tau_syn: time constants of v and u in steps, at least 1.

        Raises:
            InputError: a value out of range.
        """
        super().__init__()
        hold_share(self, 1 - 1 / tau, "keep", highest=1)
        hold_share(self, 1 - 1 / tau_syn)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.decode: Literal["sum_v", "last_v"] = decode
        self.cut = True
        self._u: Tensor | None = None
        self._v: Tensor | None = None

    @classmethod
    def keeping(cls, keep: Parameter, u_keep: Parameter, *options: Any, **named: Any) -> LI:
        """A layer by its kept shares, to the last bit; else as the constructor."""
        layer = cls(math.inf, 1.0, *options, **named)
        del layer.keep, layer.u_keep
        hold_share(layer, keep, "keep", highest=1)
        hold_share(layer, u_keep)
        return layer

    @property
    def v(self) -> Tensor | None:
        """Membrane after the last step, of the input's shape; None before the first."""
        return self._v

    def reset_state(self, cut: bool) -> None:
        """Start a batch: u = v = 0, and choose whether gradients are cut between steps."""
        self._u = self._v = None
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """o[t] of one step for input ``x``; both have the same shape and dtype."""
        before = self._v
        u = integrated(self._u, self.u_keep, x)
        v = integrated(before, self.keep, u)
        if self.bias is not None:
            v = v + self.bias
        self._u, self._v = (u.detach(), v.detach()) if self.cut else (u, v)
        return (v if self.decode == "sum_v" or before is None else v - before).to(x.dtype)

    def extra_repr(self) -> str:
        """Its constants, in ``print(model)``."""
        keep, u_keep = (
            "one per neuron" if isinstance(value, Tensor) else f"{value:g}"
            for value in (self.keep, self.u_keep)
        )
        return f"keep={keep}, u_keep={u_keep}, decode={self.decode!r}"


def integrated(before: Tensor | None, keep: Parameter, x: Tensor) -> Tensor:
    """keep before + x, at least in float32; ``before`` is None for 0."""
    x = x.to(membrane_dtype(x))
    if before is None or (isinstance(keep, float) and keep == 0):
        return x
    return keep * before + x


def hold_share(
    module: nn.Module, keep: Parameter, name: str = "u_keep", highest: float = math.nextafter(1, 0)
) -> None:
    """Keep a share that is left per step, from 0 to ``highest``.

    Raises:
        InputError: it is out of range.
    """
    values = torch.as_tensor(keep)
    if not (float(values.min()) >= 0 and float(values.max()) <= highest):
        raise InputError(
            f"{type(module).__name__}: {name}, the share kept per step, is from 0 to "
            f"{'1' if highest == 1 else 'below 1'}; found {values.min():g} to {values.max():g}"
        )
    hold(module, name, keep)
