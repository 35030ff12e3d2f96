"""Training on the integers of a target: the same grid, leaks and resets as on the chip.

In evaluation, and without dropout also in training, the forward pass gives exactly the spikes of
the deployed network; gradients pass through rounding as if it were not there.
"""

from __future__ import annotations

from neurodeploy.quantization.aware.convert import (
    IntegerNetwork,
    without_grids,
)
from neurodeploy.quantization.aware.export import in_floats, learned_plan, trained_to_nir

__all__ = [
    "IntegerNetwork",
    "in_floats",
    "learned_plan",
    "trained_to_nir",
    "without_grids",
]
