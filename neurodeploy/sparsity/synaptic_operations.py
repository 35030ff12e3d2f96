"""A price on synaptic operations, as a chip counts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neurodeploy.sparsity.regulariser import Rates, Regulariser, Wiring


@dataclass(frozen=True)
class SynapticOperations(Regulariser):
    """P = weight max(0, sum_j f_j r_j - target/T) / sum_j f_j over all hidden neurons.

    f_j is the fan-out of neuron j: the synapses that its spikes make a chip read, fewer at the
    borders of a convolution and where weights are pruned (as the synaptic operations of sinabs). P
    is the share of all synapses behind neurons that is read in a step. What the input makes a chip
    read depends on no weight, and is not in it.

    Attributes:
        target: operations per sample below which there is no price.
    """

    target: float = 0.0
    needs_fan_out: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.target >= 0:
            raise ValueError(f"target counts operations per sample, from 0; found {self.target:g}")

    def price(self, rates: Rates, wiring: Wiring) -> Tensor:
        """P at each of c steps, (c,)."""
        behind = {name: wiring.fan_out[name].flatten().to(rate) for name, rate in rates.items()}
        read = torch.stack([rate.flatten(1) @ behind[name] for name, rate in rates.items()]).sum(0)
        synapses = max(sum(float(each.sum()) for each in behind.values()), 1.0)
        return self.weight * (read - self.target / wiring.steps).clamp(min=0) / synapses
