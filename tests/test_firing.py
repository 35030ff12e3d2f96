"""Silent and overactive layers are counted rightly and named by every command that meets them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.api import quantize
from neurodeploy.data import load_dataset
from neurodeploy.data.dataset import encode
from neurodeploy.errors import CheckFailedError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.network import Network
from neurodeploy.nn.layers import Scale
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import EncoderRecipe, NeuronRecipe
from neurodeploy.reporting.parity import ParityComparison
from neurodeploy.reporting.text import parity_text
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.firing import firing_rates, firing_warnings
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.training import train
from neurodeploy.training.assembly import input_code, network_of, quantization_aware, rule_of
from neurodeploy.training.evaluate import evaluate
from neurodeploy.training.metrics import EpochMetrics
from neurodeploy.workflow.validate import check_strict
from support.command import run_cli, run_json
from support.random_networks import random_network
from support.small_runs import make_recipe

LOSS = InstantaneousLoss()


# --- the words ---


def test_silent_and_busy_layers_are_named() -> None:
    rates = {"input": 0.2, "lif1": 0.0, "lif2": 0.0, "lif3": 0.95, "lif4": 0.949}
    found = firing_warnings(rates, "8 samples")
    assert found[0].startswith("lif1 never spiked on 8 samples; lower its threshold")
    assert found[1] == "lif2 never spiked on 8 samples"  # of course: it is given nothing
    assert found[2].startswith("lif3 nearly always spiked on 8 samples, 95.0% of neurons")
    assert len(found) == 3


def test_an_input_of_zeros_is_the_reason_for_all_that_follows() -> None:
    found = firing_warnings({"x": 0.0, "lif1": 0.0}, "8 samples", ("x",))
    assert found[0] == "x is 0 throughout 8 samples; check the data and their levels"
    assert found[1] == "lif1 never spiked on 8 samples"


def test_a_graded_input_that_is_always_there_is_no_fault() -> None:
    assert firing_warnings({"input": 1.0, "lif1": 0.3}, "8 samples") == ()


# --- rates of a network in torch, against its outputs taken one by one ---


def counted_by_hook(model: SpikingNetwork, frames: list[torch.Tensor]) -> dict[str, float]:
    """Mean output of every neuron layer, seen from outside while steps run one by one."""
    seen: dict[str, list[torch.Tensor]] = {}

    def look(name: str) -> Any:
        return lambda module, given, output: seen.setdefault(name, []).append(output.clone())

    layers = {n: m for n, m in model.layers.items() if any(isinstance(p, LIF) for p in m.modules())}
    handles = [layer.register_forward_hook(look(name)) for name, layer in layers.items()]
    model.eval()
    model.reset_state()
    with torch.no_grad():
        for frame in frames:
            model(frame)
    for handle in handles:
        handle.remove()
    model.reset_state()
    return {name: torch.stack(spikes).double().mean().item() for name, spikes in seen.items()}


@pytest.mark.parametrize("encoder", ["direct", "rate"])
@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize(
    "network",
    [
        {"family": "mlp", "hidden": [24, 16], "batch_norm": True},
        {"family": "conv", "channels": [4, 6]},
    ],
    ids=["mlp", "conv"],
)
def test_rates_are_those_of_the_outputs(network: dict[str, Any], bits: int, encoder: Any) -> None:
    recipe = make_recipe(network=network, encoder=EncoderRecipe(encoder))
    recipe = replace(recipe, quantize=replace(recipe.quantize, bits=bits, first_epoch=1))
    dataset = load_dataset("digits")
    torch.manual_seed(1)
    code = input_code(recipe, dataset)
    model = network_of(recipe, dataset)
    model = quantization_aware(model, recipe, code.payload, rule_of(recipe))
    if bits:
        model.begin()  # type: ignore[operator]
    x, steps = dataset.x_test[:40], recipe.training.steps
    found = evaluate(model, x, dataset.y_test[:40], code, steps, LOSS).firing_rates
    values = encode(x, code, steps, 0, 0)
    over_time = values.ndim > x.ndim
    shown = [values[:, t] if over_time else values for t in range(steps)]
    frames = [torch.from_numpy(v.astype(np.float32) / code.payload) for v in shown]
    expected = counted_by_hook(model, frames)
    assert {*found} == {"input", *expected}
    assert found["input"] == pytest.approx(np.mean([(f != 0).double().mean() for f in frames]))
    for name, rate in expected.items():
        assert found[name] == pytest.approx(rate, abs=1e-12), name
    assert max(expected.values()) > 0


def test_factors_behind_a_layer_are_not_spikes() -> None:
    layers = {"fc1": nn.Linear(4, 3), "lif1": LIF(2.0), "x": Scale(2.74), "fc": nn.Linear(3, 2)}
    with torch.no_grad():
        layers["fc1"].weight.fill_(10)
        layers["fc1"].bias.fill_(1)
    model = SpikingNetwork(layers, (4,))
    x = np.ones((5, 4), np.uint8)
    found = evaluate(model, x, np.zeros(5, int), InputCode("direct", 1), 3, LOSS)
    assert found.firing_rates == {"input": 1.0, "lif1": 1.0}
    metrics = EpochMetrics(7, 1, 0, 1, 0, 0.1, 1, found.firing_rates)
    assert [w.split(",")[0] for w in metrics.warnings] == [
        "lif1 nearly always spiked on the validation samples of epoch 7"
    ]


def test_nobody_looks_on_after_an_evaluation() -> None:
    model = SpikingNetwork({"lif1": LIF(2.0), "fc": nn.Linear(4, 2)}, (4,))
    code = InputCode("direct", 1)
    evaluate(model, np.ones((5, 4), np.uint8), np.zeros(5, int), code, 3, LOSS)
    assert model.watch is None


# --- rates of a deployed network, against its spikes ---


def traces(network: Any, x: np.ndarray) -> Any:
    floats = isinstance(network, Network)
    engine = FloatEngine(network) if floats else ReferenceEngine(network)
    ((_, trace),) = engine.run([SampleBatch(0, x, static=False)], state=True)
    return trace


def test_rates_from_activity() -> None:
    network = random_network(3, ("CubaLIF", "LIF", "LI"), ("conv2d", "dense"), "chain", 16)
    steps = network.contract.steps
    shape = network.populations[0].shape
    x = np.random.default_rng(0).integers(0, 3, (6, steps, *shape)).astype(np.int32)
    trace = traces(network, x)
    activity = {n: (r.s != 0).sum((0, 1)) / 6 for n, r in trace.populations.items()}
    found = firing_rates(network, activity)
    spiking = [p.name for p in network.populations if p.neuron is None or p.neuron.spiking]
    assert [*found] == spiking
    for name in spiking:
        assert found[name] == pytest.approx((trace.populations[name].s != 0).mean())


# --- a parity of silence ---


def two_layers(threshold: float) -> Network:
    """in (3) -> lif (4) -> readout (2)."""
    from neurodeploy.ir.network import Neuron, Population, Projection
    from neurodeploy.ir.operators import Dense

    rng = np.random.default_rng(0)

    def neuron(v_threshold: np.ndarray | None) -> Neuron:
        keep = np.full(1, 0.5)
        return Neuron("LIF", np.zeros(1), keep, np.zeros(1), v_threshold, "subtract", ">")

    populations = (
        Population("in", (3,), None),
        Population("lif", (4,), neuron(np.full(1, threshold))),
        Population("readout", (2,), neuron(None)),
    )
    projections = (
        Projection("a", "in", "lif", Dense(rng.uniform(0.2, 1, (4, 3)), (3,), (4,))),
        Projection("b", "lif", "readout", Dense(rng.normal(0, 1, (2, 4)), (4,), (2,))),
    )
    contract = Contract(Semantics(1e-3, "subtract", ">"), InputCode("events"), 6, "sum_v")
    return Network("net", populations, projections, "readout", contract)


def compared(network: Any, x: np.ndarray, other: Any = None) -> Any:
    comparison = ParityComparison(network, ("one", "two"), exact=other is None)
    comparison.add(traces(network, x), traces(other or network, x), None)
    return comparison.report


def events(count: int = 5) -> np.ndarray:
    return (np.random.default_rng(1).random((count, 6, 3)) < 0.5).astype(np.uint8)


def test_a_match_of_silence_is_called_that() -> None:
    report = compared(quantize(two_layers(100.0), "loihi2"), events())
    assert (report.mismatches, report.silent) == (0, True)
    assert report.warnings[0].startswith("lif never spiked on the 5 samples; lower its threshold")
    text = parity_text(report)
    assert "MATCH of silence: 0 mismatches, but no neuron spiked in either engine" in text
    table = json.loads(json.dumps(report.as_dict()))
    assert table["silent"] is True
    assert table["warnings"] == list(report.warnings)
    with pytest.raises(
        CheckFailedError, match="on 5 samples, lif never spiked; populations behind"
    ):
        check_strict(report)


def test_a_match_of_spikes_is_one() -> None:
    report = compared(quantize(two_layers(0.7), "loihi2"), events())
    assert report.populations[1].spikes[0] == report.populations[1].spikes[1] > 0
    assert (report.mismatches, report.silent, report.warnings) == (0, False, ())
    assert "\nMATCH: 0 mismatches" in parity_text(report)
    check_strict(report)


def test_an_input_of_zeros_fails_strictly() -> None:
    report = compared(quantize(two_layers(0.7), "loihi2"), np.zeros((2, 6, 3), np.uint8))
    assert report.warnings[0] == "in is 0 throughout the 2 samples; check the data and their levels"
    with pytest.raises(CheckFailedError, match="in is 0, lif never spiked"):
        check_strict(report)


def test_spikes_in_one_engine_alone_are_no_silence() -> None:
    report = compared(quantize(two_layers(0.7), "loihi2"), events(), two_layers(100.0))
    assert not report.silent
    assert report.mismatches > 0


# --- every command ---


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose neurons have a threshold out of reach, and its deployment."""
    folder = tmp_path_factory.mktemp("dead")
    recipe = make_recipe(
        neuron=NeuronRecipe(2.0, v_threshold=1000.0),
        network={"family": "mlp", "hidden": [24]},
        training={"epochs": 2, "threads": 1},
    )
    result = train(recipe, folder / "run", progress=False)
    assert result.warnings[0].startswith("lif1 never spiked on the validation samples of epoch ")
    return folder


