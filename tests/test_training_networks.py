"""Network families: the papers' architectures, against direct computations of their parts."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodeploy.errors import InputError
from neurodeploy.nn.families import FAMILIES, SpikingNetwork
from neurodeploy.nn.layers import (
    Dropout,
    GridLinear,
    Scale,
    SkipInit,
    WSConv2d,
)
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.support.schema import build
from support.rounding import assert_equal_but_for_rounding

NEURON = NeuronRecipe(1.1)


def make(
    family: str, shape: tuple[int, ...], classes: int = 10, seed: int = 0, **options: Any
) -> SpikingNetwork:
    torch.manual_seed(seed)
    return build(FAMILIES[family], options, "test").build(shape, classes, NEURON)


def layer(network: SpikingNetwork, name: str) -> Any:
    return network.layers[name]


def steps(network: SpikingNetwork, frames: Tensor, cut: bool = True) -> list[Tensor]:
    """The network's output at each step of frames (T, N, *sample)."""
    network.reset_state(cut)
    return [network(frame) for frame in frames]


# --- architectures ---


@pytest.mark.parametrize(
    ("family", "options", "shape", "classes", "parameters", "neurons"),
    [
        ("resnet18", {}, (3, 32, 32), 10, 11_176_906, 17),
        ("resnet18", {"dropout": 0.1}, (3, 32, 32), 100, 11_223_076, 17),
        ("vgg11", {}, (2, 48, 48), 10, 9_476_298, 8),
        ("vgg11", {"dropout": 0.3}, (2, 128, 128), 10, 9_476_298, 8),
        ("vgg11_ws", {}, (3, 32, 32), 10, 9_228_362, 8),
        ("vgg11_ws", {"grid": 3}, (2, 48, 48), 10, 9_228_362 - 576 + 8 * 5120, 8),
        # torchvision's ResNets (a bias and a gain here for each of their batch norms' two), and
        # one gain per block.
        ("nf_resnet", {"depth": 34}, (3, 224, 224), 1000, 21_797_672 + 16, 32),
        ("nf_resnet", {"depth": 50}, (3, 224, 224), 1000, 25_557_032 + 16, 48),
        ("nf_resnet", {"depth": 101}, (3, 224, 224), 1000, 44_549_160 + 33, 99),
        ("recurrent", {"hidden": [20, 10]}, (2, 4, 4), 5, 660 + 400 + 210 + 100 + 55, 2),
    ],
)
def test_parameters_and_neurons_are_as_many_as_in_the_official_code(
    family: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    classes: int,
    parameters: int,
    neurons: int,
) -> None:
    with torch.device("meta"):
        network = make(family, shape, classes, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert sum(isinstance(module, LIF) for module in network.modules()) == neurons


@pytest.mark.parametrize(
    ("family", "options", "shape"),
    [
        ("resnet18", {}, (3, 8, 8)),
        ("resnet18", {"dropout": 0.5}, (1, 5, 9)),
        ("vgg11", {"dropout": 0.5}, (2, 48, 48)),
        ("vgg11", {}, (2, 32, 40)),
        ("vgg11_ws", {"dropout": 0.5}, (3, 8, 8)),
        ("vgg11_ws", {"grid": 2}, (2, 24, 16)),
        ("nf_resnet", {}, (3, 32, 40)),
        ("recurrent", {"hidden": [20, 10]}, (2, 4, 4)),
    ],
)
def test_every_parameter_of_a_family_gets_a_gradient(
    family: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    network = make(family, shape, 5, **options)
    outputs = steps(network, torch.rand(2, 3, *shape), cut=False)
    assert [output.shape for output in outputs] == [(3, 5), (3, 5)]
    torch.stack([output.sum() for output in outputs]).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_every_synapse_of_resnet18_behind_the_first_sees_spikes(dropout: float) -> None:
    """The readout sees the mean of 4 x 4 spikes, which go through its weights one by one on a chip;
    dropout scales what it keeps."""
    network = make("resnet18", (3, 32, 32), dropout=dropout)
    kept = 1 / (1 - dropout)
    seen: dict[str, Tensor] = {}
    for name, module in network.layers.items():
        if isinstance(module, nn.Conv2d | nn.Linear):

            def note(_: object, given: tuple[Tensor], name: str = name) -> None:
                seen[name] = given[0]

            module.register_forward_pre_hook(note)
    steps(network, torch.rand(1, 2, 3, 32, 32))
    assert len(seen) == 21
    assert not torch.isin(seen.pop("conv"), torch.tensor([0.0, 1.0])).all()
    seen["fc"] = (seen["fc"] * 16 / kept).round(decimals=3) % 1
    for name, values in seen.items():
        allowed = [0.0, kept] if name.endswith("conv2") else [0.0, 1.0]
        assert torch.isin(values, torch.tensor(allowed)).all(), name


def test_a_resnet18_block_is_the_pre_activation_one_whose_shortcut_takes_spikes() -> None:
    network = make("resnet18", (3, 8, 8)).double()
    found: dict[str, Tensor] = {}
    for name in ("conv", "block2_1_bn1", "block2_2_bn1", "block3_1_bn1"):
        module = layer(network, name)
        module.register_forward_pre_hook(lambda _, x, name=name: found.update({name: x[0]}))
    (x,) = torch.rand(1, 4, 3, 8, 8).double()
    network.reset_state()
    network(x)

    def activate(name: str, values: Tensor) -> Tensor:
        """Batch norm over the batch, and the first step of a neuron at rest."""
        mean, var = values.mean((0, 2, 3), True), values.var((0, 2, 3), correction=0, keepdim=True)
        return ((values - mean) / (var + 1e-5).sqrt() >= 1).double()

    spikes = activate("block2_1_bn1", found["block2_1_bn1"])
    inner = activate("block2_1_bn2", layer(network, "block2_1_conv1")(spikes))
    shortcut = layer(network, "block2_1_shortcut")
    assert (shortcut.kernel_size, shortcut.stride) == ((1, 1), (2, 2))
    expected = layer(network, "block2_1_conv2")(inner) + shortcut(spikes)
    torch.testing.assert_close(found["block2_2_bn1"], expected)
    spikes = activate("block2_2_bn1", found["block2_2_bn1"])
    inner = activate("block2_2_bn2", layer(network, "block2_2_conv1")(spikes))
    expected = layer(network, "block2_2_conv2")(inner) + spikes
    torch.testing.assert_close(found["block3_1_bn1"], expected)


def test_nf_resnet_divides_by_the_expected_deviation_of_its_stream() -> None:
    """+ 0.04 a block; from 1 again where a convolution takes the shortcut's place."""
    with torch.device("meta"):
        networks = {depth: make("nf_resnet", (3, 64, 64), depth=depth) for depth in (34, 50)}
    expected = {
        34: [1, 1.04, 1.08, 1.12, 1.04, 1.08, 1.12, 1.16, 1.04, 1.08, 1.12, 1.16, 1.2, 1.24],
        50: [1, 1.04, 1.08, 1.12, 1.04, 1.08, 1.12, 1.16, 1.04, 1.08, 1.12, 1.16, 1.2, 1.24],
    }
    for depth, network in networks.items():
        betas = [
            1 / module.factor
            for name, module in network.layers.items()
            if isinstance(module, Scale) and name.endswith("beta")
        ]
        np.testing.assert_allclose(np.square(betas[:14]), expected[depth])
        shortcuts = [name for name in network.layers if name.endswith("shortcut")]
        assert len(shortcuts) == {34: 3, 50: 4}[depth]


@pytest.mark.parametrize("depth", [34, 50])
def test_nf_resnet_computes_what_its_equation_says(depth: int) -> None:
    """One step from rest, the whole network written as the docstring's equation."""
    network = make("nf_resnet", (3, 32, 32), 5, depth=depth).double()
    with torch.no_grad():
        for module in network.layers.values():
            if isinstance(module, SkipInit):
                module.gain.uniform_(0.5, 1.5)
            elif isinstance(module, nn.Linear):
                module.weight.normal_()
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.normal_(0.3, 0.5)
    image = torch.rand(2, 3, 32, 32).double()

    def spikes(x: Tensor) -> Tensor:
        return 2.74 * (x >= 1).to(x)

    with torch.no_grad():
        x = functional.avg_pool2d(layer(network, "conv")(image), 3, 2, 1)
        rates, variance = [], 1.0
        for stage, blocks in enumerate((3, 4, 6, 3), start=1):
            for number in range(1, blocks + 1):
                name = f"block{stage}_{number}"
                out = active = spikes(x / variance**0.5)
                for i in range(1, {34: 3, 50: 4}[depth]):
                    out = layer(network, f"{name}_conv{i}")(out if i == 1 else spikes(out))
                if f"{name}_shortcut" in network.layers:
                    x, variance = layer(network, f"{name}_shortcut")(active), 1.0
                x = x + 0.2 * layer(network, f"{name}_gain").gain * out
                variance += 0.04
                rates.append(active.bool().double().mean())
        expected = layer(network, "fc")(x.mean((2, 3)))
        network.reset_state()
        torch.testing.assert_close(network(image), expected)
    assert min(rates) > 0


def test_a_new_nf_resnet_passes_its_stream_on_and_answers_nothing() -> None:
    network = make("nf_resnet", (3, 32, 32), 5)
    assert all(m.gain == 0 for m in network.modules() if isinstance(m, SkipInit))
    assert not layer(network, "fc").weight.any()


# --- layers ---


def test_weight_standardisation_is_the_formula() -> None:
    torch.manual_seed(0)
    conv = WSConv2d(3, 4, 3, 2, padding=1).double()
    with torch.no_grad():
        conv.gain.uniform_(0.5, 2)
    weight = conv.weight.detach().numpy()
    expected = np.empty_like(weight)
    for channel, kernel in enumerate(weight):
        centred = kernel - kernel.sum() / 27
        variance = (centred**2).sum() / 26
        gain = conv.gain[channel].item()
        expected[channel] = gain * centred / np.sqrt(27 * variance + 1e-4)
    assert_equal_but_for_rounding(conv.effective_weight(), expected, expected)
    x = torch.rand(2, 3, 5, 5).double()
    direct = functional.conv2d(x, torch.from_numpy(expected), conv.bias, 2, 1)
    torch.testing.assert_close(conv(x), direct)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 6), (7, 7), (9, 5)])
