"""Training on integers: what the network computes is what the chip will, spike for spike."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.ir.fixed_point import split_bias
from neurodeploy.ir.quantized import QuantizationPlan, QuantizedNetwork
from neurodeploy.ir.stated import Stated
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.layers import Dropout, GridLinear, Scale, WSConv2d
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.neuron import LIF
from neurodeploy.quantization.aware import IntegerNetwork
from neurodeploy.quantization.aware.grid import Grid
from neurodeploy.quantization.aware.neurons import QuantizedLIF, kept_share
from neurodeploy.quantization.aware.synapse import QuantizedSynapse
from neurodeploy.recipe import (
    DataRecipe,
    EncoderRecipe,
    NeuronRecipe,
    QuantizeRecipe,
    Recipe,
    TrainingRecipe,
    load_recipe,
)
from neurodeploy.rules import Batch
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Samples, SpikeTrace
from neurodeploy.target import load_target
from neurodeploy.training.assembly import (
    begin_when_due,
    graph_of,
    input_code,
    network_of,
    quantization_aware,
    rule_of,
)
from neurodeploy.training.encoding import evaluation_frames
from neurodeploy.workflow.exported import read_planned
from neurodeploy.workflow.quantization import QuantizationOptions, quantized
from support.command import run_cli, run_json
from support.rounding import assert_equal_but_for_rounding

LOIHI2 = load_target("loihi2")
CPU = torch.device("cpu")
STEPS, SAMPLES, SHAPE, CLASSES, LEVELS = 5, 6, (2, 8, 8), 5, 16

MNIST = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "mnist.npz"

FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"family": "mlp", "hidden": [24, 16]},
    "mlp_bn": {"family": "mlp", "hidden": [24, 16], "batch_norm": True},
    "conv": {"family": "conv", "channels": [4, 6], "strides": [1, 2]},
    "conv_bn_pool": {
        "family": "conv",
        "channels": [4, 6],
        "strides": [1, 1],
        "pool": [2, 3],
        "batch_norm": True,
    },
    "recurrent": {"family": "recurrent", "hidden": [20, 16]},
}


def make_recipe(
    network: str = "conv_bn_pool",
    bits: int = 4,
    *,
    neuron: NeuronRecipe | None = None,
    encoder: Any = "direct",
    rule: dict[str, Any] | None = None,
    target: str = "loihi2",
    steps: int = STEPS,
) -> Recipe:
    return Recipe(
        name=network,
        description="for tests",
        data=DataRecipe("made_up"),
        neuron=neuron or NeuronRecipe(2.0, v_threshold=0.7),
        training=TrainingRecipe(steps=steps, epochs=4, batch_size=4, learning_rate=0.1),
        network=FAMILIES.get(network, FAMILIES["conv"]),
        rule=rule or {"name": "sltt"},
        encoder=EncoderRecipe(encoder),
        quantize=QuantizeRecipe(bits, target),
    )


def make_dataset(shape: tuple[int, ...] = SHAPE, over_time: bool = False) -> Dataset:
    whole = (STEPS, *shape) if over_time else shape
    samples = np.zeros((CLASSES, *whole), np.uint8)
    return Dataset(
        "made_up", LEVELS, samples, np.arange(CLASSES), samples, np.arange(CLASSES), over_time
    )


def randomised(model: SpikingNetwork, seed: int = 0) -> SpikingNetwork:
    """Weights that make a good part of the neurons fire, and statistics in the norms."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer in model.layers.values():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                layer.weight.normal_(1 / fan_in, 1.5 / math.sqrt(fan_in))
                if layer.bias is not None:
                    layer.bias.uniform_(-0.1, 0.2)
            if isinstance(layer, WSConv2d):
                layer.gain.uniform_(0.5, 1.5)
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (layer.running_mean, layer.bias):
                    assert values is not None
                    values.uniform_(-0.2, 0.3)
                for values in (layer.running_var, layer.weight):
                    assert values is not None
                    values.uniform_(0.5, 1.5)
                layer.weight[0] *= -1
    return model


