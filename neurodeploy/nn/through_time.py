"""Several steps of neurons and currents with all paths between them, as one function each.

A graph of single operations says the same. It takes a dozen nodes a step, which for the layers of
small networks cost more than what they compute.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurodeploy.nn.constants import Parameter
from neurodeploy.nn.spikes import Membranes, add_kept, membrane_dtype


class LinkedMembranes(torch.autograd.Function):
    """Steps whose errors go back through membrane and reset (Meng et al. 2023, eq. 7 to 9).

    e_u[t] = (e_s[t] + e_v[t] dv/ds[t]) ds/du[t] + e_v[t] dv/du[t]
    e_v[t-1] = keep e_u[t];  dL/dx[t] = e_u[t];  dL/dkeep = sum_t e_u[t] v[t-1]

    With v = u - Vth s, dv/ds is -Vth and dv/du is 1; with v = u (1 - s) they are -u and 1 - s.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, before: Tensor | None, keep: Parameter, layer: Membranes
    ) -> tuple[Tensor, Tensor]:
        """Spikes of inputs (c, N, ...) after the membrane ``before``, None for 0; v at the end."""
        u, spikes = torch.empty_like(x, dtype=membrane_dtype(x)), torch.empty_like(x)
        v, scratch = torch.empty_like(u[0]), torch.empty_like(u[0])
        last = before
        for given, out, s in zip(x, u, spikes, strict=True):
            add_kept(given, last, keep, out)
            s.copy_(layer.fired(out, scratch))
            last = layer.after_reset(out, v, scratch)
        ctx.save_for_backward(u, before, keep if isinstance(keep, Tensor) else None)
        ctx.layer, ctx.keep = layer, keep if isinstance(keep, float) else None
        return spikes, v

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dx, dL/dv before, and dL/dkeep where it is learned."""
        by_spikes, e_v = grad_outputs
        u, before, keep = ctx.saved_tensors
        layer, share = ctx.layer, ctx.keep if keep is None else keep
        threshold, soft = layer.v_threshold, layer.reset == "subtract"
        slope = layer.surrogate(u - threshold, threshold)
        error, e_v = torch.empty_like(u), e_v.to(u.dtype)
        total, v, scratch = (torch.zeros_like(u[0]) for _ in range(3))
        learned = ctx.needs_input_grad[2]
        for t in range(len(u) - 1, -1, -1):
            e_u, e_s = error[t], by_spikes[t].to(u.dtype)
            by_reset = e_v * (threshold if soft else u[t])
            torch.mul(e_s - by_reset, slope[t], out=e_u)
            e_u += e_v if soft else e_v * (1 - layer.fired(u[t], scratch))
            carried = layer.after_reset(u[t - 1], v, scratch) if learned and t else before
            if learned and carried is not None:
                total.addcmul_(e_u, carried)
            e_v = e_u * share
        return (
            error.to(by_spikes.dtype),
            None if before is None else e_v.to(before.dtype),
            total.sum_to_size(share.shape) if learned else None,
            None,
        )


class LinkedCurrents(torch.autograd.Function):
    """y[t] = keep y[t-1] + x[t] with the paths between steps.

    e_y[t] = dL/dy[t] + keep e_y[t+1];  dL/dx[t] = e_y[t];  dL/dkeep = sum_t e_y[t] y[t-1]
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, before: Tensor | None, keep: Parameter) -> Tensor:
        """y (c, N, ...) of inputs, after ``before``; None for 0."""
        y, last = torch.empty_like(x, dtype=membrane_dtype(x)), before
        for given, out in zip(x, y, strict=True):
            add_kept(given, last, keep, out)
            last = out
        ctx.save_for_backward(y, before, keep if isinstance(keep, Tensor) else None)
        ctx.keep, ctx.dtype = keep if isinstance(keep, float) else None, x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """dL/dx, dL/dy before, and dL/dkeep where it is learned."""
        y, before, keep = ctx.saved_tensors
        share = ctx.keep if keep is None else keep
        error = grad_outputs[0].clone()
        later, total = None, torch.zeros_like(y[0])
        for t in range(len(y) - 1, -1, -1):
            e_y = error[t]
            if later is not None:
                e_y += later
            carried = y[t - 1] if t else before
            if ctx.needs_input_grad[2] and carried is not None:
                total.addcmul_(e_y, carried)
            later = e_y * share
        by_before = None if before is None or later is None else later.to(before.dtype)
        by_keep = total.sum_to_size(share.shape) if ctx.needs_input_grad[2] else None
        return error.to(ctx.dtype), by_before, by_keep