def test_the_grid_readout_is_adaptive_pooling_and_a_linear_layer(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    found = GridLinear(3, size, 7, 4).double()
    linear = nn.Linear(3 * 49, 4).double()
    linear.load_state_dict(found.state_dict())
    x = torch.rand(2, 3, *size).double()
    expected = linear(functional.adaptive_avg_pool2d(x, 7).flatten(1))
    outputs = found(x.flatten(1))
    torch.testing.assert_close(outputs, expected)
    (outputs**2).sum().backward()
    (expected**2).sum().backward()
    torch.testing.assert_close(found.weight.grad, linear.weight.grad)


def test_dropout_silences_the_same_neurons_at_all_steps_until_the_next_batch() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.3), torch.ones(20, 500)
    first = dropout(ones)
    assert torch.equal(dropout(ones), first)
    torch.testing.assert_close(first.unique(), torch.tensor([0, 1 / 0.7]))
    assert abs((first == 0).double().mean().item() - 0.3) < 0.02
    assert not torch.equal(first[0], first[1])
    dropout.reset_state(True)
    assert not torch.equal(dropout(ones), first)
    assert torch.equal(dropout.eval()(ones), ones)


def test_a_network_draws_its_masks_once_per_batch() -> None:
    network = make("vgg11", (2, 32, 32), dropout=0.5)
    masks = [module for module in network.modules() if isinstance(module, Dropout)]
    assert len(masks) == 8
    network.reset_state()
    seen = []
    for _ in range(2):
        for frame in torch.rand(2, 1, 2, 32, 32).expand(2, 2, 2, 32, 32):
            network(frame)
            seen.append([module.mask for module in masks])
        network.reset_state()
    for before, same, other in zip(seen[0], seen[1], seen[2], strict=True):
        assert before is same
        assert not torch.equal(before, other)


