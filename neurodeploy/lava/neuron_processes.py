"""Neurons of models beside the leaky one, as Lava processes and as models over batches."""

from __future__ import annotations

import importlib
from typing import Any

from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Shape

PACKAGE = "neurodeploy.lava.neuron_models"


def process_of(neuron: IntegerModel, shape: Shape, **timing: Any) -> Any:
    """The process of a population.

    Args:
        timing: as ``timed.TimedNeurons`` takes it, with ``name``.
    """
    return _file_of(neuron).Neurons(neuron=neuron, population=shape, **timing)


def batched(neuron: IntegerModel, shape: Shape) -> Any:
    """Lava's model of a population, outside of any Lava runtime; see ``timed``."""
    timing = {"reset_interval": 1, "reset_offset": 0, "guard": 0}
    return _file_of(neuron).PyNeuronsModel({"neuron": neuron, "population": shape, **timing})


def _file_of(neuron: IntegerModel) -> Any:
    """The file of this room that is called as the file with the model's equations."""
    return importlib.import_module(f"{PACKAGE}.{type(neuron).__module__.rpartition('.')[2]}")
