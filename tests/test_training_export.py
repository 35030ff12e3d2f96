"""Exported networks compute what the trained ones do: NIR's equations, run by other hands."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.contract import EXPORT_DT, METADATA_KEY, Comparison, Contract, Reset
from neurodeploy.data import Dataset
from neurodeploy.errors import UnsupportedError
from neurodeploy.recipe import DataRecipe, EncoderRecipe, NeuronRecipe, Recipe, TrainingRecipe
from neurodeploy.training.export import to_nir
from neurodeploy.training.networks import SpikingNetwork, build_network
from neurodeploy.training.neuron import LIF

STEPS, SAMPLES, SHAPE, CLASSES = 6, 4, (2, 8, 8), 5

NETWORKS = {
    "conv": {"family": "conv", "channels": [4, 6], "strides": [1, 2]},
    "conv_bn_pool": {
        "family": "conv",
        "channels": [4, 6],
        "strides": [1, 1],
        "pool": [2, 3],
        "batch_norm": True,
    },
    "conv_kernel5": {"family": "conv", "channels": [3], "strides": [2], "kernel": 5},
    "mlp": {"family": "mlp", "hidden": [20, 16]},
    "mlp_bn": {"family": "mlp", "hidden": [20, 16], "batch_norm": True},
}


def make_dataset() -> Dataset:
    """Only shapes, levels and the number of classes matter here."""
    samples, labels = np.zeros((CLASSES, *SHAPE), np.uint8), np.arange(CLASSES)
    return Dataset("made_up", 16, samples, labels, samples, labels)


def make_recipe(
    network: str = "conv",
    tau: float = 2.0,
    reset: Reset = "subtract",
    comparison: Comparison = ">=",
    encoder: EncoderRecipe | None = None,
) -> Recipe:
    return Recipe(
        name=network,
        description="for tests",
        data=DataRecipe("made_up"),
        neuron=NeuronRecipe(tau, v_threshold=0.7, reset=reset, comparison=comparison),
        training=TrainingRecipe(steps=STEPS, epochs=1, batch_size=4, learning_rate=0.1),
        network=NETWORKS[network],
        encoder=encoder or EncoderRecipe(),
    )


def make_model(recipe: Recipe, seed: int = 0) -> SpikingNetwork:
    """A float64 network in evaluation mode that spikes a lot, with statistics in its norms."""
    torch.manual_seed(seed)
    model = build_network(recipe, make_dataset()).double().eval()
    with torch.no_grad():
        for layer in model.layers.values():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # Excitation and inhibition that make a good part of the neurons fire.
                fan_in = layer.weight[0].numel()
                layer.weight.normal_(1 / fan_in, 1.5 / math.sqrt(fan_in))
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (layer.running_mean, layer.bias):
                    assert values is not None
                    values.uniform_(-0.2, 0.3)
                for values in (layer.running_var, layer.weight):
                    assert values is not None
                    values.uniform_(0.5, 1.5)
    return model


def make_frames(seed: int = 3) -> np.ndarray:
    """Input (T, N, *sample) as integer/levels, different at each step."""
    integers = np.random.default_rng(seed).integers(0, 17, (STEPS, SAMPLES, *SHAPE))
    return integers / 16


def torch_trace(model: SpikingNetwork, frames: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer gives at every step, (T, N, ...), and sum_t o[t] so far as "readout".

    Asserts that no membrane is so near its threshold that rounding could decide.
    """
    trace: dict[str, list[np.ndarray]] = {name: [] for name in (*model.layers, "readout")}
    total = np.zeros((SAMPLES, CLASSES))
    model.reset_state()
    with torch.no_grad():
        for frame in frames:
            x = torch.from_numpy(frame)
            for name, layer in model.layers.items():
                if isinstance(layer, LIF):
                    before = torch.zeros(()) if layer.v is None else layer.v
                    u = (1 - 1 / layer.recipe.tau) * before + x
                    assert (u - layer.recipe.v_threshold).abs().min() > 1e-9
                x = layer(x)
                trace[name].append(x.numpy())
            total = total + x.numpy()
            trace["readout"].append(total)
    return {name: np.stack(values) for name, values in trace.items()}