def test_dropout_of_mlp_is_heard_by_the_next_layer_alone() -> None:
    options = {"hidden": [40, 30], "recurrent": True, "gain": 8.0}
    network = make("mlp", (6,), dropout=0.4, **options)
    assert [name for name in network.layers if name.startswith("drop")] == ["drop1", "drop2"]
    assert {name: network.sources[name] for name in ("rec1", "drop1", "fc2", "fc")} == {
        "rec1": ("lif1",),
        "drop1": ("lif1",),
        "fc2": ("drop1",),
        "fc": ("drop2",),
    }
    seen = []
    layer(network, "fc2").register_forward_pre_hook(lambda _, x: seen.append(x[0].detach()))
    steps(network, torch.ones(5, 3, 6))
    heard = torch.stack(seen).sum(0)
    mask = layer(network, "drop1").mask
    assert 20 < (mask == 0).sum() < 80, "about 48 of 120"
    assert (heard[mask == 0] == 0).all() and (heard[mask > 0] > 0).any()
    # Nothing of it is left in evaluation.
    plain = make("mlp", (6,), **options)
    for one, other in zip(
        steps(network.eval(), torch.ones(5, 3, 6)),
        steps(plain.eval(), torch.ones(5, 3, 6)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_gain_is_a_factor_on_the_weights_as_drawn() -> None:
    plain, twice = make("mlp", (6,), hidden=[5, 4]), make("mlp", (6,), hidden=[5, 4], gain=2)
    each = make("mlp", (6,), hidden=[5, 4], gain=[3.0, 0.5])
    for name, factors in {"fc1": (2, 3), "fc2": (2, 0.5), "fc": (1, 1)}.items():
        for network, factor in zip((twice, each), factors, strict=True):
            assert torch.equal(layer(network, name).weight, factor * layer(plain, name).weight)
            assert torch.equal(layer(network, name).bias, layer(plain, name).bias)
    delayed = {"hidden": [5], "delays": {"max": 3}}
    slow, loud = make("mlp", (6,), **delayed), make("mlp", (6,), gain=4, **delayed)
    assert torch.equal(layer(loud, "fc1").weight, 4 * layer(slow, "fc1").weight)
    assert torch.equal(layer(loud, "fc1").delay, layer(slow, "fc1").delay)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout is a share from 0 to below 1, found 1"),
        ({"gain": [1.0, 2.0, 3.0]}, "gain lists 3 factors for 2 hidden layers"),
        ({"gain": 0.0}, "gain must be above 0, found 0"),
    ],
)
def test_options_of_mlp_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make("mlp", (6,), hidden=[5, 4], **options)


