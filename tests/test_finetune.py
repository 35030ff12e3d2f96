"""Networks from elsewhere, trained further on a chip's integers by one command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from neurodeploy.artifacts.folders import read_recipe
from neurodeploy.data import Dataset, load_dataset
from neurodeploy.errors import InputError, SimulationError, UnsupportedError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.stated import Stated
from neurodeploy.nn.layers import Factors
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.quantization.aware import IntegerNetwork, learned_plan, trained_to_nir
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.files import sha256
from neurodeploy.target import load_target
from neurodeploy.training import epoch
from neurodeploy.training.assembly import network_of, quantization_aware, rule_of
from neurodeploy.training.run import train
from neurodeploy.workflow.exported import read_planned
from neurodeploy.workflow.quantization import QuantizationOptions, quantized
from support.command import run_cli, run_json
from support.finetune_networks import FRAMEWORKS, STEPS, made

LOIHI2 = load_target("loihi2")
LEVELS = 16


def spikes_of(
    model: SpikingNetwork, frames: torch.Tensor, steps: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes (N, T, ...) of every layer of neurons in evaluation, and sum_t o[t]."""
    seen: dict[str, list[np.ndarray]] = {}

    def note(name: str, _layer: nn.Module, _x: Any, s: torch.Tensor) -> None:
        seen.setdefault(name, []).append(s.detach().numpy())

    neurons = [name for name, layer in model.layers.items() if hasattr(layer, "lif")]
    hooks = [model.layers[n].register_forward_hook(partial(note, n)) for n in neurons]
    model.eval()
    model.reset_state()
    with torch.no_grad():
        total = torch.stack([model(frames) for _ in range(steps)]).sum(0)
    for hook in hooks:
        hook.remove()
    return {name: np.stack(values, 1) for name, values in seen.items()}, total.numpy()


def assert_is_deployed(
    model: IntegerNetwork, file: Path, samples: np.ndarray
) -> tuple[np.ndarray, float]:
    """Every spike of every population is that of ``reference`` on the integers of the file.

    Returns:
        Classes of the deployed network, and the mean rate of the compared neurons.
    """
    network, plan = read_planned(file, Stated())
    assert plan is not None
    integers = quantized(network, LOIHI2, QuantizationOptions(), plan)
    given, steps = samples.astype(np.int32), network.contract.steps
    frames = torch.from_numpy(samples).float() / network.contract.input_code.levels
    spikes, total = spikes_of(model, frames, steps)
    batches = Samples(len(given), lambda a, b: given[a:b], None, integers.contract, "given")
    ((_, trace),) = ReferenceEngine(integers).run(batches.batches(len(given)), state=True)
    assert {p.name for p in integers.populations if p.neuron is not None} == {*spikes}
    for name, found in spikes.items():
        np.testing.assert_array_equal(found, trace.populations[name].s, err_msg=name)
    counts = trace.populations[network.output].s.sum(1)
    np.testing.assert_array_equal(total, counts)
    return counts.argmax(1), float(np.mean([s.mean() for s in spikes.values()]))


# --- the four frameworks ---


def installed(framework: str) -> bool:
    return find_spec(framework) is not None and not (
        framework == "spikingjelly" and sys.version_info < (3, 11)
    )


CASES = [
    pytest.param(
        name,
        marks=[
            pytest.mark.skipif(not installed(name), reason=f"{name} is not installed"),
            *([] if name == "norse" else [pytest.mark.slow]),
        ],
    )
    for name in FRAMEWORKS
]


@pytest.mark.parametrize("framework", CASES)
def test_a_network_of_another_framework(framework: str, tmp_path: Path) -> None:
    """Trained by it, exported by it, fine-tuned to 4 bits by one command."""
    theirs = made(framework)
    file = tmp_path / "theirs.nir"
    write_nir(file, theirs.exported())
    dataset = load_dataset("digits")
    before = accuracy_in_floats(file, framework, theirs.options, dataset)
    command = ["train", "--init", "theirs.nir", *theirs.options, "--steps", str(STEPS)]
    command += ["--data", "digits", "--set", "quantize.bits=4", "--target", "loihi2", "--seed", "1"]
    result = run_json(*command, folder=tmp_path)
    run = tmp_path / result["run"]
    model = trained_model(run, dataset)
    assert all(
        p.bits == 4 for q in learned_plan(model).populations.values() for p in q.incoming.values()
    )
    classes, rate = assert_is_deployed(model, run / "network.nir", dataset.x_test[:])
    after = float((classes == dataset.y_test).mean())
    assert after == pytest.approx(result["test_accuracy"])
    assert 0.02 < rate < 0.6
    assert before > 0.9
    assert after >= before - 0.005, (before, after)


