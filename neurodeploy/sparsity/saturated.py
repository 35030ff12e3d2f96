"""A price on neurons that spike at nearly every step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from neurodeploy.sparsity.regulariser import Rates, Regulariser, Wiring, of_each_neuron


@dataclass(frozen=True)
class Saturated(Regulariser):
    """P = weight mean_j (max(0, r_j - ceiling) / (1 - ceiling))^2 over all hidden neurons.

    Attributes:
        ceiling: spikes per step, in the mean over a batch, up to which a neuron is not saturated;
            above 0 and below 1.
    """

    ceiling: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.ceiling < 1:
            raise ValueError(f"ceiling is a rate above 0 and below 1, found {self.ceiling:g}")

    def price(self, rates: Rates, wiring: Wiring) -> Tensor:
        """P at each of c steps, (c,)."""
        beyond = (of_each_neuron(rates) - self.ceiling).clamp(min=0) / (1 - self.ceiling)
        return self.weight * beyond.square().mean(1)