def on_integers(
    recipe: Recipe, model: SpikingNetwork, payload: int = LEVELS, begin: bool = True
) -> IntegerNetwork:
    found = quantization_aware(model, recipe, payload, rule_of(recipe))
    assert isinstance(found, IntegerNetwork)
    if begin:
        found.begin()
        # Not where the search left them: what is learned must hold anywhere.
        with torch.no_grad():
            for receiver in found.receivers:
                found.grid(receiver).shift.uniform_(-0.4, 0.4)
    return found.eval()


def deployed(
    model: IntegerNetwork, recipe: Recipe, dataset: Dataset, folder: Path
) -> tuple[QuantizedNetwork, QuantizationPlan]:
    """The integers, by way of the file."""
    nir.write(folder / "network.nir", graph_of(model, recipe, dataset))
    network, plan = read_planned(folder / "network.nir", Stated())
    assert plan is not None
    return quantized(network, model.target, QuantizationOptions(), plan), plan


def outputs_of(
    model: SpikingNetwork, recipe: Recipe, dataset: Dataset, samples: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes (N, T, ...) of every layer of neurons, and sum_t o[t]."""
    seen: dict[str, list[np.ndarray]] = {}

    def note(name: str, _layer: nn.Module, _x: Any, s: torch.Tensor) -> None:
        seen.setdefault(name, []).append(s.detach().numpy())

    hooks = [
        layer.register_forward_hook(partial(note, name))
        for name, layer in model.layers.items()
        if isinstance(layer, QuantizedLIF | LIF)
    ]
    model.reset_state()
    total = torch.zeros(())
    code = input_code(recipe, dataset)
    with torch.no_grad():
        for frame in evaluation_frames(samples, code, recipe.training.steps, 0, CPU):
            total = total + model(frame)
    for hook in hooks:
        hook.remove()
    return {name: np.stack(values, 1) for name, values in seen.items()}, total.numpy()


def check_exact(
    recipe: Recipe,
    model: IntegerNetwork,
    dataset: Dataset,
    folder: Path,
    busy: bool = True,
) -> tuple[QuantizedNetwork, SpikeTrace]:
    """Spikes of every population and step, and the read-out's membrane: none differs."""
    whole = dataset.x_train.shape[1:]
    samples = np.random.default_rng(3).integers(0, LEVELS + 1, (SAMPLES, *whole)).astype(np.uint8)
    spikes, total = outputs_of(model, recipe, dataset, samples)
    integers, _ = deployed(model, recipe, dataset, folder)
    given = samples.astype(np.int32)
    batches = Samples(SAMPLES, lambda a, b: given[a:b], None, integers.contract, "random")
    ((_, trace),) = ReferenceEngine(integers).run(batches.batches(SAMPLES), state=True)
    assert {*trace.populations} == {"input", "readout", *spikes}
    for name, found in spikes.items():
        np.testing.assert_array_equal(found, trace.populations[name].s, err_msg=name)
        assert not busy or 0.02 < found.mean() < 0.95, name
    v = trace.populations["readout"].v
    assert v is not None
    unit = float(model.grid(model.receivers[-1]).unit().detach())
    np.testing.assert_array_equal(total * unit, v[:, -1])
    assert math.log2(unit) == round(math.log2(unit))
    return integers, trace


# --- the promise ---


@pytest.mark.parametrize("network", FAMILIES)
@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_the_forward_pass_is_the_deployed_network(network: str, bits: int, tmp_path: Path) -> None:
    recipe, dataset = make_recipe(network, bits), make_dataset()
    model = on_integers(recipe, randomised(network_of(recipe, dataset)))
    integers, _ = check_exact(recipe, model, dataset, tmp_path, busy=bits > 1)
    # Every value of the grid is in use: nothing was rounded once more.
    steps = {p.weight_format.step for p in integers.projections}
    assert steps == {2 ** (8 - bits + (bits > 1))}
    assert not any(p.clipped for p in integers.projections)


@pytest.mark.parametrize("tau", [1.1, 2.0, 5.3])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("comparison", [">=", ">"])
def test_every_neuron_option_is_exact(
    tau: float, reset: Reset, comparison: Comparison, tmp_path: Path
) -> None:
    neuron = NeuronRecipe(tau, v_threshold=0.57, reset=reset, comparison=comparison)
    recipe, dataset = make_recipe(bits=5, neuron=neuron), make_dataset()
    model = on_integers(recipe, randomised(network_of(recipe, dataset)))
    check_exact(recipe, model, dataset, tmp_path)


@pytest.mark.parametrize("encoder", ["rate", "latency", "events"])
def test_every_encoder_is_exact(encoder: str, tmp_path: Path) -> None:
    recipe = make_recipe("mlp_bn", encoder=encoder)
    dataset = make_dataset(over_time=encoder == "events")
    payload = input_code(recipe, dataset).payload
    assert payload == (LEVELS if encoder == "events" else 1)
    model = on_integers(recipe, randomised(network_of(recipe, dataset)), payload)
    check_exact(recipe, model, dataset, tmp_path, busy=encoder != "latency")


def odd_network() -> SpikingNetwork:
    """Everything else that a path of weights can be made of, with shortcuts of both kinds."""
    neuron = NeuronRecipe(2.0, v_threshold=0.7, reset="subtract", comparison=">=")
    layers: dict[str, nn.Module] = {
        "conv1": WSConv2d(2, 4, 3, padding=1),
        "lif1": LIF.of(neuron),
        "pool": nn.AvgPool2d(2),
        "scale": Scale(2.74),
        "conv2": nn.Conv2d(4, 4, 3, padding=1),
        "drop": Dropout(0.2),
        "shortcut": nn.Conv2d(2, 4, 1, 2),
        "bn": nn.BatchNorm2d(4),
        "lif2": LIF.of(neuron),
        "conv3": nn.Conv2d(4, 4, 3, padding=1, bias=False),
        "halve": Scale(0.5),
        "bn3": nn.BatchNorm2d(4),
        "lif3": LIF.of(neuron),
        "flatten": nn.Flatten(),
        "fc": GridLinear(4, (4, 4), 3, CLASSES),
    }
    sources = {
        "shortcut": ("input",),
        "conv2": ("scale",),
        "bn": ("drop", "shortcut"),
        # Spikes of lif2 reach the next norm without weights, beside those through conv3.
        "bn3": ("halve", "lif2"),
    }
    return SpikingNetwork(layers, SHAPE, sources)


@pytest.mark.parametrize("bits", [8, 3, 1])
def test_shortcuts_factors_and_standardised_weights_are_exact(bits: int, tmp_path: Path) -> None:
    recipe, dataset = make_recipe("odd", bits), make_dataset()
    model = on_integers(recipe, randomised(odd_network()))
    integers, _ = check_exact(recipe, model, dataset, tmp_path, busy=bits > 1)
    found = {(p.source, p.target) for p in integers.projections}
    assert ("lif2", "lif3") in found and ("input", "lif2") in found
    paths = {receiver.name: len(receiver.paths) for receiver in model.receivers}
    assert paths == {"lif1": 1, "lif2": 2, "lif3": 2, "readout": 1}


def test_overflow_is_exact_too(tmp_path: Path) -> None:
    """u wraps and v saturates where the chip's do."""
    recipe, dataset = make_recipe("mlp", 8), make_dataset()
    model = on_integers(recipe, randomised(network_of(recipe, dataset)))
    with torch.no_grad():
        for receiver in model.receivers:
            for path in receiver.paths:
                model.synapse(path).exponent.fill_(7)
            model.grid(receiver).shift.fill_(6)
        model.grid(model.receivers[-1]).origin += 6
    integers, trace = check_exact(recipe, model, dataset, tmp_path, busy=False)
    v = trace.populations["readout"].v
    assert v is not None and np.abs(v).max() == 2**23 - 1
    values = np.full((SAMPLES, *SHAPE), LEVELS, np.int32)
    samples = Samples(SAMPLES, lambda a, b: values[a:b], None, integers.contract, "full")
    engine = ReferenceEngine(integers)
    list(engine.run(samples.batches(SAMPLES)))
    assert engine.overflow.total > 0


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_file(), reason="no MNIST file here")
@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_every_spike_of_the_mnist_test_set_is_exact(bits: int, tmp_path: Path) -> None:
    data = ["data.path=" + json.dumps(str(MNIST)), f"quantize.bits={bits}"]
    recipe = load_recipe("mnist_conv", data)
    dataset = load_dataset(recipe.data.name, recipe.data.source, recipe.training.steps)
    model = on_integers(recipe, randomised(network_of(recipe, dataset)), payload=255)
    integers, _ = deployed(model, recipe, dataset, tmp_path)
    engine, compared = ReferenceEngine(integers), 0
    given = dataset.x_test[:].astype(np.int32)
    samples = Samples(len(given), lambda a, b: given[a:b], None, integers.contract, "mnist")
    for batch in samples.batches(500):
        ((_, trace),) = engine.run([batch], state=True)
        shown = dataset.x_test[batch.first : batch.first + len(batch)]
        spikes, total = outputs_of(model, recipe, dataset, shown)
        for name, found in spikes.items():
            np.testing.assert_array_equal(found, trace.populations[name].s, err_msg=name)
            compared += found.size
        v = trace.populations["readout"].v
        assert v is not None
        unit = float(model.grid(model.receivers[-1]).unit().detach())
        np.testing.assert_array_equal(total * unit, v[:, -1])
    assert compared == 10_000 * 4 * (16 * 14 * 14 + 32 * 7 * 7)


