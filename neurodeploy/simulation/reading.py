"""What is read from a network's outputs: the class of a sample, or values in units of the data."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.simulation.predictions import Predictions
from neurodeploy.simulation.trace import SpikeTrace
from neurodeploy.simulation.values import PredictedValues

AnyPredictions = Predictions | PredictedValues


def read(
    network: Network | QuantizedNetwork, trace: SpikeTrace, lengths: np.ndarray | None = None
) -> np.ndarray:
    """What the contract has the outputs mean.

    Args:
        network: that was simulated; or the integers of one that was simulated in floats.
        lengths: (N,) steps at whose end each sample is read; None for T of all.

    Returns:
        (N,) int64 classes, or (N, K) float64 values.
    """
    contract = network.contract
    if not contract.predicts_values:
        return trace.predictions(contract.decode, lengths).astype(np.int64)
    scores = trace.scores(contract.decode, lengths).astype(np.float64)
    record, population = trace.populations[network.output], network.population(network.output)
    integers = record.v is not None and record.v.dtype != np.float64
    if contract.decode != "spike_count" and integers:
        assert isinstance(population, QuantizedPopulation)  # floats have no integers to read
        scores /= population.state_unit
    steps = contract.steps if lengths is None else lengths[:, None]
    return contract.value_offset + contract.value_scale * scores / steps


def predictions_of(
    network: Network | QuantizedNetwork, found: np.ndarray, labels: np.ndarray | None
) -> AnyPredictions:
    """What ``read`` found, beside what was to be found.

    Args:
        found: of all samples, or of none.
        labels: (N,) classes or (N, K) values; None where nobody knows.
    """
    if network.contract.predicts_values:
        return PredictedValues(found.reshape(len(found), network.classes), labels)
    return Predictions(found, labels, network.classes)