def accuracy_in_floats(
    file: Path, framework: str, stated: tuple[str, ...], dataset: Dataset
) -> float:
    """Of the network as imported, before any further training."""
    dt = float(stated[stated.index("--dt") + 1]) if "--dt" in stated else None
    name: Any = framework
    found = import_nir(file, framework=name, dt=dt, steps=STEPS, encoder="direct", levels=LEVELS)
    network = found.network
    (source,) = (p for p in network.populations if p.neuron is None)
    x = dataset.x_test[:].astype(np.int32).reshape(-1, *source.shape)
    samples = Samples(len(x), lambda a, b: x[a:b], None, network.contract, "digits")
    ((_, trace),) = FloatEngine(network).run(samples.batches(len(x)))
    counts = trace.populations[network.output].s.sum(1)
    return float((counts.argmax(1) == dataset.y_test).mean())


def trained_model(run: Path, dataset: Dataset) -> IntegerNetwork:
    """The module of a run with its best weights."""
    recipe = read_recipe(run)
    model = quantization_aware(
        network_of(recipe, dataset, run).float(), recipe, LEVELS, rule_of(recipe)
    )
    assert isinstance(model, IntegerNetwork)
    model.load_state_dict(safetensors.torch.load_file(run / "best.safetensors"))
    return model


# --- neurons of their own constants, and networks that end in neurons ---


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("comparison", [">", ">="])
@pytest.mark.parametrize("bits", [8, 4])
def test_thresholds_and_leaks_of_their_own_are_exact(
    reset: Any, comparison: Any, bits: int, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    one = torch.full((4, 1, 1), 0.3).uniform_(0.3, 0.9)
    each = torch.empty(5).uniform_(0.2, 0.95)
    options = (reset, comparison)
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, 4, 3, padding=1),
        "a": LIF.keeping(one, 0.7 + one, *options),
        "late": Factors(torch.full((1, 1, 1), -0.3)),
        "pool": nn.AvgPool2d(2),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(64, 5),
        "b": LIF.keeping(each, 0.4 + each, *options),
        "gains": Factors(torch.empty(5).uniform_(-0.5, -0.1)),
        "out": nn.Linear(5, 5),
        "c": LIF.keeping(1.0, 1.2, *options),
        "read": nn.Identity(),
    }
    sources = {
        "a": ("conv", "late"),
        "late": ("a",),
        "pool": ("a",),
        "b": ("fc", "gains"),
        "gains": ("b",),
        "out": ("b",),
        "c": ("out",),
    }
    with torch.no_grad():
        for layer in layers.values():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.weight.normal_(0.2, 0.6).mul_(3 / layer.weight[0].numel() ** 0.5)
    model = IntegerNetwork(SpikingNetwork(layers, (1, 8, 8), sources), LOIHI2, bits, LEVELS, 6)
    model.begin()
    with torch.no_grad():
        for receiver in model.receivers:
            model.grid(receiver).shift.uniform_(-0.4, 0.4)
    write_nir(tmp_path / "a.nir", trained_to_nir(model, InputCode("direct", LEVELS), 6))
    samples = np.random.default_rng(0).integers(0, LEVELS + 1, (7, 1, 8, 8)).astype(np.uint8)
    _, rate = assert_is_deployed(model, tmp_path / "a.nir", samples)
    assert 0.05 < rate < 0.95
    model.train()
    model.reset_state(cut=False)
    frames = torch.from_numpy(samples).float() / LEVELS
    torch.stack([model(frames) for _ in range(3)]).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


# --- the command ---


def small_file(folder: Path, classes: int = 10, inputs: int = 64) -> Path:
    """A network in NIR that says nothing of steps."""
    rng = np.random.default_rng(0)

    def lif(count: int) -> nir.LIF:
        ones = np.ones(count)
        return nir.LIF(4e-4 * ones, 4 * ones, 0 * ones, ones, 0 * ones)

    def affine(rows: int, columns: int) -> nir.Affine:
        weights = rng.normal(0, 2 / columns**0.5, (rows, columns))
        return nir.Affine(weights, np.full(rows, 0.05))

    nodes = {
        "input": nir.Input({"input": np.array([inputs])}),
        "first": affine(20, inputs),
        "lif.1": lif(20),
        "second": affine(classes, 20),
        "lif.2": lif(classes),
        "output": nir.Output({"output": np.array([classes])}),
    }
    names = [*nodes]
    write_nir(folder / "theirs.nir", nir.NIRGraph(nodes, list(pairwise(names))))
    return folder / "theirs.nir"


STATED = ("--dt", "1e-4", "--reset", "subtract", "--compare", "ge", "--integrator", "euler")
COMMAND = ("train", "--init", "theirs.nir", *STATED, "--steps", "3", "--data", "digits")
SHORT = ("--set", "training.epochs=2")


