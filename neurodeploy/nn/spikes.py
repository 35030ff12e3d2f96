"""Spikes and surrogate derivatives: of one step with its graph, of several with no path between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.nn.constants import Parameter
from neurodeploy.nn.surrogate import Surrogate


def membrane_dtype(x: Tensor) -> torch.dtype:
    """At least float32."""
    return torch.promote_types(x.dtype, torch.float32)


def add_kept(x: Tensor, before: Tensor | None, keep: Parameter, out: Tensor) -> None:
    """Write keep before + x into ``out``; ``before`` is None for 0."""
    if before is None:
        out.copy_(x)
    elif isinstance(keep, Tensor):
        torch.addcmul(x.to(out.dtype), before.to(out.dtype), keep.to(out.dtype), out=out)
    else:
        torch.add(x.to(out.dtype), before.to(out.dtype), alpha=keep, out=out)


def summed_with_before(
    error: Tensor, u: Tensor, before: Tensor | None = None, *, shape: torch.Size
) -> Tensor:
    """sum_t e_u[t] u[t-1], the gradient of the share that is kept, summed up to its shape.

    Args:
        error, u: of c steps, (c, N, ...).
        before: u before the first of them; None for 0.
    """
    total = torch.zeros_like(u[0])
    first = [] if before is None else [before]
    for e, last in zip(error if first else error[1:], (*first, *u[:-1]), strict=True):
        total.addcmul_(e, last)
    return total.sum_to_size(shape)


class Firing(torch.autograd.Function):
    """Heaviside step whose derivative is a surrogate; keeps only that derivative for backward.

    Without a graph not even that is computed.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v_threshold: Parameter, comparison: Comparison, surrogate: Surrogate
    ) -> Tensor:
        """Spikes of ``u``, 0 or 1 in the dtype of ``u``."""
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(surrogate(u - v_threshold, v_threshold))
        fired = u >= v_threshold if comparison == ">=" else u > v_threshold
        return fired.to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        """dL/du = dL/ds ds/du."""
        (derivative,) = ctx.saved_tensors
        return grad_outputs[0] * derivative, None, None, None


class Membranes(Protocol):
    """A layer of neurons that carries its membranes from step to step."""

    v_threshold: Parameter
    surrogate: Surrogate
    reset: Reset

    @property
    def u(self) -> Tensor | None:
        """Membrane of the last step before its spikes; None before the first."""
        ...

    def integrate(self, x: Tensor, membranes: Sequence[Tensor]) -> Tensor:
        """Spikes of c steps, without a graph; ``membranes`` take u of each."""
        ...

    def fired(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """The spikes that membranes ``u`` give, 0 or 1 in their dtype; into ``out`` if given."""
        ...

    def after_reset(self, u: Tensor, v: Tensor, scratch: Tensor) -> Tensor:
        """Write v after u into ``v``."""
        ...


class CutMembranes(torch.autograd.Function):
    """Steps with no path between them (Meng et al. 2023, eq. 13).

    e_u[t] = e_s[t] ds/du[t];  dL/dx[t] = e_u[t];  dL/dkeep = sum_t e_u[t] v[t-1]
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor | None, layer: Membranes) -> Tensor:
        """Spikes (c, N, ...) of a layer, which keeps the last membrane; ``keep`` if learned."""
        before = layer.u
        u = torch.empty_like(x, dtype=membrane_dtype(x))
        spikes = layer.integrate(x, u.unbind())
        ctx.save_for_backward(u, *(() if before is None or keep is None else (before,)))
        ctx.layer = layer
        ctx.shape = None if keep is None else keep.shape
        return spikes

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """dL/dx = dL/du, and dL/dkeep."""
        u, *before = ctx.saved_tensors
        threshold = ctx.layer.v_threshold
        error = ctx.layer.surrogate(u - threshold, threshold).mul_(grad_outputs[0])
        by_keep = None
        if ctx.shape is not None:
            total, v, scratch = (torch.zeros_like(u[0]) for _ in range(3))
            for e, last in zip(error if before else error[1:], (*before, *u[:-1]), strict=True):
                total.addcmul_(e, ctx.layer.after_reset(last, v, scratch))
            by_keep = total.sum_to_size(ctx.shape)
        return error.to(grad_outputs[0].dtype), by_keep, None


class CutCurrents(torch.autograd.Function):
    """Synaptic currents u[t] = u_keep u[t-1] + x[t] with no path between steps.

    dL/dx[t] = dL/du[t], blind to what x leaves in later currents;  dL/du_keep = sum_t e_u[t] u[t-1]
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, u_keep: Parameter, before: Tensor | None, learned: bool
    ) -> Tensor:
        """Currents (c, N, ...) of inputs, after the current ``before``; None for 0."""
        u = torch.empty_like(x, dtype=membrane_dtype(x))
        last = before
        for given, out in zip(x, u, strict=True):
            add_kept(given, last, u_keep, out)
            last = out
        if learned:
            ctx.save_for_backward(u, *(() if before is None else (before,)))
            ctx.shape = u_keep.shape if isinstance(u_keep, Tensor) else ()
        ctx.learned, ctx.dtype = learned, x.dtype
        return u

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dx = dL/du, and dL/du_keep."""
        (error,) = grad_outputs
        by_keep = (
            summed_with_before(error, *ctx.saved_tensors, shape=ctx.shape) if ctx.learned else None
        )
        return error.to(ctx.dtype), by_keep, None, None
