"""The class of a sample that lasts fewer steps than T is read at its own end, by every engine.

What a deployment says of samples of many lengths is compared with what the same network, told that
T is one sample's length, says of that sample alone.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Decode
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import lava_available
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Samples
from neurodeploy.workflow.arrays import simulate_arrays, validate_arrays
from neurodeploy.workflow.samples import file_samples
from support.command import run_cli, run_json
from support.own_data import frames, write_own, write_recipe
from support.random_networks import random_network

STEPS, COUNT = 5, 12
ENGINES = ["reference", *(["lava-fused", "lava"] if lava_available() else [])]
LENGTHS = np.array([1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 5, 2])


def network_of(decode: Decode) -> QuantizedNetwork:
    """A network whose output leaks and never spikes, or for ``spike_count`` spikes."""
    last = "LIF" if decode == "spike_count" else "LI"
    seed = 26 if decode == "spike_count" else 3
    found = random_network(seed, ("LIF", "LIF", last), ("conv2d", "dense"), "self_recurrent", 16)
    return replace(found, contract=replace(found.contract, decode=decode, steps=STEPS))


def samples(network: QuantizedNetwork) -> np.ndarray:
    """Input of every step, also of those after the ends."""
    (source,) = network.inputs
    payload = network.contract.input_code.payload
    shape = (COUNT, STEPS, *source.shape)
    return np.random.default_rng(8).integers(0, payload + 1, shape)


def alone(network: QuantizedNetwork, x: np.ndarray) -> list[int]:
    """The class of each sample cut at its end, where T is its length."""
    classes = []
    for sample, length in zip(x, LENGTHS, strict=True):
        short = replace(network, contract=replace(network.contract, steps=int(length)))
        classes += simulate_arrays(short, sample[None, :length]).classes.tolist()
    return classes


DECODES: tuple[Decode, ...] = ("last_v", "sum_v", "spike_count")
KEPT = {("lava", "sum_v"), ("lava-fused", "spike_count")}
"""Of Lava, whose answers are read as those of the reference are."""


@pytest.mark.parametrize(
    ("engine", "decode"),
    [
        pytest.param(
            *pair,
            marks=[] if pair[0] == "reference" or pair in KEPT else pytest.mark.slow,
        )
        for pair in product(ENGINES, DECODES)
    ],
)
def test_every_engine_reads_at_the_own_end(decode: Decode, engine: str) -> None:
    network = network_of(decode)
    x = samples(network)
    found = simulate_arrays(network, x, engine, batch_size=5, lengths=LENGTHS)
    expected = alone(network, x)
    assert found.classes.tolist() == expected
    # What comes after an end is silence, and would be read otherwise.
    silent = x.copy()
    for sample, length in zip(silent, LENGTHS, strict=True):
        sample[length:] = 0
    at_the_end = simulate_arrays(network, silent, engine).classes.tolist()
    np.testing.assert_array_equal(found["input"].s, silent)
    assert at_the_end != expected


@pytest.mark.lava
def test_engines_are_compared_at_the_own_ends() -> None:
    network = network_of("last_v")
    report = validate_arrays(network, samples(network), lengths=LENGTHS)
    assert (report.mismatches, report.agreeing_predictions, report.samples) == (0, COUNT, COUNT)
    assert report.predictions["lava"].predicted.tolist() == alone(network, samples(network))


def test_lengths_that_do_not_fit_are_refused() -> None:
    network = network_of("sum_v")
    x = samples(network)
    for wrong, message in (
        (LENGTHS[1:], r"expected \(12,\) integers"),
        (LENGTHS * 1.0, "float64"),
        (LENGTHS - 1, "goes from 0 to 4; samples have 1 to 5 steps"),
        (LENGTHS + 1, "goes from 2 to 6"),
    ):
        with pytest.raises(InputError, match=message):
            simulate_arrays(network, x, lengths=wrong)


def test_batches_carry_their_lengths() -> None:
    network = network_of("sum_v")
    x = samples(network)
    given = Samples(COUNT, lambda a, b: x[a:b], None, network.contract, "", True, lengths=LENGTHS)
    taken = [batch.lengths for batch, _ in ReferenceEngine(network).run(given.batches(5))]
    assert [part.tolist() for part in taken if part is not None] == [
        [1, 2, 3, 4, 5],
        [5, 4, 3, 2, 1],
        [5, 2],
    ]
    assert given.mean_steps == LENGTHS.mean()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on samples of 2 to 8 steps, and its deployment."""
    folder, arrays = tmp_path_factory.mktemp("own_ends"), dict[str, Any]()
    for part, count in (("train", 160), ("test", 80)):
        x, y = frames(count, 8, seed=count)
        lengths = np.random.default_rng(count).integers(2, 9, count)
        arrays |= {f"x_{part}": x, f"y_{part}": y, f"lengths_{part}": lengths}
    data, recipe = write_own(folder / "data.npz", **arrays), write_recipe(folder, "events", 8)
    assert run_cli("train", str(recipe), "--data", str(data), folder=folder).exit_code == 0
    assert run_cli("export", "--target", "loihi2", folder=folder).exit_code == 0
    return folder


