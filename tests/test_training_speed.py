"""Every speed-up of training leaves gradients, spikes and running statistics as they are.

They are held against algorithm 1 of Meng et al. 2023 written plainly: one step after the other,
with torch's own modules, and neurons that autograd differentiates.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional

from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Comparison, Encoder, InputCode, Reset
from neurodeploy.nn.device import lay_out
from neurodeploy.nn.families import FAMILIES, SpikingNetwork, resnet, vgg
from neurodeploy.nn.layers import Dropout, SkipInit, WSConv2d
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe, Precision, load_recipe
from neurodeploy.rules import Batch, Rule
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.feeding import BUDGET, prefix_of, spikes_computed_again, steps_at_once
from neurodeploy.rules.ottt import OTTT
from neurodeploy.rules.rate import Rate
from neurodeploy.rules.sltt import SLTT, SLTTK
from neurodeploy.support.schema import build
from neurodeploy.training.encoding import evaluation_frames
from neurodeploy.training.evaluate import evaluate
from support.kept_for_backward import peak_kept
from support.narrow import there
from support.rounding import (
    assert_equal_but_for_rounding,
    gradient_magnitudes,
    statistic_magnitudes,
)

NEURON = NeuronRecipe(1.6, v_threshold=0.7)
LOSS = InstantaneousLoss(0.05)
CLASSES = 4


class PlainSpike(torch.autograd.Function):
    """Heaviside step with the triangle as its derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.threshold = threshold
        return (u >= threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        distance = (u - ctx.threshold).abs()
        slope = (ctx.threshold - distance).clamp(min=0) / ctx.threshold**2
        return grad_outputs[0] * slope, None


@dataclass
class Outcome:
    """What one batch leaves behind.

    Attributes:
        gradients: by parameter.
        statistics: buffers of the network.
        spikes: by layer, of the steps in order.
        outputs: sum of o[t].
        loss: mean of l(o[t], y).
        magnitudes: sums of the absolute values of what gradients add up, by parameter; of the
            plain form, and where they are known.
    """

    gradients: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)
    spikes: dict[str, list[Tensor]] = field(default_factory=dict)
    outputs: Tensor = field(default_factory=lambda: torch.zeros(()))
    loss: float = 0.0
    magnitudes: dict[str, Tensor] = field(default_factory=dict)


def plainly(
    network: SpikingNetwork, frames: Sequence[Tensor], labels: Tensor, factors: Sequence[float]
) -> Outcome:
    """Algorithm 1: step after step forward and, where the step's factor is not 0, backward."""
    network.zero_grad()
    found = Outcome()
    with gradient_magnitudes(network) as found.magnitudes:
        step_by_step(network, frames, labels, factors, found)
    return read_off(network, found)


def step_by_step(
    network: SpikingNetwork,
    frames: Sequence[Tensor],
    labels: Tensor,
    factors: Sequence[float],
    found: Outcome,
) -> None:
    """The steps of ``plainly``, which leave gradients in the network and the rest in ``found``."""
    v: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    before: dict[str, Tensor] = {}
    for frame, factor in zip(frames, factors, strict=True):
        values, x = {"input": frame}, frame
        for name, layer in network.layers.items():
            place = list(network.layers).index(name)
            later = list(network.layers)[place:]
            sources = [(before if s in later else values).get(s) for s in network.sources[name]]
            present = [source for source in sources if source is not None]
            if not present:
                continue
            x = present[0]
            for other in present[1:]:
                x = x + other
            if isinstance(layer, LIF):
                neuron = layer
                u = (1 - 1 / neuron.tau) * v.get(name, torch.zeros_like(x)) + x
                x = PlainSpike.apply(u, neuron.v_threshold)
                v[name] = (u - neuron.v_threshold * x).detach()
                found.spikes.setdefault(name, []).append(x.detach())
            elif isinstance(layer, Dropout):
                if name not in masks:
                    masks[name] = functional.dropout(torch.ones_like(x), layer.probability)
                x = x * masks[name]
            else:
                x = layer(x)
            values[name] = x
        before = {name: value.detach() for name, value in values.items()}
        loss = LOSS(x, labels)
        if factor:
            (factor * loss).backward()
        found.loss += loss.item() / len(factors)
        found.outputs = found.outputs + x.detach()