def test_the_run_keeps_the_file(tmp_path: Path) -> None:
    file = small_file(tmp_path)
    found = run_json(*COMMAND, *SHORT, folder=tmp_path)
    run = tmp_path / found["run"]
    assert found["run"] == "runs/finetune-001"
    recipe = read_recipe(run)
    assert recipe.network["family"] == str(file)
    assert recipe.network["sha256"] == sha256(file) == sha256(run / "start.nir")
    network, plan = read_planned(run / "network.nir", Stated())
    assert plan is None
    assert [p.name for p in network.populations] == ["input", "lif_1", "lif_2"]
    contract = network.contract
    assert (contract.steps, contract.decode, contract.dataset) == (3, "spike_count", "digits")
    # Read again without the original: from the copy.
    file.unlink()
    model = network_of(recipe, load_dataset("digits"), run)
    assert [*model.layers][-1] == "lif_2"


def test_resuming_needs_no_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = small_file(tmp_path)
    recipe = short_recipe(file)
    whole = train(recipe, tmp_path / "whole", progress=False)
    train_batch, calls = epoch._train_batch, 0

    def interrupt(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 30:
            raise KeyboardInterrupt
        return train_batch(*arguments)

    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(SimulationError, match="resume_run"):
        patch.setattr(epoch, "_train_batch", interrupt)
        train(recipe, run, progress=False)
    file.unlink()
    run_json("train", "--resume", "run", folder=tmp_path)
    for name in ("best.safetensors", "network.nir"):
        if name.endswith(".safetensors"):
            first, second = (
                safetensors.torch.load_file(folder / name) for folder in (run, whole.path)
            )
            assert all(torch.equal(first[key], second[key]) for key in first)


def short_recipe(file: Path, *overrides: str) -> Recipe:
    stated = 'dt = 1e-4, reset = "subtract", comparison = ">=", integrator = "euler"'
    return load_recipe(
        "finetune",
        (
            f"network={{family = {json.dumps(str(file))}, {stated}}}",
            "training.steps=3",
            "training.epochs=2",
            "training.threads=1",
            *overrides,
        ),
    )


def test_a_run_of_ours_says_what_it_was_made_for(tmp_path: Path) -> None:
    """Steps, encoder and data set stand in its contract."""
    small_file(tmp_path)
    run_json(*COMMAND, *SHORT, "--out", "first", folder=tmp_path)
    again = run_json(
        "train", "--init", "first/network.nir", *SHORT, "--out", "second", folder=tmp_path
    )
    recipe = read_recipe(tmp_path / again["run"])
    assert (recipe.training.steps, recipe.data.name) == (3, "digits")
    failed = run_cli(
        "train", "--init", "first/network.nir", "--steps", "4", *SHORT, folder=tmp_path
    )
    assert "training.steps = 3" in failed.output and "asks for 4" in failed.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--init", "theirs.nir", *STATED), "state --steps N"),
        (("--init", "theirs.nir", "--steps", "3"), "NIR does not say how it is stepped"),
        (("--init", "other.nir", "--steps", "3", "--from", "snntorch"), "other.nir"),
        (("--init", "theirs.net", "--steps", "3"), "holds integers"),
        (("--from", "snntorch"), "go with --init FILE.nir"),
        ((*COMMAND[1:], "--levels", "255"), "values of data set 'digits' go to 16"),
        (("--init", "theirs.nir", *STATED, "--steps", "3", "--data", "digit"), "digit"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    small_file(tmp_path)
    (tmp_path / "theirs.net").write_bytes(b"")
    failed = run_cli("train", *arguments, folder=tmp_path)
    assert failed.exit_code != 0
    assert message in " ".join(failed.output.split()), failed.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("classes", "inputs"), [(7, 64), (10, 63)])
def test_data_that_does_not_fit_is_refused(classes: int, inputs: int, tmp_path: Path) -> None:
    file = small_file(tmp_path, classes, inputs)
    expected = rf"theirs.nir takes samples of shape \({inputs},\) and has {classes} outputs; .*"
    with pytest.raises(InputError, match=expected + r"\(1, 8, 8\) in 10 classes"):
        network_of(short_recipe(file), load_dataset("digits"))


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    recipe = short_recipe(small_file(tmp_path))
    recipe = replace(recipe, network={**recipe.network, "sha256": "0" * 64})
    with pytest.raises(InputError, match="changed since it was first read"):
        network_of(recipe, load_dataset("digits"))


def test_unknown_options_of_a_file_are_refused(tmp_path: Path) -> None:
    recipe = short_recipe(small_file(tmp_path))
    with pytest.raises(InputError, match=r"'compare'.*comparison"):
        network_of(
            replace(recipe, network={**recipe.network, "compare": "ge"}), load_dataset("digits")
        )
    with pytest.raises(UnsupportedError, match="spike_count"):
        network_of(
            replace(recipe, network={**recipe.network, "decode": "last_v"}), load_dataset("digits")
        )