def test_in_training_mode_it_computes_the_same(tmp_path: Path) -> None:
    """Batch norm is frozen: what gradients are taken of is what will be deployed."""
    recipe, dataset = make_recipe(), make_dataset()
    model = on_integers(recipe, randomised(network_of(recipe, dataset)))
    samples = np.random.default_rng(0).integers(0, 17, (SAMPLES, *SHAPE)).astype(np.uint8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected, total = outputs_of(model, recipe, dataset, samples)
    found, again = outputs_of(model.train(), recipe, dataset, samples)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(again, total)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_before_it_begins_it_is_the_network_in_floats() -> None:
    recipe, dataset = make_recipe("recurrent"), make_dataset()
    plain = randomised(network_of(recipe, dataset)).eval()
    twin = randomised(network_of(recipe, dataset)).eval()
    model = on_integers(recipe, twin, begin=False)
    samples = np.random.default_rng(0).integers(0, 17, (SAMPLES, *SHAPE)).astype(np.uint8)
    expected, total = outputs_of(plain, recipe, dataset, samples)
    found, again = outputs_of(model, recipe, dataset, samples)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(again, total)


# --- arithmetic ---


@settings(deadline=None, max_examples=200)
@given(v=st.integers(-(2**23), 2**23), kept=st.integers(0, 4096))
def test_a_kept_share_rounds_towards_zero(v: int, kept: int) -> None:
    expected = int(math.copysign(1, v)) * (abs(v) * kept >> 12)
    assert kept_share(torch.tensor([float(v)]), kept / 4096).item() == expected


@settings(deadline=None, max_examples=200)
@given(bias=st.floats(-700_000, 700_000))
def test_biases_have_a_mantissa_and_an_exponent(bias: float) -> None:
    """Quantisation finds each again, and none is farther off than its last bit."""
    grid = Grid(LOIHI2, 1.0, 1.0)
    grid.start(1.0)
    found = float(grid.bias(torch.tensor([bias / 64])).detach())
    mantissa, exponent = split_bias(round(found), 13, 7)
    assert mantissa << exponent == found
    if abs(bias) <= 4095 << 7:
        _, wanted = split_bias(round(bias), 13, 7)
        assert abs(found - bias) <= 2**wanted * (1 + 1e-4)


def test_thresholds_and_biases_keep_scales_in_range() -> None:
    grid = Grid(LOIHI2, 0.5, 1.0)
    grid.start(2.0**30)
    assert grid.integer_threshold() == 131071 << 6


def test_a_read_out_on_fixed_neurons_never_grows() -> None:
    """Its first scale left room below the highest threshold."""
    for name, rises in (("loihi1", False), ("loihi2", True)):
        grid = Grid(load_target(name), None, 1.0)
        grid.start(100.0)
        with torch.no_grad():
            grid.shift.fill_(1.0)
        assert float(grid.scale().detach()) == pytest.approx(200 if rises else 100)


# --- gradients ---


def single_layer(bits: int = 3) -> tuple[IntegerNetwork, QuantizedSynapse]:
    neuron = NeuronRecipe(2.0, surrogate="sigmoid")
    layers: dict[str, nn.Module] = {
        "fc1": nn.Linear(6, 4, bias=False),
        "lif1": LIF.of(neuron),
        "fc": nn.Linear(4, CLASSES),
    }
    recipe = make_recipe("single", bits, neuron=neuron)
    torch.manual_seed(2)
    model = on_integers(recipe, SpikingNetwork(layers, (6,)).double(), payload=1)
    synapse = model.layers["fc1"]
    assert isinstance(synapse, QuantizedSynapse)
    return model.double().train(), synapse


def test_gradients_of_weights_and_scale_by_hand() -> None:
    """x = sum q n step 2^e / S; dq/dw = r inside the format, dx/dS as Esser et al. 2020, eq. 3."""
    model, synapse = single_layer()
    n = torch.tensor([[1.0, 0, 1, 1, 1, 0]], dtype=torch.float64)
    spikes = model.layers["lif1"]
    model.reset_state()
    errors = torch.tensor([[0.3, -1.0, 2.0, 0.5]], dtype=torch.float64)
    (spikes(synapse(n)) * errors).sum().backward()
    grid, weight = synapse.grid, synapse.layer.weight
    assert isinstance(weight, torch.Tensor) and weight.grad is not None
    w, scale = weight.detach().numpy(), float(grid.scale().detach())
    unit = synapse.step * 2.0 ** int(synapse.exponent)
    ratio = scale / unit
    q = np.rint(w * ratio)
    inside = (q >= -4) & (q <= 3)
    assert 0 < inside.sum() < inside.size
    q = np.clip(q, -4, 3)
    x = (q @ n.numpy()[0]) / ratio
    threshold = np.rint(scale) / scale
    p = 1 / (1 + np.exp(-4 * (x - threshold)))
    error = errors.numpy()[0] * 4 * p * (1 - p)
    by_weight = error[:, None] * n.numpy() * inside
    assert_equal_but_for_rounding(weight.grad, by_weight, by_weight)
    by_scale = (error[:, None] * n.numpy() * unit / scale**2 * (inside * w * ratio - q)).sum()
    by_shift = by_scale * scale * math.log(2) / math.sqrt(24 * 3)
    assert grid.shift.grad is not None
    assert float(grid.shift.grad) == pytest.approx(by_shift, rel=1e-9)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.replace(".synapse", "").replace(".layer", "").replace(".norm", ""): p.grad.clone()
        for name, p in model.named_parameters()
        if p.grad is not None and "grid" not in name
    }


