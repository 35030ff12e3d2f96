"""Exported networks compute what the trained ones do: NIR's equations, run by other hands."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir.network_out import network_to_nir as write_network
from neurodeploy.ir.contract import EXPORT_DT, METADATA_KEY, Comparison, Contract, Reset
from neurodeploy.nn.families import FAMILIES, SpikingNetwork
from neurodeploy.nn.layers import Scale, WSConv2d
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import EncoderRecipe, NeuronRecipe, Recipe, TrainingRecipe
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.training.assembly import graph_of
from support.exported_networks import (
    CLASSES,
    NETWORKS,
    SAMPLES,
    SHAPE,
    STEPS,
    make_dataset,
    make_model,
    make_recipe,
)
from support.narrow import node_of

FAMILY_NETWORKS = {
    "conv": (SHAPE, NETWORKS["conv_bn_pool"]),
    "mlp": (SHAPE, NETWORKS["mlp_bn"]),
    "recurrent": (SHAPE, {"family": "recurrent", "hidden": [20, 16]}),
    "resnet18": ((3, 8, 8), {"family": "resnet18", "dropout": 0.1}),
    "vgg11": ((2, 48, 48), {"family": "vgg11", "dropout": 0.3}),
    "vgg11_ws": ((2, 24, 16), {"family": "vgg11_ws", "grid": 2}),
    "nf_resnet": ((2, 32, 32), {"family": "nf_resnet"}),
}
"""A sample shape and options for every family."""

SLOW = {
    "vgg11_ws_cifar": ((3, 32, 32), {"family": "vgg11_ws"}),
    "vgg11_wide": ((2, 64, 96), {"family": "vgg11"}),
    "resnet18_cifar": ((3, 32, 32), {"family": "resnet18"}),
    "nf_resnet50": ((3, 32, 32), {"family": "nf_resnet", "depth": 50}),
    "nf_resnet101": ((3, 32, 32), {"family": "nf_resnet", "depth": 101}),
}


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
                    u = (1 - 1 / layer.tau) * before + x
                    assert (u - layer.v_threshold).abs().min() > 1e-9
                x = layer(x)
                trace[name].append(x.numpy())
            total = total + x.numpy()
            trace["readout"].append(total)
    return {name: np.stack(values) for name, values in trace.items()}


def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Every kernel-sized patch of (N, C, H, W), as (N, C, H', W', kernel, kernel)."""
    over: Any = np.lib.stride_tricks.sliding_window_view  # its type knows one axis only
    patches = over(x, (kernel, kernel), axis=(2, 3))
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
            node: Any = graph.nodes[name]
            if isinstance(node, nir.Conv2d):
                pad, stride = (int(np.ravel(n)[0]) for n in (node.padding, node.stride))
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
                assert lowered is not None
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
    nir.write(path, graph_of(model, recipe, make_dataset()))
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
def test_every_chain_runs_from_its_file_as_in_torch(network: str, tmp_path: Path) -> None:
    check_equal(make_recipe(network), tmp_path)


