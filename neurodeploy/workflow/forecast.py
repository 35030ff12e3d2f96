"""Forecasts: a network that predicts a series goes on with its own predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.data.dataset import Dataset, encode
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.reading import read
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.simulation.values import PredictedValues
from neurodeploy.workflow.engines import Engine, make_engine
from neurodeploy.workflow.samples import dataset_of

if TYPE_CHECKING:
    import torch


def series_of(network: QuantizedNetwork) -> Dataset:
    """The data set of a network that can go on with its own predictions.

    Raises:
        UnsupportedError: it predicts no series one value ahead.
    """
    contract = network.contract
    if not (contract.predicts_values and contract.dataset):
        raise UnsupportedError(
            "a forecast continues from a network's own predictions, but this network was not "
            "trained on a series to predict its next value"
        )
    dataset = dataset_of(contract, classes=network.classes)
    ahead = dataset.source.mackey_glass.horizon
    if dataset.input_range is None or ahead != 1:
        raise UnsupportedError(
            "a forecast continues from a network's own predictions, so it needs the next value; "
            f"this network predicts {dataset.name!r}, {ahead} values ahead"
        )
    return dataset


def forecast_series(
    deployment: Deployment,
    engine_name: str,
    *,
    timeout: float | None = None,
    device: torch.device | None = None,
) -> PredictedValues:
    """Predict the test part of a deployment's series from what comes before it, and no more.

    NeuroBench scores this. The first window is of true values; each prediction is rounded to the
    integers that a window holds and takes its place there.

    Returns:
        Predictions beside the true series.

    Raises:
        UnsupportedError: as ``series_of``.
    """
    dataset = series_of(deployment.network)
    engine = make_engine(engine_name, deployment, timeout=timeout, device=device)
    try:
        predicted = _predicted(deployment.network, dataset, engine)
    finally:
        engine.close()
    return PredictedValues(predicted, dataset.y_test)


def _predicted(network: QuantizedNetwork, dataset: Dataset, engine: Engine) -> np.ndarray:
    """(N, 1) values, each from those before it."""
    window, predicted = dataset.x_test[:1][0], np.empty_like(dataset.y_test)
    code, steps = network.contract.input_code, network.contract.steps

    def batches() -> Iterator[SampleBatch]:
        for number in range(len(predicted)):
            values = encode(window[None], code, steps, first=number)
            yield SampleBatch(number, values.astype(np.int32), code.encoder == "direct")

    # An engine asks for a batch when the one before has been looked at.
    for batch, trace in engine.run(batches()):
        value = predicted[batch.first] = read(network, trace)[0]
        window = np.append(window[1:], dataset.as_input(value))
    return predicted
