"""Linear layers whose connections have delays, which are learned with the weights.

y_o[t] = sum_i W_oi s_i[t - d_oi] + b_o

A delay is learned as the place of a Gaussian over the steps 0 to D (Hammouamri et al., ICLR 2024,
"Learning delays in spiking neural networks using dilated convolutions with learnable spacings"):

y_o[t] = sum_i sum_k W_oi G_oi[k] s_i[t - k] + b_o,  G[k] = exp(-((k - d) / sigma)^2 / 2) / sum

sigma falls in the course of training. In evaluation, and at last in training, G is 1 at the nearest
whole step and 0 elsewhere, which is what is deployed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.errors import InputError
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.network import SpikingNetwork

LAST_SPREAD = 0.23
"""sigma before delays become whole steps, as in the paper: beside a whole step stands 8e-5."""

SETTLED = 0.75
"""Share of the epochs after which delays are whole and stay what they are."""


class DelayedLinear(nn.Module):
    """A linear layer with a delay for each of its connections, or for each of its inputs.

    Each call is one step, (N, inputs) to (N, outputs); nothing arrives before it was sent. Where
    gradients are cut between steps, what was sent before is given, as inputs are.

    Attributes:
        weight, bias: as of ``nn.Linear``.
        delay: d in steps, real numbers from 0 to ``longest``; (outputs, inputs), or (1, inputs).
        longest: D, the longest delay in steps.
        spread: sigma in steps; 0 for whole steps, as always in evaluation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        longest: int,
        bias: bool = True,
        *,
        per_synapse: bool = True,
        learn: bool = True,
    ) -> None:
        """Weights as torch draws them, delays uniform from 0 to ``longest``.

        Args:
            longest: at least 1.
            per_synapse: else all connections of an input have one delay.
            learn: else delays are whole steps that stay as they were drawn.

        Raises:
            InputError: ``longest`` is less.
        """
        super().__init__()
        if longest < 1:
            raise InputError(f"DelayedLinear: longest is in steps, at least 1, found {longest}")
        drawn = nn.Linear(inputs, outputs, bias)
        self.weight, self.bias = drawn.weight, drawn.bias
        places = torch.empty(outputs if per_synapse else 1, inputs).uniform_(0, longest)
        self.delay = nn.Parameter(places if learn else places.round(), requires_grad=learn)
        self.longest = longest
        self.spread = longest / 2 if learn else 0.0
        self._cut = True
        self._sent: Tensor | None = None
        self._kernel: Tensor | None = None

    @property
    def steps(self) -> Tensor:
        """Delays in whole steps, int64, of the shape of ``delay``."""
        return self.delay.detach().clamp(0, self.longest).round().to(torch.int64)

    def reset_state(self, cut: bool) -> None:
        """Start a batch: nothing is on its way."""
        self._sent = self._kernel = None
        self._cut = cut
        if self.delay.requires_grad:
            with torch.no_grad():
                # Beyond the ends no gradient would lead back.
                self.delay.clamp_(0, self.longest)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what was sent goes without its graph."""
        sent = None if self._sent is None else self._sent.detach()
        return {**vars(self), "_sent": sent, "_kernel": None}

    def kernel(self) -> Tensor:
        """W G, (outputs, inputs, longest + 1), of the steps k = 0 to D."""
        k = torch.arange(self.longest + 1, device=self.delay.device)
        if self.training and self.spread > 0:
            distance = (k - self.delay.unsqueeze(-1)) / self.spread
            shares = torch.softmax(-0.5 * distance.square(), -1)
        else:
            shares = (k == self.steps.unsqueeze(-1)).to(self.weight.dtype)
        return self.weight.unsqueeze(-1) * shares

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def known(self, x: Tensor) -> Tensor:
        """What was sent in the ``longest`` steps before c steps, and in these.

        Called once for each step: it is kept for the next ones.

        Args:
            x: (c, N, inputs).

        Returns:
            (longest + c, N, inputs).
        """
        before = self._sent
        if before is None:
            before = x.new_zeros(self.longest, *x.shape[1:])
        known = torch.cat([before, x])
        kept = known[len(x) :]
        self._sent = kept.detach().clone() if self._cut else kept
        return known

    def over_steps(self, x: Tensor) -> Tensor:
        """c steps, (c, N, inputs) to (c, N, outputs)."""
        known = self.known(x)
        # (c, N, inputs, D + 1), the latest first.
        seen = known.unfold(0, self.longest + 1, 1).flip(-1)
        # With one backward pass over all steps, or none, one kernel serves the whole batch.
        lasts = not (self._cut and torch.is_grad_enabled())
        kernel = self._kernel if lasts and self._kernel is not None else self.kernel()
        self._kernel = kernel if lasts else None
        return functional.linear(seen.flatten(2), kernel.flatten(1), self.bias)

    def extra_repr(self) -> str:
        """Sizes, in ``print(model)``."""
        each = "synapse" if len(self.delay) > 1 else "input"
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, delays up to {self.longest} per {each}"


def anneal_delays(model: nn.Module, progress: float, settled: float = SETTLED) -> None:
    """Narrow the delays of a module for the next part of its training.

    sigma falls from D/2 to 0.23 steps, exponentially, until they are settled; from then on delays
    are whole steps that do not change, and the weights learn with them.

    Args:
        progress: share of the training that is over, from 0 to 1.
        settled: share of it after which delays are whole.
    """
    for layer in model.modules():
        if isinstance(layer, DelayedLinear) and layer.delay.requires_grad:
            first = max(layer.longest / 2, LAST_SPREAD)
            done = progress / settled if settled else 1.0
            layer.spread = first * (LAST_SPREAD / first) ** done if done < 1 else 0.0


def with_fixed_delays(model: SpikingNetwork) -> SpikingNetwork:
    """The network with a ``Delay`` and a linear layer for each delay that occurs, in whole steps.

    It computes what the network does in evaluation. A network without such layers stays itself.
    """
    if not any(isinstance(layer, DelayedLinear) for layer in model.layers.values()):
        return model
    layers: dict[str, nn.Module] = {}
    sources: dict[str, tuple[str, ...]] = {}
    ends: dict[str, tuple[str, ...]] = {}
    for name, layer in model.layers.items():
        read = model.sources[name]
        if not isinstance(layer, DelayedLinear):
            layers[name], sources[name] = layer, read
            continue
        ends[name] = ()
        for steps, linear in _groups(layer):
            at, before = f"{name}_{steps}", read
            if steps:
                layers[f"{at}_delay"], sources[f"{at}_delay"] = Delay(steps), read
                before = (f"{at}_delay",)
            layers[at], sources[at] = linear, before
            ends[name] += (at,)
    for name, read in sources.items():
        sources[name] = tuple(end for source in read for end in ends.get(source, (source,)))
    return SpikingNetwork(layers, model.sample_shape, sources).train(model.training)


@torch.no_grad()
def _groups(layer: DelayedLinear) -> Iterator[tuple[int, nn.Linear]]:
    """The delays that occur, each with its weights; the bias goes with the first."""
    outputs, inputs = layer.weight.shape
    steps = layer.steps.expand(outputs, inputs)
    bias = layer.bias
    for delay in steps.unique().tolist():
        linear = nn.Linear(inputs, outputs, bias is not None).to(layer.weight)
        linear.weight.copy_(torch.where(steps == delay, layer.weight, 0))
        if bias is not None:
            linear.bias.copy_(bias)
        bias = None
        yield delay, linear
