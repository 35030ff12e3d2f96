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
from torch import Tensor, nn

from neurodeploy.errors import InputError, nearest
from neurodeploy.ir.contract import Comparison
from neurodeploy.nn.surrogate import SURROGATES, Surrogate
from neurodeploy.recipe import NeuronRecipe


class LIF(nn.Module):
    """A layer of LIF neurons that keeps its membrane between calls.

    Membranes are float32 where the input is narrower, as under autocast: a sum over steps would
    lose what each step adds. Spikes have the dtype of the input.

    Attributes:
        recipe: tau in steps, threshold, reset, comparison and surrogate.
        surrogate: the recipe's derivative of a spike.
        cut: whether the carried membrane is detached, so that no gradient crosses a step. The
            reset acts on the carried membrane and on nothing else, so it is cut with it.
    """

    def __init__(self, recipe: NeuronRecipe) -> None:
        """Raises InputError when the recipe's surrogate is not known."""
        super().__init__()
        if recipe.surrogate not in SURROGATES:
            hint = nearest(recipe.surrogate, SURROGATES)
            raise InputError(f"[neuron] surrogate {recipe.surrogate!r} is not known{hint}")
        self.recipe = recipe
        self.surrogate = SURROGATES[recipe.surrogate]
        self.cut = True
        # What is carried: u when gradients are cut, v with its graph when they are not. The first
        # is kept for backward anyway, and so costs no memory of its own.
        self._u: Tensor | None = None
        self._v: Tensor | None = None

    @property
    def v(self) -> Tensor | None:
        """Membrane after the last step, of the shape of the layer's input.

        None before the first step, which stands for zero.
        """
        if self._u is None:
            return self._v
        return self._reset(self._u, torch.empty_like(self._u), torch.empty_like(self._u))

    @property
    def u(self) -> Tensor | None:
        """Membrane of the last step before its spikes, where gradients are cut; never changed."""
        return self._u

    def fired(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """The spikes that membranes ``u`` give, 0 or 1 in their dtype; into ``out`` if given."""
        compare = torch.ge if self.recipe.comparison == ">=" else torch.gt
        return compare(u, self.recipe.v_threshold, out=torch.empty_like(u) if out is None else out)

    def reset_state(self, cut: bool) -> None:
        """Start a batch: v = 0, and choose whether gradients are cut between steps."""
        self._u = self._v = None
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step for input ``x`` of any shape; both have the same shape and dtype."""
        if not self.cut:
            return self._step_with_graph(x)
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def over_steps(self, x: Tensor) -> Tensor:
        """Spikes of c steps for their inputs (c, N, ...); both have the same shape and dtype."""
        if not self.cut:
            return torch.stack([self._step_with_graph(step) for step in x])
        if torch.is_grad_enabled() and x.requires_grad:
            return _CutSteps.apply(x, self)
        # The same memory c times: only the last membrane is kept.
        return self.integrate(x, [torch.empty_like(x[0], dtype=membrane_dtype(x))] * len(x))

    def integrate(self, x: Tensor, membranes: Sequence[Tensor]) -> Tensor:
        """Spikes of c steps, without a graph.

        Args:
            x: inputs (c, N, ...).
            membranes: c tensors (N, ...) that take u of each step.
        """
        keep = 1 - 1 / self.recipe.tau
        spikes = torch.empty_like(x)
        # Comparing into another dtype than that of u is several times slower than a copy.
        scratch = None if x.dtype == membranes[0].dtype else torch.empty_like(membranes[0])
        for drive, u, s in zip(x, membranes, spikes, strict=True):
            fired = s if scratch is None else scratch
            if self._u is None:
                u.copy_(drive)
            else:
                v = self._reset(self._u, u, fired)
                torch.add(drive, v, alpha=keep, out=u)
            self.fired(u, fired)
            if scratch is not None:
                s.copy_(scratch)
            self._u = u
        return spikes

    def _reset(self, u: Tensor, v: Tensor, scratch: Tensor) -> Tensor:
        """Write v after u into ``v``, which may be ``u``; spikes go through ``scratch``."""
        neuron = self.recipe
        if neuron.reset == "subtract":
            self.fired(u, scratch)
            return torch.sub(u, scratch, alpha=neuron.v_threshold, out=v)
        stays = torch.lt if neuron.comparison == ">=" else torch.le
        stays(u, neuron.v_threshold, out=scratch)
        return torch.mul(u, scratch, out=v)

    def _step_with_graph(self, x: Tensor) -> Tensor:
        """Spikes of one step with the path through membrane and reset (backward through time)."""
        neuron = self.recipe
        u = x if self._v is None else (1 - 1 / neuron.tau) * self._v + x
        s = Firing.apply(u, neuron.v_threshold, neuron.comparison, self.surrogate)
        self._v = u - neuron.v_threshold * s if neuron.reset == "subtract" else u * (1 - s)
        return s

    def extra_repr(self) -> str:
        """The recipe, in ``print(model)``."""
        return str(self.recipe)


class _CutSteps(torch.autograd.Function):
    """Steps with no path between them: e_u[t] = e_s[t] ds/du[t] (Meng et al. 2023, eq. 13)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: LIF) -> Tensor:
        """Spikes (c, N, ...) of a layer, which keeps the last membrane."""
        u = torch.empty_like(x, dtype=membrane_dtype(x))
        spikes = layer.integrate(x, u.unbind())
        ctx.save_for_backward(u)
        ctx.layer = layer
        return spikes

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """dL/dx = dL/du."""
        (u,) = ctx.saved_tensors
        threshold = ctx.layer.recipe.v_threshold
        derivative = ctx.layer.surrogate(u - threshold, threshold)
        return derivative.mul_(grad_outputs[0]).to(grad_outputs[0].dtype), None


def membrane_dtype(x: Tensor) -> torch.dtype:
    """At least float32."""
    return torch.promote_types(x.dtype, torch.float32)


class Firing(torch.autograd.Function):
    """Heaviside step whose derivative is a surrogate; keeps only that derivative for backward.

    Without a graph not even that is computed.
    """

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v_threshold: float, comparison: Comparison, surrogate: Surrogate
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