def test_a_dead_network_is_told_of_from_training_to_validation(dead: Path) -> None:
    rows = [json.loads(line) for line in (dead / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["firing_rates"]["lif1"] for row in rows] == [0, 0]
    assert all(0 < row["firing_rates"]["input"] < 1 for row in rows)
    assert "lif1 never spiked" in json.loads((dead / "run/run.json").read_text())["warnings"][0]
    exported = run_json("export", "run", "--target", "loihi2", "--out", "d", folder=dead)
    in_training, in_calibration = exported["warnings"]
    assert in_training.startswith("lif1 never spiked on the validation samples of epoch ")
    assert in_calibration.startswith("lif1 never spiked on the 128 samples of the calibration")
    again = run_cli("export", "run", "--target", "loihi2", "--out", "e", folder=dead).stdout
    assert again.count("Warning: lif1 never spiked") == 2
    assert "Note: warning" not in again
    found = run_json("simulate", "d", "--engine", "reference", folder=dead)
    assert found["firing_rates"]["lif1"] == 0
    assert found["warnings"][0].startswith("lif1 never spiked on 360 samples (digits test set);")
    assert "readout" not in found["firing_rates"]
    said = run_cli("simulate", "d", "--engine", "reference", folder=dead).stdout
    assert "Warning: lif1 never spiked on 360 samples (digits test set)" in said
    pair = ("validate", "d", "--engines", "reference,float", "--samples", "8")
    report = run_json(*pair, folder=dead)
    assert report["silent"]
    assert "lif1 never spiked on the 8 samples" in report["warnings"][0]
    strict = run_cli(*pair, "--strict", folder=dead)
    assert strict.exit_code == 1
    assert "--strict: on 8 samples, lif1 never spiked" in strict.stderr
    page = (dead / "d/report.html").read_text()
    for words in (
        "lif1 never spiked on the validation samples of epoch",
        "lif1 never spiked on the 128 samples of the calibration",
        "lif1 never spiked on 360 samples (digits test set)",
        "lif1 never spiked on the 8 samples",
    ):
        assert page.count(words) == 1, words


def test_an_early_word_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe = make_recipe(
        neuron=NeuronRecipe(2.0, v_threshold=1000.0),
        network={"family": "mlp", "hidden": [24, 16]},
        training={"epochs": 3, "threads": 1},
    )
    train(recipe, tmp_path / "run")
    said = capfd.readouterr().err
    assert said.count("lif1 never spiked on the validation samples of epoch 1;") == 1
    assert said.count("never spiked") == 2, "once for each layer, and not again"


def test_a_healthy_run_has_rates_and_no_warning(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(make_recipe(training={"epochs": 2}), tmp_path / "run", progress=False)
    assert result.warnings == ()
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    log = EventAccumulator(str(tmp_path / "run/tensorboard"))
    log.Reload()
    for name in ("input", "lif1"):
        logged = [event.value for event in log.Scalars(f"firing_rate/{name}")]
        assert logged == pytest.approx([row["firing_rates"][name] for row in rows])
        assert all(0 < value < 1 for value in logged)