def predicted(path: Path) -> list[str]:
    with path.open() as file:
        return [row["predicted"] for row in csv.DictReader(file)]


def test_a_deployment_reads_where_training_read(deployed: Path) -> None:
    (run,), (place,) = (
        [path for path in (deployed / folder).iterdir() if path.is_dir()]
        for folder in ("runs", "deployments")
    )
    found = run_json("simulate", str(place), "--engine", "float", folder=deployed)
    # The float engine and torch may round a tie apart, which is seldom.
    pairs = [
        *zip(
            predicted(run / "predictions.csv"),
            predicted(place / "results" / "float" / "predictions.csv"),
            strict=True,
        )
    ]
    assert sum(a == b for a, b in pairs) >= len(pairs) - 1
    assert found["accuracy"] > 0.8
    rates = found["firing_rates"]
    # The input is told by its own steps, not thinned by the silence behind them.
    with np.load(deployed / "data.npz") as arrays:
        x, lengths = arrays["x_test"], arrays["lengths_test"]
    own = sum(x[n, :last].sum() for n, last in enumerate(lengths))
    assert rates["input"] == pytest.approx(own / lengths.sum() / x[0, 0].size)
    if lava_available():
        result = run_cli("validate", str(place), "--samples", "12", folder=deployed)
        assert "MATCH: 0 mismatches" in result.output


def test_samples_of_a_file_are_read_at_their_own_ends(deployed: Path, tmp_path: Path) -> None:
    from neurodeploy.artifacts.deployment import read_deployment

    (place,) = (path for path in (deployed / "deployments").iterdir() if path.is_dir())
    network = read_deployment(place).network
    x, y = frames(20, 8, seed=3)
    lengths = np.random.default_rng(3).integers(1, 9, 20)
    np.savez(tmp_path / "mine.npz", x=x, y=y, lengths=lengths)
    found = file_samples(tmp_path / "mine.npz", network, 15)
    assert found.lengths is not None and found.lengths.tolist() == lengths[:15].tolist()
    assert "the class of each is read at its own end" in found.warnings[0]
    whole = simulate_arrays(network, x, lengths=lengths)
    said = run_json(
        "simulate",
        str(place),
        "--engine",
        "reference",
        "--data",
        str(tmp_path / "mine.npz"),
        folder=deployed,
    )
    assert said["predictions"]["predicted"] == whole.classes.tolist()


def test_learning_ends_with_each_sample(deployed: Path) -> None:
    arguments = ("--engine", "reference", "--samples", "12")
    found = run_json("learn", *arguments, "--out", "learnt", folder=deployed)
    read = run_json("simulate", "--engine", "reference", folder=deployed)
    assert found["updates"] == 12
    assert found["accuracies_before"]["test"] == pytest.approx(read["accuracy"])


def test_learning_with_traces(deployed: Path) -> None:
    refused = run_cli("learn", "--rule", "eprop", folder=deployed)
    assert refused.exit_code == 2 and not (deployed / "traced").exists()
    if not lava_available():
        return
    assert "rule eprop keeps a trace at each synapse" in refused.output
    assert "--engine lava-fused" in refused.output
    arguments = ("--rule", "eprop", "--engine", "lava-fused", "--samples", "6", "--out", "traced")
    found = run_json("learn", *arguments, folder=deployed)
    assert (found["mismatches"], found["updates"], found["rule"]) == (0, 6, "eprop")
    assert found["accuracy_ceiling"] is not None
    assert any(circuit["what"].startswith("traces of") for circuit in found["cost"]["circuits"])