def test_batch_norm_learns_from_every_step_and_has_one_set_of_statistics() -> None:
    network = make("resnet18", (3, 8, 8)).double()
    norm, inputs = layer(network, "block1_2_bn1"), []
    norm.register_forward_pre_hook(lambda _, x: inputs.append(x[0].detach()))
    steps(network, torch.rand(3, 4, 3, 8, 8).double())
    mean, variance = torch.zeros(64).double(), torch.ones(64).double()
    for x in inputs:
        mean = 0.9 * mean + 0.1 * x.mean((0, 2, 3))
        variance = 0.9 * variance + 0.1 * x.var((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    network.eval()
    steps(network, torch.rand(2, 4, 3, 8, 8).double())
    torch.testing.assert_close(norm.running_mean, mean)
    assert norm.num_batches_tracked == 3


# --- graphs ---


def test_recurrence_sees_the_spikes_of_the_step_before() -> None:
    network = make("recurrent", (6,), 4, hidden=[8, 7]).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)
    weights = {name: p.detach().numpy() for name, p in network.layers.named_parameters()}
    frames = torch.rand(5, 3, 6).double()
    outputs = steps(network, frames)
    v = {i: np.zeros((3, size)) for i, size in ((1, 8), (2, 7))}
    s = {i: np.zeros_like(values) for i, values in v.items()}
    recurrent = 0
    for frame, output in zip(frames.numpy(), outputs, strict=True):
        x = frame
        for i in (1, 2):
            back = s[i] @ weights[f"rec{i}.weight"].T
            recurrent += np.count_nonzero(back)
            u = (1 - 1 / 1.1) * v[i] + x @ weights[f"fc{i}.weight"].T + weights[f"fc{i}.bias"]
            s[i] = (u + back >= 1).astype(float)
            v[i] = u + back - s[i]
            x = s[i]
        expected = x @ weights["fc.weight"].T + weights["fc.bias"]
        np.testing.assert_allclose(output.detach(), expected)
    assert recurrent > 50


@pytest.mark.parametrize("cut", [True, False])
def test_gradients_pass_the_recurrence_only_when_they_are_not_cut(cut: bool) -> None:
    """Output of the second step, input of the first: with cut, no path is left."""
    network = make("recurrent", (6,), 4, hidden=[8])
    frames = torch.rand(2, 3, 6, requires_grad=True)
    steps(network, 3 * frames, cut)[-1].sum().backward()
    assert frames.grad is not None
    assert frames.grad[1].any()
    assert frames.grad[0].any() != cut


def test_a_layer_reads_the_sum_of_its_sources() -> None:
    layers = {"a": Scale(2), "b": Scale(3), "c": Scale(10), "d": Scale(1)}
    network = SpikingNetwork(layers, (1,), {"b": ("input",), "c": ("a", "b"), "d": ("c", "input")})
    assert network(torch.ones(1, 1)).item() == 51
    assert network.readers["input"] == ("a", "b", "d")
    assert network.fed_back == ()


def test_sources_that_are_no_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sources name \['x', 'y'\], which are no layers"):
        SpikingNetwork({"a": Scale(2)}, (1,), {"a": ("x",), "y": ("a",)})


def test_what_no_later_layer_reads_is_let_go() -> None:
    class Watch(nn.Module):
        alive: int

        def forward(self, x: Tensor) -> Tensor:
            self.alive = sum(reference() is not None for reference in references)
            return x

    references: list[weakref.ref[Tensor]] = []
    watch = Watch()
    layers = {"a": Scale(2), "b": Scale(3), "c": Scale(4), "watch": watch}
    network = SpikingNetwork(layers, (1,), {"c": ("a", "b")})
    for name in "abc":
        layers[name].register_forward_hook(
            lambda _module, _input, output: references.append(weakref.ref(output))
        )
    with torch.no_grad():
        network(torch.ones(1, 1))
    assert watch.alive == 1


# --- refusals ---


@pytest.mark.parametrize(
    ("family", "options", "shape", "message"),
    [
        ("resnet18", {}, (64,), r"family 'resnet18' needs samples \(C, H, W\), found \(64,\); use"),
        ("nf_resnet", {}, (2, 3), r"family 'nf_resnet' needs samples \(C, H, W\)"),
        ("conv", {"channels": [3]}, (9,), r"family 'conv' needs samples \(C, H, W\)"),
        (
            "vgg11",
            {},
            (2, 48, 31),
            "'vgg11' pools samples down to nothing below 32x32, found",
        ),
        ("vgg11_ws", {}, (2, 7, 8), "'vgg11_ws' pools samples down to nothing below 8x8"),
        ("vgg11", {"dropout": 1.0}, (2, 48, 48), "dropout is a share from 0 to below 1, found 1"),
        ("resnet18", {"dropout": -0.1}, (3, 8, 8), "dropout is a share from 0 to below 1"),
        ("vgg11_ws", {"dropout": 1.5}, (3, 8, 8), "dropout is a share from 0 to below 1"),
        ("vgg11_ws", {"grid": 0}, (3, 8, 8), "grid must be at least 1, found 0"),
        ("nf_resnet", {"depth": 18}, (3, 32, 32), "depth: 18 is not one of 34, 50, 101"),
        ("recurrent", {"hidden": []}, (3,), "hidden needs at least one layer"),
        ("recurrent", {"hidden": [4, 0]}, (3,), "hidden sizes must be at least 1"),
    ],
)
def test_options_and_samples_that_do_not_fit_are_refused(
    family: str, options: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(family, shape, **options)
