"""A price on neurons that hardly ever spike."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from neurodeploy.sparsity.regulariser import Rates, Regulariser, Wiring, of_each_neuron


@dataclass(frozen=True)
class Silent(Regulariser):
    """P = weight mean_j max(0, 1 - r_j/floor)^2 over all hidden neurons.

    A neuron whose membrane stays where its surrogate is 0 gets no error from it either.

    Attributes:
        floor: spikes per step, in the mean over a batch, from which a neuron is not silent; above 0
            and below 1.
    """

    floor: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.floor < 1:
            raise ValueError(f"floor is a rate above 0 and below 1, found {self.floor:g}")

    def price(self, rates: Rates, wiring: Wiring) -> Tensor:
        """P at each of c steps, (c,)."""
        lacking = (1 - of_each_neuron(rates) / self.floor).clamp(min=0)
        return self.weight * lacking.square().mean(1)
