"""What every regulariser does: put a price on the firing rates of a batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

Rates = Mapping[str, Tensor]
"""By layer: spikes per step of each neuron, (c, *shape), as known at each of c steps."""


@dataclass(frozen=True)
class Wiring:
    """What a price may depend on beside the rates.

    Attributes:
        steps: T, steps per sample.
        fan_out: by layer, synapses behind each neuron, (*shape); empty where nobody asked.
    """

    steps: int = 1
    fan_out: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Regulariser(ABC):
    """A price P(r) on mean rates, which is added to the loss: a frozen dataclass of options.

    The rate r_j of a neuron is its spikes per step, a mean over the samples of a batch and their
    own steps. Of N samples of T steps, dr_j/ds_j[t] is 1/(N T), so the price adds to the error of
    a spike

    dL/ds_j[t] += (1/(N T)) dP/dr_j

    whose second factor is taken at the rates known at step t, those of the steps from 1 to t: it
    needs nothing of another step, and no memory that grows with T. For a price that is linear in
    the rates that is its gradient; for any other, the one of the batch as far as it has been seen.

    Attributes:
        weight: factor of the price in the loss, above 0.
    """

    weight: float
    needs_fan_out: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"weight is above 0, found {self.weight:g}; leave it out for none")

    @abstractmethod
    def price(self, rates: Rates, wiring: Wiring) -> Tensor:
        """P at each of c steps, (c,), the weight included."""

    def slopes(self, rates: Rates, wiring: Wiring) -> dict[str, Tensor]:
        """dP/dr_j at each of c steps, in the shapes of the rates."""
        with torch.enable_grad():
            given = {name: rate.detach().requires_grad_() for name, rate in rates.items()}
            found = torch.autograd.grad(self.price(given, wiring).sum(), [*given.values()])
        return dict(zip(given, found, strict=True))


def of_each_neuron(rates: Rates) -> Tensor:
    """The rates of all layers side by side, (c, neurons)."""
    return torch.cat([rate.flatten(1) for rate in rates.values()], 1)