def read_off(network: SpikingNetwork, found: Outcome) -> Outcome:
    """Add gradients and buffers."""
    found.gradients = gradients(network)
    found.statistics = {name: value.clone() for name, value in network.named_buffers()}
    return found


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Copies, by parameter."""
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
    return found


def by_rule(
    network: SpikingNetwork,
    rule: Rule,
    frames: Sequence[Tensor],
    labels: Tensor,
    chunk: int,
    constant: bool,
) -> Outcome:
    """The code under test."""
    network.zero_grad()
    found = Outcome()
    integrate = LIF.integrate
    names = {layer: name for name, layer in network.layers.items()}

    def watched(layer: LIF, x: Tensor, membranes: Sequence[Tensor]) -> Tensor:
        spikes = integrate(layer, x, membranes)
        found.spikes.setdefault(names[layer], []).extend(spikes.clone())
        return spikes

    batch = Batch(iter(frames), len(frames), labels, constant, chunk)
    assert network.shapes  # found in a step of its own, which is not to be watched
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LIF, "integrate", watched)
        result = rule.train_batch(network, batch, LOSS, nothing, generator())
    found.outputs, found.loss = result.outputs, result.loss.item()
    return read_off(network, found)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small run faster on one thread, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def nothing() -> None:
    """An update that leaves parameters and gradients alone."""


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def assert_same(found: Outcome, expected: Outcome) -> None:
    """Spikes equal, the rest but for rounding."""
    assert found.spikes.keys() == expected.spikes.keys()
    for name, spikes in expected.spikes.items():
        stacked = torch.stack(spikes)
        assert torch.equal(torch.stack(found.spikes[name]), stacked), name
        assert 0.005 < stacked.mean() < 0.95, f"{name} is silent or saturated"
    assert found.loss == pytest.approx(expected.loss, rel=1e-12)
    assert_equal_but_for_rounding(found.outputs, expected.outputs, expected.outputs, "outputs")
    assert_same_statistics(found.statistics, expected.statistics)
    for name, gradient in expected.gradients.items():
        magnitude = expected.magnitudes.get(name, gradient)
        assert_equal_but_for_rounding(found.gradients[name], gradient, magnitude, name)
    assert "layers.fc.bias" in expected.magnitudes
    assert any(gradient.abs().max() > 1e-6 for gradient in expected.gradients.values())


def assert_same_statistics(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Counts equal, means and variances but for rounding."""
    assert found.keys() == expected.keys()
    magnitudes = statistic_magnitudes(expected)
    for name, value in expected.items():
        if value.is_floating_point():
            assert_equal_but_for_rounding(found[name], value, magnitudes[name], name)
        else:
            assert torch.equal(found[name], value), name


NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "mlp": ("mlp", {"hidden": [9, 8]}, (6,)),
    "mlp_bn": ("mlp", {"hidden": [9, 8], "batch_norm": True}, (6,)),
    "conv": ("conv", {"channels": [4, 6], "pool": [2, 1], "batch_norm": True}, (2, 6, 6)),
    "recurrent": ("recurrent", {"hidden": [9, 8]}, (6,)),
    "vgg11": ("vgg11", {"dropout": 0.3}, (2, 32, 32)),
    "vgg11_ws": ("vgg11_ws", {"dropout": 0.3}, (2, 8, 8)),
    "resnet18": ("resnet18", {"dropout": 0.1}, (3, 8, 8)),
    "nf_resnet": ("nf_resnet", {}, (3, 32, 32)),
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """All layers of the deep families, with few channels."""
    monkeypatch.setattr(vgg, "STAGES", ((4,), (6,), (8, 8), (8, 8), (8, 8)))
    monkeypatch.setattr(vgg, "WS_STAGES", ((4, 6), (8, 8), (8, 8), (8, 8)))
    monkeypatch.setattr(resnet, "STAGES", ((4, 1), (6, 2), (8, 2), (8, 2)))


def make(name: str) -> SpikingNetwork:
    """A network in float64 whose every layer is active, with statistics not at their start."""
    family, options, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = build(FAMILIES[family], options, "test").build(shape, CLASSES, NEURON).double()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                there(layer.running_mean).uniform_(-1, 1)
                there(layer.running_var).uniform_(0.5, 2)
                layer.weight.uniform_(0.8, 1.6)
                layer.bias.uniform_(-0.2, 0.4)
            elif isinstance(layer, nn.Linear):
                layer.weight.normal_(0, 0.7)
            elif isinstance(layer, WSConv2d):
                layer.gain.uniform_(1, 2)
                there(layer.bias).uniform_(-0.1, 0.4)
            elif isinstance(layer, SkipInit):
                layer.gain.uniform_(0.5, 1.5)
    return network