def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Every kernel-sized patch of (N, C, H, W), as (N, C, H', W', kernel, kernel)."""
    patches = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(2, 3))
    return patches[:, :, ::stride, ::stride]


def nir_trace(path: Path, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Run a NIR file in plain numpy: Euler steps of NIR's equations, as its contract says.

    Gives what every node sends at every step, (T, N, ...); for an integrator that is its v.
    """
    graph = nir.read(path, type_check=True)
    contract = Contract.from_metadata(graph.metadata[METADATA_KEY], str(path))
    semantics = contract.semantics
    after = dict(graph.edges)
    v = {name: np.zeros(()) for name in graph.nodes}
    trace: dict[str, list[np.ndarray]] = {name: [] for name in graph.nodes}
    for frame in frames:
        name, x = "input", frame
        while name in after:
            name = after[name]
            node = graph.nodes[name]
            if isinstance(node, nir.Conv2d):
                (pad, _), (stride, _) = node.padding, node.stride
                x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
                patches = windows(x, node.weight.shape[2], stride)
                x = np.einsum("ncxyhw,dchw->ndxy", patches, node.weight)
                x = x + node.bias[:, None, None]
            elif isinstance(node, nir.AvgPool2d):
                assert not np.any(node.padding)
                x = windows(x, int(node.kernel_size[0]), int(node.stride[0])).mean((4, 5))
            elif isinstance(node, nir.Flatten):
                assert (node.start_dim, node.end_dim) == (0, -1)
                x = x.reshape(len(x), -1)
            elif isinstance(node, nir.Affine):
                x = x @ node.weight.T + node.bias
            elif isinstance(node, nir.LIF):
                u = v[name] + semantics.dt / node.tau * (node.v_leak - v[name] + node.r * x)
                over = u > node.v_threshold
                fires = over | (u == node.v_threshold) if semantics.comparison == ">=" else over
                lowered = u - node.v_threshold if semantics.reset == "subtract" else node.v_reset
                v[name] = np.where(fires, lowered, u)
                x = fires.astype(np.float64)
            elif isinstance(node, nir.I):
                v[name] = x = v[name] + semantics.dt * node.r * x
            else:
                assert isinstance(node, nir.Output)
            trace[name].append(x)
    return {name: np.stack(values) for name, values in trace.items() if values}


def write(recipe: Recipe, model: SpikingNetwork, folder: Path) -> Path:
    path = folder / "network.nir"
    nir.write(path, to_nir(model, recipe, make_dataset()))
    return path


def assert_busy(trace: dict[str, np.ndarray], layers: list[str]) -> None:
    """A silent or saturated layer would make equality cheap."""
    for name in layers:
        assert 0.05 < trace[name].mean() < 0.95, name


