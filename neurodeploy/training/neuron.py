"""The leaky integrate-and-fire neuron of training, one step at a time.

u[t] = (1 - 1/tau) v[t-1] + x[t]       membrane before the spike
s[t] = H(u[t] - Vth)                   spike, 0 or 1
v[t] = u[t] - Vth s[t]                 soft reset ("subtract"), or u[t] (1 - s[t]) ("zero")

(Meng et al. 2023, eq. 2 and 3; tau in steps.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.contract import Comparison
from neurodeploy.errors import InputError, nearest
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.training.surrogate import SURROGATES, Surrogate


class Spike(torch.autograd.Function):
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


class LIF(nn.Module):
    """A layer of LIF neurons that keeps its membrane between calls; one call is one step.

    Attributes:
        recipe: tau in steps, threshold, reset, comparison and surrogate.
        v: membrane after the last step, of the shape of its input; None before the first one,
            which stands for zero.
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
        self.v: Tensor | None = None
        self.cut = True

    def reset_state(self, cut: bool) -> None:
        """Start a batch: v = 0, and choose whether gradients are cut between steps."""
        self.v = None
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step for input ``x`` of any shape; both have the same shape and dtype."""
        return self.step(x)[1]

    def step(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """u[t], the membrane before the spike, and s[t]; v[t] is kept for the next step."""
        neuron = self.recipe
        u = x if self.v is None else (1 - 1 / neuron.tau) * self.v + x
        s = Spike.apply(u, neuron.v_threshold, neuron.comparison, self.surrogate)
        # Detaching first keeps the reset itself out of the graph: it would only be thrown away.
        v, spikes = (u.detach(), s.detach()) if self.cut else (u, s)
        self.v = v - neuron.v_threshold * spikes if neuron.reset == "subtract" else v * (1 - spikes)
        return u, s

    def extra_repr(self) -> str:
        """The recipe, in ``print(model)``."""
        return str(self.recipe)