def learn(model: SpikingNetwork, recipe: Recipe, steps: int) -> None:
    """Gradients of one batch by the recipe's rule."""
    rng = torch.Generator().manual_seed(1)
    frames = [torch.randint(0, 17, (8, *SHAPE), generator=rng) / 16 for _ in range(steps)]
    labels = torch.arange(8) % CLASSES
    model.zero_grad()
    rule_of(recipe).train_batch(
        model, Batch(frames, steps, labels), InstantaneousLoss(), lambda: None, rng
    )


@pytest.mark.parametrize("rule", ["sltt", "bptt", "ottt"])
def test_with_many_bits_gradients_are_nearly_those_in_floats(rule: str) -> None:
    recipe, dataset = make_recipe("mlp", 8, rule={"name": rule}), make_dataset()
    plain = randomised(network_of(recipe, dataset)).train()
    model = on_integers(recipe, randomised(network_of(recipe, dataset))).train()
    for network in (plain, model):
        learn(network, recipe, STEPS)
    expected, found = gradients(plain), gradients(model)
    assert {*expected} == {*found}
    for name, value in expected.items():
        cosine = torch.cosine_similarity(value.flatten(), found[name].flatten(), dim=0)
        assert cosine > 0.97, name
        assert float(found[name].norm() / value.norm()) == pytest.approx(1, abs=0.15), name


