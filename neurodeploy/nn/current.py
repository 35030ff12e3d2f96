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
from neurodeploy.nn.constants import Learning, Parameter, constant, given, hold, learn_share
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.spikes import CutCurrents, membrane_dtype
from neurodeploy.nn.through_time import LinkedCurrents


class CubaLIF(Learning):
    """A layer of LIF neurons behind synaptic currents; keeps both states between calls.

    u[t] = u_keep u[t-1] + x[t];  v[t] = keep v[t-1] + u[t] + b;  spikes and resets as in ``LIF``.

    Each call is one step, from the input x[t] to the spikes s[t] of the same shape and dtype.
    Where gradients are cut between steps, both u and v are: weights then learn from what an input
    does within its step, and from nothing that the current still brings later. A learned tau_syn is
    computed as tau is in ``LIF``; cut, its gradient is dL/du_keep = sum_t e_v[t] u[t-1].

    Attributes:
        lif: the neurons.
        u_keep: share of u kept per step, a float or a buffer with one per neuron, or what is
            computed from the parameter ``tau_syn_w``.
        bias: b, a parameter that broadcasts to the neurons, or None.
    """

    u_keep: Parameter

    def __init__(
        self,
        tau: Parameter,
        tau_syn: Parameter,
        *options: Any,
        bias: Tensor | None = None,
        learn_tau_syn: bool = False,
        **named: Any,
    ) -> None:
        """Neurons at rest.

        Args:
            tau: membrane time constant in steps, above 1.
            tau_syn: that of the current in steps, at least 1; 1 - 1/tau_syn of it is kept.
            learn_tau_syn: whether tau_syn is learned, starting from this one, which is above 1.
            options, named: threshold, reset, comparison, surrogate, refractory_period and
                learn_tau as ``LIF`` takes them.

        Raises:
            InputError: a value out of range.
        """
        super().__init__()
        self.lif = LIF(tau, *options, **named)
        if learn_tau_syn:
            learn_share(self, "tau_syn_w", 1 - 1 / constant(tau_syn, "tau_syn"))
        else:
            hold_share(self, 1 - 1 / constant(tau_syn, "tau_syn"))
        self.bias = None if bias is None else nn.Parameter(bias)
        self._u: Tensor | None = None

    @classmethod
    def keeping(
        cls,
        keep: Parameter,
        u_keep: Parameter,
        *options: Any,
        bias: Tensor | None = None,
        learn_tau_syn: bool = False,
        **named: Any,
    ) -> CubaLIF:
        """A layer by its kept shares, to the last bit; else as the constructor."""
        layer = cls(2.0, 1.0, bias=bias)
        layer.lif = LIF.keeping(keep, *options, **named)
        del layer.u_keep
        if learn_tau_syn:
            learn_share(layer, "tau_syn_w", u_keep)
        else:
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
        return self.lif(self.driven(x.unsqueeze(0)).squeeze(0)).to(x.dtype)

    def over_steps(self, x: Tensor) -> Tensor:
        """Spikes of c steps for their inputs (c, N, ...); both have the same shape and dtype."""
        return self.lif.over_steps(self.driven(x)).to(x.dtype)

    def driven(self, x: Tensor) -> Tensor:
        """What reaches the membranes in c steps."""
        learns = self.learned("tau_syn_w") is not None
        u, self._u = filtered(x, self.u_keep, self._u, self.lif.cut, learns)
        return u if self.bias is None else u + self.bias

    def extra_repr(self) -> str:
        """Its constant, in ``print(model)``."""
        return f"u_keep={given(self.u_keep)}"


def spiking(layer: LIF | CubaLIF) -> LIF:
    """The neurons of a layer, whether there is a current before them or not."""
    return layer.lif if isinstance(layer, CubaLIF) else layer


class LI(Learning):
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
        *,
        learn_tau: bool = False,
        learn_tau_syn: bool = False,
    ) -> None:
        """Neurons at rest.

        Args:
            tau, tau_syn: time constants of v and u in steps, at least 1.
            learn_tau, learn_tau_syn: whether they are learned, starting from these, which are then
                above 1 and finite.

        Raises:
            InputError: a value out of range.
        """
        super().__init__()
        keep, u_keep = (
            1 - 1 / constant(value, name) for value, name in ((tau, "tau"), (tau_syn, "tau_syn"))
        )
        if learn_tau:
            learn_share(self, "tau_w", keep)
        else:
            hold_share(self, keep, "keep", highest=1)
        if learn_tau_syn:
            learn_share(self, "tau_syn_w", u_keep)
        else:
            hold_share(self, u_keep)
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
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def over_steps(self, x: Tensor) -> Tensor:
        """o[t] of c steps for their inputs (c, N, ...); both have the same shape and dtype."""
        learns = [self.learned(name) is not None for name in ("tau_syn_w", "tau_w")]
        u, self._u = filtered(x, self.u_keep, self._u, self.cut, learns[0])
        if self.bias is not None:
            u = u + self.bias
        before = self._v
        v, self._v = filtered(u, self.keep, before, self.cut, learns[1])
        if self.decode == "sum_v":
            return v.to(x.dtype)
        first = torch.zeros_like(v[:1]) if before is None else before.unsqueeze(0)
        earlier = v[:-1].detach() if self.cut else v[:-1]
        return (v - torch.cat([first, earlier])).to(x.dtype)

    def extra_repr(self) -> str:
        """Its constants, in ``print(model)``."""
        return f"keep={given(self.keep)}, u_keep={given(self.u_keep)}, decode={self.decode!r}"


def filtered(
    x: Tensor, keep: Parameter, before: Tensor | None, cut: bool, learned: bool
) -> tuple[Tensor, Tensor]:
    """y[t] = keep y[t-1] + x[t], at least in float32.

    Args:
        x: (c, N, ...).
        before: y before the first of these steps; None for 0.
        cut: whether no gradient crosses from one step to the next.
        learned: whether ``keep`` has a gradient.

    Returns:
        y (c, N, ...), and what is carried on, (N, ...).
    """
    if isinstance(keep, float) and keep == 0:
        y = x.to(membrane_dtype(x))
        return y, y[-1].detach()
    if cut:
        y = CutCurrents.apply(x, keep, before, learned)
        # Not a view: that would hold all c steps.
        return y, y[-1].detach().clone()
    y = LinkedCurrents.apply(x, before, keep)
    return y, y[-1]


def hold_share(
    module: nn.Module, keep: Parameter, name: str = "u_keep", highest: float = math.nextafter(1, 0)
) -> None:
    """Keep a share that is left per step, from 0 to ``highest``.

    Raises:
        InputError: it is out of range.
    """
    values = torch.as_tensor(keep)
    # On torch's meta device there are sizes without values.
    in_range = values.is_meta or (float(values.min()) >= 0 and float(values.max()) <= highest)
    if not in_range:
        raise InputError(
            f"{type(module).__name__}: {name}, the share kept per step, is from 0 to "
            f"{'1' if highest == 1 else 'below 1'}; found {values.min():g} to {values.max():g}"
        )
    hold(module, name, keep)
