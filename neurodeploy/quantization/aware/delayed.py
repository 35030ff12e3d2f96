"""Layers with learned delays on the grid of the neurons behind them: a projection for each delay.

y[t] = sum_d 64 floor(2^e step sum_i [d_oi = d] q_oi n_i[t - d])

A chip shifts what each projection adds up, so that every delay has a floor of its own. Delays are
whole steps, and stay what they are: once integers begin, the weights alone are trained.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.quantization.aware.synapse import QuantizedSynapse


class DelayedSynapse(QuantizedSynapse):
    """The projections of a ``DelayedLinear``, all with one exponent.

    Attributes:
        layer: in floats, with the delays.
    """

    layer: DelayedLinear

    @property
    def delays(self) -> list[int]:
        """Those that occur, in steps, ascending."""
        return self.layer.steps.unique().tolist()

    def reset_state(self, cut: bool) -> None:
        """Start a batch: nothing is on its way."""
        self.layer.reset_state(cut)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs), in state units when the grid is active."""
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def over_steps(self, x: Tensor) -> Tensor:
        """The same for c steps, (c, N, inputs) to (c, N, outputs)."""
        if not self.grid.is_active:
            return self.layer.over_steps(x)
        longest, steps = self.layer.longest, len(x)
        numbers = self.numbers(self.layer.known(x))
        integers, delays = self.integers(), self.layer.steps
        parts = [
            self.drive(numbers[longest - d : longest - d + steps], integers * (delays == d))
            for d in self.delays
        ]
        return torch.stack(parts).sum(0)

    @torch.no_grad()
    def in_floats(self, weight: Tensor) -> DelayedLinear:
        """The layer with other weights, without bias, its delays in whole steps.

        Args:
            weight: (outputs, inputs).
        """
        found = copy.deepcopy(self.layer)
        found.delay = nn.Parameter(self.layer.steps.to(weight), requires_grad=False)
        found.spread = 0.0
        found.weight, found.bias = nn.Parameter(weight), nn.Parameter(weight.new_zeros(len(weight)))
        return found