def test_rules_agree_where_their_equations_do() -> None:
    """One step has no time: SLTT, OTTT and backpropagation through time are one rule."""
    found = []
    for rule in ("sltt", "ottt", "bptt", "sltt-k"):
        recipe = make_recipe("conv_bn_pool", 3, rule={"name": rule}, steps=1)
        model = on_integers(recipe, randomised(network_of(recipe, make_dataset()))).train()
        with torch.no_grad():
            for receiver in model.receivers:
                model.grid(receiver).shift.zero_()
        learn(model, recipe, 1)
        found.append(gradients(model))
    for other in found[1:]:
        assert {*other} == {*found[0]}
        for name, value in found[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6)


def test_scales_are_learned_with_the_weights() -> None:
    recipe = make_recipe("conv_bn_pool", 2)
    model = on_integers(recipe, randomised(network_of(recipe, make_dataset()))).train()
    learn(model, recipe, STEPS)
    for receiver in model.receivers:
        gradient = model.grid(receiver).shift.grad
        assert gradient is not None and gradient != 0, receiver.name
    norm = model.layers["bn1"].norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.weight.grad is not None and norm.weight.grad.abs().sum() > 0
    assert norm.bias.grad is not None and norm.bias.grad.abs().sum() > 0


# --- refusals ---