def hooked_trace(model: SpikingNetwork, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes of every LIF layer, (T, N, ...), and sum_t o[t] at the end as "readout".

    Asserts that no membrane is so near its threshold that rounding could decide.
    """
    trace: dict[str, list[np.ndarray]] = {}

    def before(layer: LIF, arguments: tuple[torch.Tensor, ...]) -> None:
        v = torch.zeros(()) if layer.v is None else layer.v
        u = (1 - 1 / layer.tau) * v + arguments[0]
        assert (u - layer.v_threshold).abs().min() > 1e-9

    hooks = []
    for name, layer in model.layers.items():
        if isinstance(layer, LIF):
            trace[name] = []

            def after(_: object, __: object, spikes: torch.Tensor, name: str = name) -> None:
                trace[name].append(spikes.numpy())

            hooks.append(layer.register_forward_pre_hook(before))
            hooks.append(layer.register_forward_hook(after))
    model.reset_state()
    with torch.no_grad():
        total = sum(model(torch.from_numpy(frame)) for frame in frames)
    for hook in hooks:
        hook.remove()
    assert isinstance(total, torch.Tensor)
    return {**{name: np.stack(values) for name, values in trace.items()}, "readout": total.numpy()}


def check_round_trip(shape: tuple[int, ...], network: dict, folder: Path) -> None:
    """Torch -> NIR file -> ``to_network`` -> ``FloatEngine``: the same spikes at every step."""
    recipe = replace(
        make_recipe(),
        network=network,
        training=TrainingRecipe(steps=3, epochs=1, batch_size=4, learning_rate=0.1),
    )
    integers = np.random.default_rng(3).integers(0, 17, (2, 3, *shape)).astype(np.int32)
    model = make_model(recipe, shape=shape)
    expected = hooked_trace(model, np.swapaxes(integers, 0, 1) / 16)
    path = folder / "network.nir"
    # Uncompressed, because compressing random numbers takes longer than the rest of the test.
    nir.write(path, graph_of(model, recipe, make_dataset(shape)), compression=None)  # pyright: ignore[reportArgumentType]
    nir.read(path, type_check=True)
    graph = read_nir(path)
    contract = contract_of(graph, "file")
    assert contract is not None
    _, found = next(
        FloatEngine(to_network(graph, contract, "net")).run(
            [SampleBatch(0, integers, static=False)]
        )
    )
    readout = expected.pop("readout")
    assert {p for p in found.populations if p not in ("input", "readout")} == set(expected)
    for name, spikes in expected.items():
        np.testing.assert_array_equal(
            np.swapaxes(found.populations[name].s, 0, 1), spikes, err_msg=name
        )
    v = found.populations["readout"].v
    assert v is not None
    np.testing.assert_allclose(v[:, -1], readout, rtol=1e-9, atol=1e-11)
    assert_busy(expected, list(expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_survives_the_file_and_the_import(family: str, tmp_path: Path) -> None:
    shape, options = FAMILY_NETWORKS[family]
    check_round_trip(shape, options, tmp_path)


@pytest.mark.parametrize("network", ["conv", "conv_kernel5", "mlp", "mlp_bn"])
@pytest.mark.parametrize("tau", [1.1, 3.0])
def test_it_is_written_again_array_by_array_after_the_import(network: str, tau: float) -> None:
    """NIR -> ``Network`` -> NIR by ``network_out``: not a bit of what ``train`` wrote changes."""
    recipe = make_recipe(network, tau=tau)
    graph = graph_of(make_model(recipe), recipe, make_dataset())
    contract = contract_of(graph, "graph")
    assert contract is not None
    again = write_network(to_network(graph, contract, "net"))
    assert contract_of(again, "again") == contract
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Flatten):
            continue  # which has no arrays, and another name
        assert type(again.nodes[name]) is type(node)
        for field in ("weight", "bias", "tau", "r", "v_leak", "v_threshold", "v_reset"):
            if hasattr(node, field):
                found = getattr(again.nodes[name], field)
                np.testing.assert_array_equal(found, getattr(node, field), f"{name} {field}")


@pytest.mark.slow
@pytest.mark.parametrize("network", SLOW)
def test_larger_networks_survive_the_file_and_the_import(network: str, tmp_path: Path) -> None:
    shape, options = SLOW[network]
    check_round_trip(shape, options, tmp_path)


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
    graph = graph_of(make_model(recipe), recipe, make_dataset())
    names = list(graph.nodes)
    expected = "input conv1 lif1 pool1 conv2 lif2 pool2 flatten fc readout output"
    assert " ".join(names) == expected
    assert graph.edges == list(itertools.pairwise(names))
    recipe = make_recipe("mlp")
    graph = graph_of(make_model(recipe), recipe, make_dataset())
    assert " ".join(graph.nodes) == "input flatten fc1 lif1 fc2 lif2 fc readout output"


def exported(family: str) -> nir.NIRGraph:
    shape, network = FAMILY_NETWORKS[family]
    recipe = replace(make_recipe(), network=network)
    return graph_of(make_model(recipe, shape=shape), recipe, make_dataset(shape))


def into(graph: nir.NIRGraph, name: str) -> set[str]:
    return {source for source, target in graph.edges if target == name}


def test_shortcuts_are_edges_and_their_norm_is_a_scale() -> None:
    graph = exported("resnet18")
    assert into(graph, "block1_1_lif1") == {"conv"}
    assert into(graph, "block1_2_lif1") == {"block1_1_conv2", "block1_2_bn1"}
    assert into(graph, "block1_2_bn1") == {"block1_1_lif1"}
    assert into(graph, "block2_2_lif1") == {"block2_1_conv2", "block2_1_shortcut"}
    assert into(graph, "block2_1_shortcut") == into(graph, "block2_1_conv1") == {"block2_1_lif1"}
    assert into(graph, "block2_1_conv2") == {"block2_1_lif2"}
    scales = {name for name, node in graph.nodes.items() if isinstance(node, nir.Scale)}
    assert scales == {"block1_2_bn1", "block2_1_bn1", "block3_1_bn1", "block4_1_bn1", "bn"}


def test_constant_factors_go_into_weights_and_only_beta_stays() -> None:
    assert not any(isinstance(node, nir.Scale) for node in exported("vgg11_ws").nodes.values())
    graph = exported("nf_resnet")
    scales = {name for name, node in graph.nodes.items() if isinstance(node, nir.Scale)}
    assert len(scales) == 15
    assert all(name.endswith("_beta") for name in scales)
    assert into(graph, "block1_3_beta") == {"pool", "block1_1_conv2", "block1_2_conv2"}
    assert into(graph, "block2_2_beta") == {"block2_1_shortcut", "block2_1_conv2"}
    np.testing.assert_allclose(node_of(graph, "block1_3_beta").scale, 1.08**-0.5)
    assert node_of(graph, "block1_3_beta").scale.shape == (64, 8, 8)


def test_recurrence_is_a_cycle() -> None:
    graph = exported("recurrent")
    assert into(graph, "lif1") == {"fc1", "rec1"}
    assert into(graph, "rec1") == {"lif1"}
    assert not np.any(node_of(graph, "rec1").bias)


def graph_of_layers(
    layers: dict[str, nn.Module], sources: dict[str, tuple[str, ...]] | None = None
) -> nir.NIRGraph:
    """Export of layers made for the occasion, in evaluation mode."""
    model = SpikingNetwork(layers, (2,), sources).double().eval()
    return graph_of(model, make_recipe("mlp"), make_dataset((2,)))


def test_factors_are_folded_only_where_nothing_else_sees_them() -> None:
    """y = 3 a(x) beside a(x) itself: a's weights must stay; 3 then goes into b, not into c too."""
    linear = {name: nn.Linear(2, 2) for name in "abc"}
    layers = {"a": linear["a"], "times": Scale(3.0), "b": linear["b"], "c": linear["c"]}
    sources = {"c": ("a", "b"), "b": ("times",)}
    readout = {"fc": nn.Linear(2, CLASSES)}
    graph = graph_of_layers({**layers, **readout}, sources)
    for name, factor in {"a": 1, "b": 3, "c": 1}.items():
        weight = linear[name].weight.detach().numpy()
        np.testing.assert_allclose(node_of(graph, name).weight, factor * weight)
    assert "times" not in graph.nodes
    graph = graph_of_layers({**layers, **readout}, {"c": ("times", "b"), "b": ("times",)})
    np.testing.assert_allclose(node_of(graph, "a").weight, 3 * linear["a"].weight.detach().numpy())
    np.testing.assert_allclose(node_of(graph, "a").bias, 3 * linear["a"].bias.detach().numpy())
    assert "times" not in graph.nodes
    neuron = LIF.of(NeuronRecipe(2.0))
    graph = graph_of_layers({**layers, "lif": neuron, **readout}, {"lif": ("times", "a")})
    assert into(graph, "lif") == {"times", "a"}
    np.testing.assert_allclose(node_of(graph, "times").scale, [3, 3])


def test_a_batch_norm_with_no_weights_before_it_is_refused() -> None:
    norm = nn.BatchNorm1d(2)
    nn.init.ones_(norm.bias)
    with pytest.raises(UnsupportedError, match="layer 'bn': a batch norm can only be exported be"):
        graph_of_layers({"lif": LIF.of(NeuronRecipe(2.0)), "bn": norm, "fc": nn.Linear(2, CLASSES)})
    norm = nn.BatchNorm1d(2, track_running_stats=False)
    with pytest.raises(UnsupportedError, match="layer 'bn': batch norm without running statist"):
        graph_of_layers({"a": nn.Linear(2, 2), "bn": norm, "fc": nn.Linear(2, CLASSES)})


def test_weights_are_standardised_in_float64() -> None:
    shape, network = FAMILY_NETWORKS["vgg11_ws"]
    recipe = replace(make_recipe(), network=network)
    model = make_model(recipe, shape=shape).float()
    weight = node_of(graph_of(model, recipe, make_dataset(shape)), "conv1").weight
    conv = model.layers["conv1"]
    assert isinstance(conv, WSConv2d)
    expected = conv.double().effective_weight().detach().numpy()
    np.testing.assert_array_equal(weight, expected)
    assert not np.array_equal(weight, weight.astype(np.float32))


def test_parameters_are_full_float64_arrays_with_explicit_biases() -> None:
    recipe = make_recipe("conv_bn_pool", tau=1.1)
    graph = graph_of(make_model(recipe), recipe, make_dataset())
    conv, lif, readout = (node_of(graph, name) for name in ("conv2", "lif1", "readout"))
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
    for array in (conv.weight, conv.bias, lif.tau, lif.r, readout.r, node_of(graph, "fc").bias):
        assert array.dtype == np.float64


def test_a_layer_without_bias_gets_a_zero_one() -> None:
    recipe = make_recipe("mlp")
    model = make_model(recipe)
    layer = model.layers["fc1"]
    assert isinstance(layer, nn.Linear)
    layer.register_parameter("bias", None)
    graph = graph_of(model, recipe, make_dataset())
    np.testing.assert_array_equal(node_of(graph, "fc1").bias, np.zeros(20))


@pytest.mark.parametrize("encoder", ["direct", "rate"])
def test_contract_survives_the_file(encoder: str, tmp_path: Path) -> None:
    recipe = make_recipe("mlp", reset="zero", comparison=">", encoder=EncoderRecipe(encoder))  # pyright: ignore[reportArgumentType]
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
    graph = graph_of(model, recipe, make_dataset())
    assert model.training
    kept = node_of(graph, "fc").weight.copy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(node_of(graph, "fc").weight, kept)


def test_single_precision_weights_are_written_exactly() -> None:
    recipe = make_recipe("mlp")
    model = make_model(recipe).float()
    graph = graph_of(model, recipe, make_dataset())
    layer = model.layers["fc1"]
    assert isinstance(layer, nn.Linear)
    np.testing.assert_array_equal(
        node_of(graph, "fc1").weight, layer.weight.detach().numpy().astype(np.float64)
    )


def test_layers_without_counterpart_are_refused_by_name() -> None:
    recipe = make_recipe("mlp")
    model = make_model(recipe)
    layers = {**dict(model.layers.items()), "squash": nn.Tanh()}
    with pytest.raises(UnsupportedError, match="layer 'squash': Tanh has no counterpart in NIR"):
        graph_of(SpikingNetwork(layers, SHAPE), recipe, make_dataset())
