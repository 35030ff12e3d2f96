"""A price on the mean firing rate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from neurodeploy.sparsity.regulariser import Rates, Regulariser, Wiring, of_each_neuron


@dataclass(frozen=True)
class MeanRate(Regulariser):
    """P = weight max(0, r - target) with the mean rate r over all hidden neurons.

    Attributes:
        target: spikes per neuron and step below which there is no price, 0 to below 1.
    """

    target: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.target < 1:
            raise ValueError(f"target is a rate from 0 to below 1, found {self.target:g}")

    def price(self, rates: Rates, wiring: Wiring) -> Tensor:
        """P at each of c steps, (c,)."""
        return self.weight * (of_each_neuron(rates).mean(1) - self.target).clamp(min=0)
