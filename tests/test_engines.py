"""What every engine promises: each batch comes back with its trace, and is made only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.quantization.planned import on_grid
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch, Samples
from neurodeploy.workflow.engines import Engine
from neurodeploy.workflow.samples import choose_samples
from neurodeploy.workflow.simulate import simulate
from neurodeploy.workflow.validate import validate
from support.random_networks import random_input, random_network


def lava(network: QuantizedNetwork) -> Engine:
    from neurodeploy.lava.stock import LavaEngine

    return LavaEngine(network, capacity=2, timeout=60)


def lava_fused(network: QuantizedNetwork) -> Engine:
    from neurodeploy.lava.fused import FusedLavaEngine

    return FusedLavaEngine(network, capacity=2, timeout=60)


ENGINES: list[Any] = [
    pytest.param(ReferenceEngine, id="reference"),
    pytest.param(lambda network: FloatEngine(on_grid(network)), id="float"),
    pytest.param(lava, id="lava", marks=pytest.mark.lava),
    pytest.param(lava_fused, id="lava-fused", marks=pytest.mark.lava),
]


@pytest.mark.parametrize("make", ENGINES)
def test_a_run_yields_each_batch_with_its_trace(
    make: Callable[[QuantizedNetwork], Engine],
) -> None:
    network = random_network(7, ("LIF", "LIF", "LIF"), ("dense", "dense"), "chain", 1)
    given = list(random_input(network, 1, 5, over_time=True).batches(2))
    taken: list[SampleBatch] = []

    def batches() -> Iterator[SampleBatch]:
        for batch in given:
            taken.append(batch)
            yield batch

    engine = make(network)
    seen = 0
    for batch, trace in engine.run(batches()):
        # Not one batch is taken ahead of the trace that is asked for.
        assert taken == given[: seen + 1]
        assert batch is given[seen]
        assert trace.first == batch.first
        np.testing.assert_array_equal(trace.populations["input"].s, batch.values)
        seen += 1
    engine.close()
    assert seen == len(given) == 3


def counted(samples: Samples) -> tuple[Samples, list[tuple[int, int]]]:
    """The samples, and a list that grows with every range that is read of them."""
    reads: list[tuple[int, int]] = []

    def take(first: int, last: int) -> np.ndarray:
        reads.append((first, last))
        return samples.take(first, last)

    made = Samples(
        samples.count,
        take,
        samples.labels,
        samples.contract,
        samples.origin,
        samples.over_time,
        samples.seed,
    )
    return made, reads


def test_validate_reads_every_sample_once(workspace: Path, monkeypatch: Any) -> None:
    deployment = read_deployment(workspace / "deployments" / "digits_conv-loihi2-001")
    samples, reads = counted(choose_samples(deployment.network, samples=5))
    monkeypatch.setattr("neurodeploy.workflow.validate.batch_size", lambda network: 2)
    found = validate(deployment, samples, ("reference", "float"), progress=False)
    assert reads == [(0, 2), (2, 4), (4, 5)]
    assert found.report.samples == 5
    assert found.report.accuracies is not None


def test_simulate_reads_every_sample_once(workspace: Path, monkeypatch: Any) -> None:
    deployment = read_deployment(workspace / "deployments" / "digits_conv-loihi2-001")
    samples, reads = counted(choose_samples(deployment.network, samples=6))
    monkeypatch.setattr("neurodeploy.workflow.simulate.batch_size", lambda network: 2)
    simulate(deployment, samples, "reference", progress=False)
    assert [read for read in reads if read[1] - read[0] == 2] == [(0, 2), (2, 4), (4, 6)]
    # By a few of them a simulation that goes on knows that they are the same.
    alone = [read for read in reads if read[1] - read[0] == 1]
    assert len(set(alone)) == len(alone) == len(reads) - 3