def make_batch(name: str, steps: int, constant: bool) -> tuple[list[Tensor], Tensor]:
    """Frames and labels of three samples."""
    rng = np.random.default_rng(0)
    shape = (3, *NETWORKS[name][2])
    frames = [torch.from_numpy(rng.uniform(0, 2, shape)) for _ in range(1 if constant else steps)]
    return frames * (steps if constant else 1), torch.tensor([0, 3, 1])


def compare(
    name: str,
    rule: Rule,
    factors: Sequence[float],
    chunk: int,
    constant: bool,
    precision: Precision = "fp64",
) -> None:
    """The plain form and a rule on two copies of a network.

    Args:
        precision: whose memory layout is taken; everything is computed in float64.
    """
    steps = shown = len(factors)
    if isinstance(rule, SLTTK) and rule.early_exit:
        shown = max(t for t in range(steps) if factors[t]) + 1
    frames, labels = make_batch(name, steps, constant)
    outcomes = []
    runs: tuple[tuple[Precision, Callable[[SpikingNetwork], Outcome]], ...] = (
        ("fp64", lambda network: plainly(network, frames[:shown], labels, factors[:shown])),
        (precision, lambda network: by_rule(network, rule, frames, labels, chunk, constant)),
    )
    for layout, run in runs:
        network = lay_out(make(name), len(labels), layout)
        torch.manual_seed(5)  # of dropout
        outcomes.append(run(network))
    assert_same(*reversed(outcomes))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("chunk", [0, 1, 2, 5])
@pytest.mark.parametrize("name", ["mlp", "mlp_bn", "conv", "recurrent"])
def test_sltt(name: str, chunk: int, constant: bool) -> None:
    compare(name, SLTT(), [1 / 5] * 5, chunk, constant)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("name", ["vgg11", "vgg11_ws", "resnet18", "nf_resnet"])
def test_sltt_in_deep_networks(name: str, constant: bool) -> None:
    compare(name, SLTT(), [1 / 3] * 3, 2, constant)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("name", ["conv", "vgg11_ws", "resnet18"])
def test_sltt_in_the_layout_of_float32(name: str, constant: bool) -> None:
    """One step at a time, so that spikes are computed again for backward."""
    compare(name, SLTT(), [1 / 3] * 3, 1, constant, "fp32")


def test_large_weights_on_small_maps_keep_their_channels_first() -> None:
    network = lay_out(make("resnet18"), 3, "fp32")
    last = {
        name: layer.weight.is_contiguous(memory_format=torch.channels_last)
        for name, layer in network.layers.items()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    }
    assert last["block1_1_conv1"] and not last["block4_2_conv2"]
    assert all(p.is_contiguous() for p in lay_out(make("conv"), 3, "fp64").parameters())


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("comparison", [">=", ">"])
def test_spikes_computed_again_are_those_that_were_let_go(
    comparison: Comparison, reset: Reset
) -> None:
    neuron = replace(NEURON, comparison=comparison, reset=reset)
    layers: dict[str, nn.Module] = {
        "in": nn.Linear(6, 50),
        "lif": LIF.of(neuron),
        "flatten": nn.Flatten(),
        "out": nn.Linear(50, 4),
    }
    torch.manual_seed(0)
    network = SpikingNetwork(layers, (6,))
    frames = torch.rand(3, 8, 6) * 4
    gradients, alive = [], []
    for context in (nullcontext, lambda: spikes_computed_again(network)):
        network.zero_grad()
        network.reset_state()
        seen: list[StorageWeakRef] = []

        def note(_: object, __: object, spikes: Tensor, into: list[StorageWeakRef] = seen) -> None:
            into.append(StorageWeakRef(spikes.untyped_storage()))

        watch = network.layers["lif"].register_forward_hook(note)
        for frame in frames:
            with context():
                output = network(frame)
            alive.append(not seen[-1].expired())
            output.square().sum().backward()
        watch.remove()
        gradients.append([there(p.grad) for p in network.parameters()])
    assert alive == [True] * 3 + [False] * 3
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("rule", [SLTTK(1), SLTTK(2), SLTTK(3, "unbiased", early_exit=False)])
def test_sltt_k(rule: SLTTK, chunk: int, constant: bool) -> None:
    """Its early exit counts only the steps that ran in the running statistics."""
    drawn = torch.randperm(5, generator=generator())[: rule.K].tolist()
    factor = 1 / (5 if rule.scale == "paper" else rule.K)
    compare("conv", rule, [factor * (t in drawn) for t in range(5)], chunk, constant)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("surrogate", ["rectangle", "sigmoid", "atan"])