def refused(model: SpikingNetwork, recipe: Recipe, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        quantization_aware(model, recipe, LEVELS, rule_of(recipe))


def test_what_has_no_integers_is_refused_by_name() -> None:
    recipe = make_recipe("mlp")
    refused(
        network_of(recipe, make_dataset()),
        make_recipe("mlp", rule={"name": "rate"}),
        "rule rate goes backward through mean rates",
    )
    nf = Recipe(**{**vars(recipe), "network": {"family": "nf_resnet"}})
    model = network_of(nf, make_dataset((2, 32, 32)))
    refused(model, recipe, "cannot be trained on integers")
    neuron = NeuronRecipe(2.0)

    def chain(**layers: nn.Module) -> SpikingNetwork:
        return SpikingNetwork({**layers, "fc": nn.Linear(4, CLASSES)}, (4,))

    lif = LIF.of(neuron)
    two = chain(a=nn.Linear(4, 4), b=nn.Linear(4, 4), lif=lif)
    refused(two, recipe, "layer 'a': Linear between neurons and the weights behind it")
    refused(
        chain(a=nn.Linear(4, 4), squash=nn.Tanh(), lif=lif), recipe, "layer 'squash': Tanh betw"
    )
    refused(
        chain(a=nn.Linear(4, 4), lif=lif, squash=nn.Tanh()), recipe, "layer 'squash': Tanh betw"
    )
    sources = {"lif2": ("a",), "fc": ("lif2", "lif")}
    layers = {"a": nn.Linear(4, 4), "lif": lif, "lif2": LIF.of(neuron), "fc": nn.Linear(4, CLASSES)}
    refused(SpikingNetwork(layers, (4,), sources), recipe, "layer 'a': lif, lif2 all read it")
    uneven = SpikingNetwork(
        {"conv": nn.Conv2d(2, 2, 1), "lif": lif, "pool": nn.AvgPool2d(3, ceil_mode=True)}
        | {"flatten": nn.Flatten(), "fc": nn.Linear(18, CLASSES)},
        SHAPE,
    )
    refused(uneven, recipe, "layer 'pool': its windows differ in size")


# --- a run ---


def test_epochs_before_the_first_one_on_integers() -> None:
    recipe = make_recipe()
    model = on_integers(recipe, randomised(network_of(recipe, make_dataset())), begin=False)
    active = []
    for epoch in (1, 2, 3, 4):
        begin_when_due(model, recipe, epoch)
        active.append(model.is_active)
    assert active == [False, False, True, True]
    training = TrainingRecipe(2, 10, 4, 0.1, start_from="run")
    assert QuantizeRecipe(4).first_epoch_of(training) == 1
    assert QuantizeRecipe(4, first_epoch=7).first_epoch_of(training) == 7


@pytest.fixture(scope="module")
def trained(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on 4-bit integers, from the weights of the shared run."""
    run = tmp_path_factory.mktemp("aware") / "run"
    arguments = ("--init", str(workspace / "runs/digits_conv-001"), "--out", str(run))
    options = ("--set", "quantize.bits=4", "--target", "loihi2", "--set", "training.epochs=2")
    run_json("train", "digits_conv", *options, *arguments, folder=run.parent)
    return run


def test_a_run_deploys_to_the_accuracy_that_it_reports(trained: Path, tmp_path: Path) -> None:
    result = run_cli("export", str(trained), "--target", "loihi2", "--out", "d", folder=tmp_path)
    assert result.exit_code == 0, result.output
    assert "Note: scales: as trained for loihi2" in result.output
    assert "clipped" not in result.output
    simulated = run_json("simulate", "d", "--engine", "reference", folder=tmp_path)
    reported = json.loads((trained / "run.json").read_text())["test_accuracy"]
    assert simulated["accuracy"] == reported > 0.8
    manifest = json.loads((tmp_path / "d/manifest.json").read_text())
    assert {p["weight_format"]["bits"] for p in manifest["network"]["projections"]} == {4}


def test_options_of_export_override_what_was_trained(trained: Path, tmp_path: Path) -> None:
    arguments = ("export", str(trained), "--target", "loihi2", "--scale", "mse")
    found = run_json(*arguments, "--weight-bits", "6", folder=tmp_path)
    assert found["notes"]["scales"] == "by mse"


def test_training_on_integers_starts_from_such_a_run_too(trained: Path, tmp_path: Path) -> None:
    """With fewer bits: the weights are taken, scales are chosen anew."""
    options = ("--set", "quantize.bits=2", "--set", "training.epochs=1", "--init", str(trained))
    found = run_json("train", "digits_conv", *options, "--target", "loihi2", folder=tmp_path)
    assert found["test_accuracy"] > 0.5


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Interrupted before, and after, the first epoch on integers."""
    import shutil

    from safetensors.numpy import load_file

    from neurodeploy.training.run import resume_run, train

    overrides = ["training.epochs=3", "quantize.bits=3", "quantize.first_epoch=2"]
    recipe = load_recipe("digits_mlp", [*overrides, "training.steps=4", "quantize.target=loihi1"])
    whole = train(recipe, tmp_path / "whole", progress=False)
    for epochs in (1, 2):
        part = tmp_path / f"part{epochs}"
        stop_after(epochs, recipe, part)
        again = resume_run(part, progress=False)
        assert again.test_accuracy == whole.test_accuracy
        left, right = (load_file(run / "best.safetensors") for run in (whole.path, part))
        assert {*left} == {*right}
        for name, value in left.items():
            np.testing.assert_array_equal(value, right[name], err_msg=name)
        shutil.rmtree(part)
    assert whole.best_epoch >= 2


def stop_after(epochs: int, recipe: Recipe, run: Path) -> None:
    """Train, and be interrupted when so many epochs are on disk."""
    from neurodeploy.errors import SimulationError
    from neurodeploy.training import loop
    from neurodeploy.training.run import train

    with pytest.MonkeyPatch.context() as patch:
        save = loop.save_state

        def interrupted(where: Path, state: Any) -> None:
            save(where, state)
            if len(state.history) == epochs:
                raise KeyboardInterrupt

        patch.setattr(loop, "save_state", interrupted)
        with pytest.raises(SimulationError, match="interrupted"):
            train(recipe, run, progress=False)


def test_a_read_out_of_loihi1_stays_silent(tmp_path: Path) -> None:
    options = ("--set", "training.epochs=2", "--set", "quantize.bits=4", "--target", "loihi1")
    run_json("train", "digits_mlp", *options, "--out", "run", folder=tmp_path)
    found = run_json("export", "run", "--target", "loihi1", folder=tmp_path)
    assert found["notes"]["scales"] == "as trained for loihi1"


def test_wrong_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for options, message in (
        (("--target", "loihi2"), "--target is for training on integers; add --set quantize.bits=4"),
        (("--set", "quantize.bits=9"), "bits is from 1 to 8, or 0, found 9"),
        (("--set", "quantize.bits=4", "--target", "loihi9"), "target 'loihi9' is not built in"),
        (("--set", "quantize.bits=4", "--rule", "rate"), "rule rate goes backward"),
        (
            ("--set", "quantize.bits=4", "--precision", "bf16"),
            "precision = bf16: too few digits for the integers",
        ),
        (
            ("--set", "quantize.bits=4", "--set", "quantize.first_epoch=99"),
            "first_epoch = 99 comes after the last of 50 epochs",
        ),
    ):
        result = run_cli("train", "digits_conv", *options, folder=tmp_path)
        assert result.exit_code == 2 and message in result.output, result.output
    assert not [*tmp_path.iterdir()]