def check_equal(recipe: Recipe, folder: Path) -> None:
    """The file, run in numpy, spikes as the torch module does, and integrates its output."""
    model, frames = make_model(recipe), make_frames()
    expected = torch_trace(model, frames)
    found = nir_trace(write(recipe, model, folder), frames)
    spiking = [name for name, layer in model.layers.items() if isinstance(layer, LIF)]
    assert_busy(expected, spiking)
    for name in spiking:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    np.testing.assert_allclose(found["readout"], expected["readout"], rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(found["output"], found["readout"])


@pytest.mark.parametrize("network", NETWORKS)
def test_every_family_runs_from_its_file_as_in_torch(network: str, tmp_path: Path) -> None:
    check_equal(make_recipe(network), tmp_path)


@pytest.mark.parametrize("tau", [1.1, 3.0])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("comparison", [">=", ">"])
def test_every_neuron_option_runs_from_its_file_as_in_torch(
    tau: float, reset: Reset, comparison: Comparison, tmp_path: Path
) -> None:
    check_equal(make_recipe("conv_bn_pool", tau, reset, comparison), tmp_path)


@pytest.mark.parametrize("network", ["conv_bn_pool", "mlp"])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.filterwarnings("ignore")  # norse's own, while it is imported
def test_norse_neurons_run_the_file_as_torch_does(
    network: str, reset: Reset, tmp_path: Path
) -> None:
    """LIFBox integrates dt tau_mem_inv (x + v_leak - v): NIR's r goes into its input."""
    pytest.importorskip("norse.torch", exc_type=ImportError)
    from norse.torch.functional.lif_box import (
        LIFBoxFeedForwardState,
        LIFBoxParameters,
        lif_box_feed_forward_step,
    )
    from norse.torch.functional.reset import reset_subtract, reset_value

    recipe = make_recipe(network, tau=1.5, reset=reset, comparison=">")
    model, frames = make_model(recipe), make_frames()
    expected = torch_trace(model, frames)
    assert_busy(expected, ["lif1", "lif2"])
    graph = nir.read(write(recipe, model, tmp_path))
    for index, (name, layer) in enumerate(model.layers.items()):
        if not isinstance(layer, LIF):
            continue
        node = graph.nodes[name]
        assert isinstance(node, nir.LIF)
        parameters = LIFBoxParameters(
            tau_mem_inv=torch.from_numpy(1 / node.tau),
            v_leak=torch.from_numpy(node.v_leak),
            v_th=torch.from_numpy(node.v_threshold),
            v_reset=torch.from_numpy(node.v_reset),
            reset_method=reset_subtract if reset == "subtract" else reset_value,
        )
        state = LIFBoxFeedForwardState(v=torch.zeros(SAMPLES, *node.tau.shape).double())
        drive = expected[list(model.layers)[index - 1]]
        for t in range(STEPS):
            x = torch.from_numpy(drive[t] * node.r)
            spikes, state = lif_box_feed_forward_step(x, state, parameters, dt=EXPORT_DT)
            np.testing.assert_array_equal(spikes.numpy(), expected[name][t], err_msg=name)


def test_nodes_and_edges_have_stable_names() -> None:
    recipe = make_recipe("conv_bn_pool")
    graph = to_nir(make_model(recipe), recipe, make_dataset())
    names = list(graph.nodes)
    expected = "input conv1 lif1 pool1 conv2 lif2 pool2 flatten fc readout output"
    assert " ".join(names) == expected
    assert graph.edges == list(itertools.pairwise(names))
    recipe = make_recipe("mlp")
    graph = to_nir(make_model(recipe), recipe, make_dataset())
    assert " ".join(graph.nodes) == "input flatten fc1 lif1 fc2 lif2 fc readout output"


def test_parameters_are_full_float64_arrays_with_explicit_biases() -> None:
    recipe = make_recipe("conv_bn_pool", tau=1.1)
    graph = to_nir(make_model(recipe), recipe, make_dataset())
    conv, lif, readout = (graph.nodes[name] for name in ("conv2", "lif1", "readout"))
    assert conv.weight.shape == (6, 4, 3, 3)
    assert conv.bias.shape == (6,)
    assert tuple(conv.input_shape) == (4, 4)
    for name, value in {
        "tau": 1.1e-4,
        "r": 1.1,
        "v_leak": 0,
        "v_threshold": 0.7,
        "v_reset": 0,
    }.items():
        array = getattr(lif, name)
        assert array.shape == (4, 8, 8)
        np.testing.assert_allclose(array, value, rtol=1e-15)
    np.testing.assert_array_equal(readout.r, np.full(CLASSES, 1e4))
    for array in (conv.weight, conv.bias, lif.tau, lif.r, readout.r, graph.nodes["fc"].bias):
        assert array.dtype == np.float64


def test_a_layer_without_bias_gets_a_zero_one() -> None:
    recipe = make_recipe("mlp")
    model = make_model(recipe)
    layer = model.layers["fc1"]
    assert isinstance(layer, nn.Linear)
    layer.bias = None
    graph = to_nir(model, recipe, make_dataset())
    np.testing.assert_array_equal(graph.nodes["fc1"].bias, np.zeros(20))


@pytest.mark.parametrize("encoder", ["direct", "rate"])
def test_contract_survives_the_file(encoder: str, tmp_path: Path) -> None:
    recipe = make_recipe("mlp", reset="zero", comparison=">", encoder=EncoderRecipe(encoder))  # type: ignore[arg-type]
    graph = nir.read(write(recipe, make_model(recipe), tmp_path))
    contract = Contract.from_metadata(graph.metadata[METADATA_KEY], "file")
    assert contract.semantics.dt == EXPORT_DT
    assert (contract.semantics.reset, contract.semantics.comparison) == ("zero", ">")
    assert contract.semantics.integrator == "euler"
    assert (contract.input_code.encoder, contract.input_code.levels) == (encoder, 16)
    assert (contract.steps, contract.decode, contract.dataset) == (STEPS, "last_v", "made_up")


def test_export_leaves_the_model_as_it_was_and_shares_nothing_with_it() -> None:
    recipe = make_recipe("conv")
    model = make_model(recipe).train()
    graph = to_nir(model, recipe, make_dataset())
    assert model.training
    kept = graph.nodes["fc"].weight.copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(graph.nodes["fc"].weight, kept)


def test_single_precision_weights_are_written_exactly() -> None:
    recipe = make_recipe("mlp")
    model = make_model(recipe).float()
    graph = to_nir(model, recipe, make_dataset())
    layer = model.layers["fc1"]
    assert isinstance(layer, nn.Linear)
    np.testing.assert_array_equal(
        graph.nodes["fc1"].weight, layer.weight.detach().numpy().astype(np.float64)
    )


def test_layers_without_counterpart_are_refused_by_name() -> None:
    recipe = make_recipe("mlp")
    model = make_model(recipe)
    layers = {**dict(model.layers.items()), "squash": nn.Tanh()}
    with pytest.raises(UnsupportedError, match="layer 'squash': Tanh has no counterpart in NIR"):
        to_nir(SpikingNetwork(layers, SHAPE), recipe, make_dataset())
