"""Mapping by the million: no core too few, too much refused early, costs that grow slowly."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.bench.growth import GrowthRow, bench_growth, fitted, growth_text
from neurodeploy.bench.large_networks import FAN_IN, REACH, large_network
from neurodeploy.errors import CheckFailedError, InputError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import SparseMatrix
from neurodeploy.mapping import least, map_network, memory
from neurodeploy.mapping.least import least_cores
from neurodeploy.mapping.memory import SparseRows
from neurodeploy.target import Limit, load_target
from support.command import run_cli, run_json
from support.narrow import there
from support.random_networks import random_network

HALA_POINT, LOIHI1, LOIHI2 = map(load_target, ("hala-point", "loihi1", "loihi2"))


def test_generated_networks_have_the_neurons_and_synapses_that_they_say() -> None:
    network = large_network(40_000)
    sizes = [math.prod(p.shape) for p in network.populations if p.neuron is not None]
    assert len(sizes) == 8 and 0.9 * 40_000 < sum(sizes) <= 40_000
    for projection in network.projections:
        weights, form = projection.operator.weights, projection.weight_format
        assert not (weights % form.step).any()
        assert form.minimum <= weights.min() < weights.max() <= form.maximum
    for projection in network.projections[4:]:
        operator = projection.operator
        assert isinstance(operator, SparseMatrix)
        inputs = math.prod(operator.input_shape)
        columns = operator.indices.reshape(-1, FAN_IN)
        assert (np.diff(columns) > 0).all() and operator.weights.all()
        place = np.arange(len(columns)) * inputs // len(columns)
        inside = (place >= REACH) & (place <= inputs - REACH)  # elsewhere it is pushed inwards
        assert inside.any() and (np.abs(columns - place[:, None])[inside] <= REACH).all()


@pytest.mark.parametrize("inputs", [60, 40_000])
def test_sources_are_counted_as_they_are_sorted(inputs: int) -> None:
    """Of few inputs by counting, of many by sorting: both against every synapse by itself."""
    rng = np.random.default_rng(3)
    network = large_network(1000)
    matrix = rng.integers(-3, 4, (50, inputs)) * (rng.random((50, inputs)) < 4 / inputs)
    operator = SparseMatrix.from_matrix(matrix * 2, (inputs,), (50,))
    rows = SparseRows(replace(network.projections[-1], operator=operator), LOIHI2, 0)
    for start, stop in ((0, 50), (7, 8), (20, 41), (9, 9)):
        found: dict[int, int] = {}
        for _, column in zip(*np.nonzero(matrix[start:stop]), strict=True):
            found[int(column)] = found.get(int(column), 0) + 1
        sources, entries = rows.entries(((start, stop),))
        assert sources.dtype == np.int64
        assert list(zip(sources.tolist(), entries.tolist(), strict=True)) == sorted(found.items())


def figure(value: int) -> Limit:
    return Limit(source="a test", quality="assumed", value=value)


@pytest.mark.parametrize("words", [30, 100, 16_000])
@pytest.mark.parametrize("operators", [("dense", "dense"), ("conv2d", "scale")])
def test_no_network_takes_fewer_cores_than_are_certain(
    words: int, operators: tuple[str, str]
) -> None:
    """Of parts that keep the limits: of others nothing is certain."""
    core = replace(LOIHI1.core, neurons=figure(6), synapse_words=figure(words))
    target, checked = replace(LOIHI1, core=core), 0
    for seed in range(8):
        network = random_network(seed, ("LIF", "LIF", "LIF"), operators, "skip", 1)
        mapping = map_network(network, target)
        certain = least_cores(network, target, memory.incoming(network, target))
        if all(use.synapse_words <= words for use in mapping.uses):
            assert 3 <= certain <= len(mapping.uses)
            checked += 1
    assert checked or words == 30


def test_cores_that_are_certain_are_most_of_those_that_a_large_network_takes() -> None:
    network = large_network(100_000)
    certain = least_cores(network, LOIHI2, memory.incoming(network, LOIHI2))
    taken = len(map_network(network, LOIHI2).uses)
    assert 0.7 * taken < certain <= taken


def test_what_is_far_too_large_is_refused_at_once() -> None:
    network = large_network(1000)
    huge = Convolution(np.full((16, 1, 3, 3), 2), (1, 7000, 7000), (1, 1), ((1, 1),) * 2, (1, 1))
    first = replace(network.projections[0], operator=huge)
    given, neurons = network.populations[:2]
    network = replace(
        network,
        populations=(
            replace(given, shape=huge.input_shape),
            replace(neurons, shape=(16, 7000, 7000)),
        ),
        projections=(first,),
        output=neurons.name,
    )
    started = time.process_time()
    with pytest.raises(CheckFailedError, match=r"at least 191,453 cores, hala-point has 140,544"):
        map_network(network, HALA_POINT)
    assert time.process_time() - started < 5


def test_what_is_a_little_too_large_is_mapped_to_tell_all_that_it_breaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = large_network(600_000)
    (violation,) = map_network(network, LOIHI2).violations
    assert violation.used == "222 cores"
    monkeypatch.setattr(least, "MAPPED_BEYOND", 100)
    with pytest.raises(CheckFailedError, match=r"at least \d+ cores, loihi2 has 128; use smaller"):
        map_network(network, LOIHI2)
    # Where nothing is certain beforehand, it is refused while it is cut.
    monkeypatch.setattr("neurodeploy.mapping.partition.least_cores", lambda *of: 0)
    with pytest.raises(CheckFailedError, match=r"at least \d+ cores, loihi2 has 128"):
        map_network(network, LOIHI2)


def row(neurons: int, seconds: float, peak: float, refused: str = "") -> GrowthRow:
    return GrowthRow(neurons, 0, "hala-point", 1, 1, 0, 0.0, seconds, seconds, peak, refused)


def test_exponents_are_those_that_costs_have() -> None:
    sizes = (10**6, 10**7, 10**8)
    found = there(fitted([row(n, 3e-6 * n**1.25, 0.1 * n**0.5) for n in sizes]))
    assert found.time == pytest.approx(1.25) and found.memory == pytest.approx(0.5)
    assert 1.05 < found.n_log_n < 1.07 and not found.bounded
    assert there(fitted([row(n, n * math.log(n), n) for n in sizes])).bounded
    assert fitted([row(10**6, 1.0, 1.0), row(10**7, 1.0, 1.0, "too large")]) is None
    assert "too large" in growth_text([row(10**7, 1.0, 1.0, "too large")])


def test_the_bench_maps_networks_of_the_sizes_asked_for(tmp_path: Path) -> None:
    found = run_json("bench", "mapping", "--neurons", "2e3,2e4", folder=tmp_path)
    assert [row["target"] for row in found["rows"]] == ["hala-point"] * 2
    assert all(row["cores"] >= 8 and not row["violations"] for row in found["rows"])
    assert set(found["growth"]) == {"time", "memory", "n_log_n"}
    wrong = run_cli("bench", "mapping", "--neurons", "10", folder=tmp_path)
    assert wrong.exit_code == 2 and "--neurons 10: needs numbers from 1,000" in wrong.stderr
    both = run_cli("bench", "mapping", "--neurons", "1e4", "--network", "x", folder=tmp_path)
    assert both.exit_code == 2


def test_a_size_out_of_range_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(InputError, match="2,147,483,647"):
        next(bench_growth([1e4, 1e12], "hala-point"))


@pytest.mark.slow
def test_a_hundred_million_neurons_fit_hala_point_and_this_machine() -> None:
    rows = list(bench_growth([1e6, 1e7, 1e8], "hala-point"))
    largest = rows[-1]
    assert largest.neurons > 0.99e8 and largest.violations == 0
    assert largest.cpu_seconds < 1800 and largest.peak_mb < 16_000
    assert there(fitted(rows)).bounded, growth_text(rows)