@pytest.mark.parametrize("comparison", [">=", ">"])
def test_every_neuron_takes_steps_together(
    comparison: Comparison, surrogate: str, reset: Reset
) -> None:
    """Against single steps, which the tests of each rule hold against numpy."""
    neuron = NeuronRecipe(1.6, 0.7, reset, comparison, surrogate)
    x = torch.from_numpy(np.random.default_rng(0).choice([0.0, 0.3, 0.7, 1.4], (5, 40)))
    found = []
    for parts in ((1, 1, 1, 1, 1), (2, 3), (5,)):
        layer, drive = LIF.of(neuron), x.clone().requires_grad_()
        spikes = torch.cat([layer.over_steps(part) for part in drive.split(parts)])
        (spikes * torch.arange(200.0).reshape(5, 40)).sum().backward()
        with torch.no_grad():
            without = LIF.of(neuron)
            assert torch.equal(spikes, torch.cat([without.over_steps(p) for p in x.split(parts)]))
        assert torch.equal(there(layer.v), there(without.v))
        found.append((spikes, there(drive.grad), there(layer.v)))
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert_equal_but_for_rounding(mine, theirs, theirs)


@pytest.mark.parametrize("rule", [SLTT("step"), OTTT(), OTTT("step"), Rate("m"), Rate("s"), BPTT()])
def test_rules_that_cannot_use_them_ignore_the_settings(rule: Rule) -> None:
    """Parameters change on the way, weight gradients are not linear in errors, or graphs cross."""
    frames, labels = make_batch("conv", 3, constant=True)
    found = []
    for batch in (Batch(frames, 3, labels), Batch(frames, 3, labels, constant=True, time_chunk=2)):
        network = make("conv")
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        rule.train_batch(network, batch, LOSS, optimizer.step, generator())
        found.append(network.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_of_a_constant_input(momentum: float | None) -> None:
    """A norm with momentum None keeps the mean over all calls."""
    frames, labels = make_batch("conv", 3, constant=True)
    found = []
    for constant in (True, False):
        network = make("conv")
        norm: Any = network.layers["bn1"]
        norm.momentum, norm.num_batches_tracked = momentum, torch.tensor(4)
        SLTT().train_batch(network, Batch(frames, 3, labels, constant), LOSS, nothing, generator())
        assert norm.momentum == momentum
        assert norm.num_batches_tracked == 7
        found.append(norm.running_var)
    assert_equal_but_for_rounding(found[0], found[1], found[1])


def test_layers_that_a_constant_input_reaches_before_any_neuron() -> None:
    expected = {
        "mlp": ("flatten", "fc1"),
        "mlp_bn": ("flatten", "fc1", "bn1"),
        "conv": ("conv1", "bn1"),
        "recurrent": ("flatten", "fc1"),
        "nf_resnet": ("conv", "pool", "block1_1_beta"),
    }
    assert {name: prefix_of(make(name)) for name in expected} == expected
    alone = SpikingNetwork({"flatten": nn.Flatten(), "fc": nn.Linear(6, 2)}, (6,))
    assert prefix_of(alone) == ("flatten",), "the readout speaks at every step"


def test_a_constant_input_asks_for_one_frame_and_runs_its_layers_once() -> None:
    frames, labels = make_batch("conv", 4, constant=True)
    network, calls = make("conv"), []
    assert network.values_per_step  # counted in a step of its own
    network.layers["conv1"].register_forward_hook(lambda *_: calls.append(1))
    shown = iter(frames)
    SLTT().train_batch(network, Batch(shown, 4, labels, True), LOSS, nothing, generator())
    assert (len(calls), len(list(shown))) == (1, 3)


class Doubling(nn.Module):
    """A layer of someone else's that counts its steps and normalises inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.BatchNorm1d(9)
        self.step = 0

    def reset_state(self, cut: bool) -> None:
        """Count from 0."""
        self.step = 0

    def forward(self, x: Tensor) -> Tensor:
        """Larger from step to step."""
        self.step += 1
        return self.step * self.inner(x)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_layers_that_know_nothing_of_several_steps_get_one_at_a_time(chunk: int) -> None:
    frames, labels = make_batch("mlp", 4, constant=False)
    torch.manual_seed(0)
    layers = {
        "fc1": nn.Linear(6, 9),
        "strange": Doubling(),
        "lif1": LIF.of(NEURON),
        "nested": nn.Sequential(nn.Linear(9, 9), nn.BatchNorm1d(9)),
        "lif2": LIF.of(NEURON),
        "fc": nn.Linear(9, CLASSES),
    }
    network = SpikingNetwork(layers, (6,)).double()
    twin = copy.deepcopy(network)
    SLTT().train_batch(network, Batch(frames, 4, labels, False, chunk), LOSS, nothing, generator())
    twin.reset_state()
    with gradient_magnitudes(twin) as magnitudes:
        for frame in frames:
            (LOSS(twin(frame), labels) / 4).backward()
    expected = gradients(twin)
    assert expected.keys() == magnitudes.keys()
    for name, gradient in gradients(network).items():
        assert_equal_but_for_rounding(gradient, expected[name], magnitudes[name], name)
    assert_same_statistics(dict(network.named_buffers()), dict(twin.named_buffers()))


@pytest.mark.parametrize("encoder", ["direct", "rate", "events"])
@pytest.mark.parametrize("name", ["conv", "recurrent"])
def test_evaluation_is_the_step_wise_one(name: str, encoder: Encoder) -> None:
    network, rng = make(name).float(), np.random.default_rng(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
    shape = (20, 5, *NETWORKS[name][2]) if encoder == "events" else (20, *NETWORKS[name][2])
    code = InputCode(encoder, 1 if encoder == "events" else 16)
    samples = rng.integers(0, code.levels, shape, np.uint8, endpoint=True)
    labels = rng.integers(0, CLASSES, 20)
    frames = evaluation_frames(samples, code, 5, 0, torch.device("cpu"))
    plain, found = network.eval(), evaluate(network.train(), samples, labels, code, 5, LOSS)
    plain.eval().reset_state()
    with torch.no_grad():
        outputs = torch.stack([plain(frame) for frame in frames])
    losses = [LOSS(step, torch.from_numpy(labels)).item() for step in outputs]
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)  # in float32
    assert found.score == np.mean(outputs.sum(0).argmax(1).numpy() == labels)
    assert 0 < found.score < 1
    assert outputs.std(1).max() > 0.01, "samples differ"


# How many steps at once.


def test_time_chunk_is_as_asked_or_as_suits_the_size() -> None:
    network = make("conv")
    # conv1, bn1, lif1: 4 x 36 values; pool1: 4 x 9; conv2, bn2, lif2, flatten: 6 x 9; fc: 4.
    assert network.values_per_step == 3 * 144 + 36 + 4 * 54 + 4
    assert steps_at_once(network, 64, 10, 4) == 4
    assert steps_at_once(network, 64, 3, 4) == 3
    assert steps_at_once(network, 1, 10) == 10
    assert steps_at_once(network, 1 << 20, 10) == 1
    samples = BUDGET // (8 * network.values_per_step) // 3
    assert steps_at_once(network, samples, 10) == 3
    assert steps_at_once(make("recurrent"), 1, 10, 5) == 1, "each step reads the one before"


def test_counting_values_leaves_a_network_as_it_was() -> None:
    network = make("resnet18")
    network.layers["bn"].eval()
    before = copy.deepcopy(network.state_dict())
    assert network.values_per_step > 0
    assert [m.training for m in network.layers.values()].count(False) == 1
    assert not network.layers["bn"].training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(m.v is None for m in network.modules() if isinstance(m, LIF))


@pytest.mark.parametrize("rule", [SLTT(), SLTTK(2)])
def test_memory_grows_with_the_chunk_and_not_with_the_steps(
    rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would hide from the count what it packs itself.
    monkeypatch.setattr(Batch, "lean", False)

    def kept(steps: int, chunk: int) -> int:
        frames, labels = make_batch("conv", steps, constant=False)
        batch = Batch(frames, steps, labels, False, chunk)
        network = make("conv")
        return peak_kept(lambda: rule.train_batch(network, batch, LOSS, nothing, generator())).bytes

    assert kept(4, 1) == kept(12, 1)
    if isinstance(rule, SLTT):
        assert kept(6, 3) == kept(12, 3) > 2 * kept(12, 1)


def test_a_recipe_with_a_negative_time_chunk_is_refused() -> None:
    with pytest.raises(InputError, match="time_chunk must not be negative, found -1"):
        load_recipe("digits_mlp", ["training.time_chunk=-1"])
