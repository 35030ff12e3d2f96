"""Every training rule's gradient is its paper's, and the rules agree where they must.

The papers' equations are written out in numpy, for two hidden layers; networks of other shapes are
checked against errors that hooks catch on the way.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.contract import Reset
from neurodeploy.nn.families.dense import Mlp
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe, load_recipe
from neurodeploy.rules import RULES, Batch, BatchResult, Rule
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.eprop import EProp
from neurodeploy.rules.ottt import OTTT
from neurodeploy.rules.rate import Rate
from neurodeploy.rules.sltt import SLTT, SLTTK
from neurodeploy.training import train
from neurodeploy.training.assembly import rule_of
from support.command import run_cli, run_json
from support.kept_for_backward import peak_kept
from support.learned_mlp import CLASSES, HIDDEN, INPUTS, SAMPLES, make_batch, make_network, tau_of
from support.rounding import assert_equal_but_for_rounding

LOSS = InstantaneousLoss(0.05)
SURROGATE_NAMES = ["triangle", "rectangle", "sigmoid", "atan"]
Gradients = dict[str, np.ndarray]


def do_nothing() -> None:
    """An update that leaves parameters and gradients alone."""


def run(
    rule: Rule, network: SpikingNetwork, frames: np.ndarray, labels: np.ndarray, seed: int = 0
) -> BatchResult:
    """One batch through the code under test."""
    network.zero_grad()
    batch = Batch(map(torch.from_numpy, frames), len(frames), torch.from_numpy(labels))
    generator = torch.Generator().manual_seed(seed)
    return rule.train_batch(network, batch, LOSS, do_nothing, generator)


def gradients(
    rule: Rule, network: SpikingNetwork, frames: np.ndarray, labels: np.ndarray, seed: int = 0
) -> Gradients:
    """Gradients by parameter name."""
    run(rule, network, frames, labels, seed)
    return collect(network)


def collect(network: SpikingNetwork) -> Gradients:
    """Copies of the gradients that a network now has."""
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name.removeprefix("layers.")] = parameter.grad.numpy().copy()
    return found


def assert_close(found: Gradients, expected: Gradients, tolerance: float = 1e-10) -> None:
    """Relative difference of every gradient; none may be zero."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 0, name
        error = np.linalg.norm(found[name] - gradient) / np.linalg.norm(gradient)
        assert error < tolerance, (name, error)


# The papers' equations in numpy. Arrays are (T, N, size).


def derivative(neuron: NeuronRecipe, u: np.ndarray) -> np.ndarray:
    """ds/du."""
    threshold = neuron.v_threshold
    distance = u - threshold
    if neuron.surrogate == "triangle":
        return np.maximum(0, threshold - np.abs(distance)) / threshold**2
    if neuron.surrogate == "rectangle":
        return (np.abs(distance) < threshold / 2) / threshold
    if neuron.surrogate == "sigmoid":
        return 1 / np.cosh(2 * distance) ** 2
    return 1 / (1 + (np.pi * distance) ** 2)


def lif(neuron: NeuronRecipe, drive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u and s of T steps."""
    v, trace = np.zeros_like(drive[0]), []
    for x in drive:
        u = (1 - 1 / tau_of(neuron)) * v + x
        s = (u >= neuron.v_threshold) * 1.0
        v = u - neuron.v_threshold * s if neuron.reset == "subtract" else u * (1 - s)
        trace.append((u, s))
    u, s = (np.stack(part) for part in zip(*trace, strict=True))
    assert 0.02 < s.mean() < 0.98
    return u, s


def loss_error(o: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """dl/do for outputs (N, classes)."""
    exponentials = np.exp(o - o.max(1, keepdims=True))
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    a = LOSS.mse_weight
    return (1 - a) * (softmax - np.eye(CLASSES)[labels]) / len(o) + a * 2 * (o - 1) / o.size


class NumpyNetwork:
    """fc1 - (bn1) - lif1 - fc2 - (bn2) - lif2 - fc, run over all steps."""

    def __init__(self, network: SpikingNetwork, neuron: NeuronRecipe) -> None:
        self.neuron = neuron
        self.p = {
            name.removeprefix("layers."): value.detach().numpy().copy()
            for name, value in network.named_parameters()
        }

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """W x + b."""
        return x @ self.p[f"{name}.weight"].T + self.p.get(f"{name}.bias", 0)

    def forward(self, frames: np.ndarray) -> None:
        """Keep inputs, u and s of each layer, and o."""
        self.below = {"fc1": frames}
        self.u = {}
        for name, above in (("fc1", "fc2"), ("fc2", "fc")):
            self.u[name], self.below[above] = lif(self.neuron, self.linear(name, self.below[name]))
        self.o = self.linear("fc", self.below["fc"])

    def error_of_outputs(self, labels: np.ndarray) -> np.ndarray:
        """dL/do[t], L = (1/T) sum_t l."""
        return np.stack([loss_error(o, labels) for o in self.o]) / len(self.o)

    def weight_gradients(self, errors: Gradients, inputs: Gradients) -> Gradients:
        """Sum over steps of errors times inputs."""
        found = {}
        for name, e in errors.items():
            found[f"{name}.weight"] = np.einsum("tno,tni->oi", e, inputs[name])
            found[f"{name}.bias"] = e.sum((0, 1))
        return found

    def spatial_errors(self, error: np.ndarray) -> Gradients:
        """Errors at each layer's drive, within each step."""
        errors = {"fc": error}
        for name, above in (("fc2", "fc"), ("fc1", "fc2")):
            spread = errors[above] @ self.p[f"{above}.weight"]
            errors[name] = spread * derivative(self.neuron, self.u[name])
        return errors


def sltt_in_numpy(
    network: SpikingNetwork,
    neuron: NeuronRecipe,
    frames: np.ndarray,
    labels: np.ndarray,
    factors: np.ndarray | None = None,
) -> Gradients:
    """Meng et al. 2023, eq. 12 and 13; ``factors`` (T,) weigh steps, 1/T included, for SLTT-K."""
    numpy_network = NumpyNetwork(network, neuron)
    numpy_network.forward(frames)
    error = numpy_network.error_of_outputs(labels)
    if factors is not None:
        error *= factors[:, None, None] * len(frames)
    errors = numpy_network.spatial_errors(error)
    return numpy_network.weight_gradients(errors, numpy_network.below)


def bptt_in_numpy(
    network: SpikingNetwork, neuron: NeuronRecipe, frames: np.ndarray, labels: np.ndarray
) -> Gradients:
    """Backward through layers and, in each of them, through time and reset."""
    numpy_network = NumpyNetwork(network, neuron)
    numpy_network.forward(frames)
    errors = {"fc": numpy_network.error_of_outputs(labels)}
    for name, above in (("fc2", "fc"), ("fc1", "fc2")):
        spread = errors[above] @ numpy_network.p[f"{above}.weight"]
        u, s = numpy_network.u[name], numpy_network.below[above]
        slope = derivative(neuron, u)
        if neuron.reset == "subtract":
            carried = 1 - neuron.v_threshold * slope
        else:
            carried = (1 - s) - u * slope
        error, later = np.zeros_like(u), np.zeros_like(u[0])
        for t in reversed(range(len(u))):
            later = spread[t] * slope[t] + (1 - 1 / tau_of(neuron)) * later * carried[t]
            error[t] = later
        errors[name] = error
    return numpy_network.weight_gradients(errors, numpy_network.below)


def ottt_in_numpy(
    network: SpikingNetwork, neuron: NeuronRecipe, frames: np.ndarray, labels: np.ndarray
) -> Gradients:
    """Xiao et al. 2022: errors of SLTT, traces of all inputs."""
    numpy_network = NumpyNetwork(network, neuron)
    numpy_network.forward(frames)
    traces = {}
    for name, spikes in numpy_network.below.items():
        # The sum that the recursion stands for: a[t] = sum_k (1 - 1/tau)^(t - k) s[k].
        t, k = np.ogrid[: len(spikes), : len(spikes)]
        powers = np.where(k <= t, (1 - 1 / tau_of(neuron)) ** np.maximum(t - k, 0), 0)
        traces[name] = np.einsum("tk,kni->tni", powers, spikes)
    errors = numpy_network.spatial_errors(numpy_network.error_of_outputs(labels))
    return numpy_network.weight_gradients(errors, traces)


def rate_in_numpy(
    network: SpikingNetwork,
    neuron: NeuronRecipe,
    frames: np.ndarray,
    labels: np.ndarray,
    variant: str = "m",
) -> Gradients:
    """Yu et al. 2024, with batch norm where the network has it."""
    numpy_network = NumpyNetwork(network, neuron)
    p, eps = numpy_network.p, 1e-5
    spikes, rate = frames, frames.mean(0)
    rates, slopes, norms = {"fc1": rate}, {}, {}
    for i, name, above in ((1, "fc1", "fc2"), (2, "fc2", "fc")):
        drive = numpy_network.linear(name, spikes)
        if f"bn{i}.weight" in p:
            axes = (0, 1) if variant == "m" else (1,)
            mean, var = drive.mean(axes, keepdims=True), drive.var(axes, keepdims=True)
            drive = (drive - mean) / np.sqrt(var + eps) * p[f"bn{i}.weight"] + p[f"bn{i}.bias"]
            norms[name] = mean.mean((0, 1)), np.sqrt((1 / (var + eps)).mean((0, 1)))
        u, spikes = lif(neuron, drive)
        rho, rhos = np.ones_like(u[0]), []
        for s in spikes:
            rhos.append(rho)
            kept = 1 if neuron.reset == "subtract" else 1 - s
            rho = 1 + (1 - 1 / tau_of(neuron)) * kept * rho
        slopes[name] = (np.stack(rhos) * derivative(neuron, u)).mean(0)
        rates[above] = spikes.mean(0)
    found = {}
    error = loss_error(numpy_network.linear("fc", rates["fc"]), labels)
    for i, name, inner in ((3, "fc", "fc2"), (2, "fc2", "fc1"), (1, "fc1", None)):
        if name in norms:
            mean, inverse = norms[name]
            normal = (numpy_network.linear(name, rates[name]) - mean) * inverse
            found[f"bn{i}.weight"] = (error * normal).sum(0)
            found[f"bn{i}.bias"] = error.sum(0)
            centred = error - error.mean(0) - normal * (error * normal).mean(0)
            error = p[f"bn{i}.weight"] * inverse * centred
        found[f"{name}.weight"] = error.T @ rates[name]
        if f"{name}.bias" in p:
            found[f"{name}.bias"] = error.sum(0)
        if inner is not None:
            error = error @ p[f"{name}.weight"] * slopes[inner]
    return found


PAPERS: dict[str, tuple[Rule, Callable[..., Gradients]]] = {
    "sltt": (SLTT(), sltt_in_numpy),
    "bptt": (BPTT(), bptt_in_numpy),
    "ottt": (OTTT(), ottt_in_numpy),
    "rate_m": (Rate("m"), rate_in_numpy),
    "rate_s": (Rate("s"), rate_in_numpy),
}


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("surrogate", SURROGATE_NAMES)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("name", PAPERS)
def test_gradient_is_that_of_the_paper(name: str, reset: Reset, surrogate: str, steps: int) -> None:
    rule, paper = PAPERS[name]
    neuron = NeuronRecipe(1.7, v_threshold=0.8, reset=reset, surrogate=surrogate)
    network, (frames, labels) = make_network(neuron), make_batch(steps)
    expected = paper(network, neuron, frames, labels)
    assert_close(gradients(rule, network, frames, labels), expected)


def normalised_network(neuron: NeuronRecipe) -> SpikingNetwork:
    """Two hidden layers with batch norm whose scale and shift are not at their defaults."""
    torch.manual_seed(3)
    network = Mlp(HIDDEN, batch_norm=True).build((INPUTS,), CLASSES, neuron).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".bn" in name:
                parameter.copy_(torch.rand_like(parameter) + 0.5)
    return network


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("variant", ["m", "s"])
def test_rate_gradient_through_batch_norm(variant: Any, reset: Reset) -> None:
    neuron = NeuronRecipe(1.25, reset=reset, surrogate="sigmoid")
    network, (frames, labels) = normalised_network(neuron), make_batch(5)
    expected = rate_in_numpy(network, neuron, frames, labels, variant)
    assert_close(gradients(Rate(variant), network, frames, labels), expected)
    norm = network.layers["bn1"]
    assert isinstance(norm, nn.BatchNorm1d)
    # Once over all steps, or once per step; the pass of rates leaves running statistics alone.
    assert norm.num_batches_tracked == (1 if variant == "m" else 5)


def test_rate_variants_differ_only_by_batch_norm() -> None:
    frames, labels = make_batch(4)
    for make, same in ((make_network, True), (normalised_network, False)):
        network = make(NeuronRecipe(1.25))
        m, s = (gradients(Rate(variant), network, frames, labels) for variant in ("m", "s"))
        assert np.allclose(m["fc1.weight"], s["fc1.weight"], rtol=1e-12) is same


def test_rate_sees_every_frame_and_not_only_the_last() -> None:
    network, (frames, labels) = make_network(NeuronRecipe(1.25)), make_batch(4)
    frames[-1] = 0
    for variant in ("m", "s"):
        found = gradients(Rate(variant), network, frames, labels)
        assert np.abs(found["fc1.weight"]).max() > 0


def test_rate_refuses_feedback_and_leaves_the_network_as_it_was() -> None:
    frames, labels = make_batch(3)
    with pytest.raises(UnsupportedError, match="rule rate: layers lif1 act on the next step"):
        run(Rate(), recurrent_network(), frames, labels)
    network = make_network(NeuronRecipe(2.0))
    network.layers["fc"] = nn.Linear(3, 3).double()
    with pytest.raises(RuntimeError, match="shapes"):
        run(Rate(), network, frames, labels)
    for layer in network.layers.values():
        assert "forward" not in vars(layer)


# Identities.


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_rules_coincide_at_one_step(reset: Reset) -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0, reset=reset)), make_batch(1)
    sltt = gradients(SLTT(), network, frames, labels)
    # With one step the mean output is the output, and a trace is its input.
    for rule in (BPTT(), OTTT(), OTTT("step"), SLTTK(1), SLTTK(1, "unbiased"), Rate("s"), Rate()):
        assert_close(gradients(rule, network, frames, labels), sltt, 1e-12)


@pytest.mark.parametrize("steps", [2, 6])
def test_readout_of_sltt_is_that_of_bptt_and_hidden_layers_are_not(steps: int) -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0)), make_batch(steps)
    sltt = gradients(SLTT(), network, frames, labels)
    bptt = gradients(BPTT(), network, frames, labels)
    readout = ("fc.weight", "fc.bias")
    assert_close({n: sltt[n] for n in readout}, {n: bptt[n] for n in readout}, 1e-12)
    assert not np.allclose(sltt["fc1.weight"], bptt["fc1.weight"], rtol=1e-2)


def test_all_steps_drawn_is_sltt() -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0)), make_batch(4)
    sltt = gradients(SLTT(), network, frames, labels)
    for scale, early_exit in itertools.product(("paper", "unbiased"), (True, False)):
        rule = SLTTK(4, scale, early_exit)
        assert_close(gradients(rule, network, frames, labels), sltt, 1e-12)


def test_early_exit_leaves_the_gradient_alone_and_asks_for_no_later_frame() -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0)), make_batch(6)
    asked = set()
    for seed in range(12):
        whole = gradients(SLTTK(2, early_exit=False), network, frames, labels, seed)
        assert_close(gradients(SLTTK(2), network, frames, labels, seed), whole, 1e-12)
        unbiased = gradients(SLTTK(2, "unbiased"), network, frames, labels, seed)
        assert_close(unbiased, {name: 3 * gradient for name, gradient in whole.items()}, 1e-12)
        seen = []

        def watch(frames: np.ndarray = frames, seen: list[int] = seen) -> Iterator[Tensor]:
            for t, frame in enumerate(frames):
                seen.append(t)
                yield torch.from_numpy(frame)

        batch = Batch(watch(), 6, torch.from_numpy(labels))
        generator = torch.Generator().manual_seed(seed)
        SLTTK(2).train_batch(network, batch, LOSS, do_nothing, generator)
        drawn = torch.randperm(6, generator=torch.Generator().manual_seed(seed))[:2]
        assert seen == list(range(int(drawn.max()) + 1))
        asked.add(len(seen))
    assert len(asked) > 2, "draws differ"


@pytest.mark.parametrize("K", [1, 2, 3])
def test_mean_over_all_draws_is_sltt(K: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 4
    neuron = NeuronRecipe(2.0)
    network, (frames, labels) = make_network(neuron), make_batch(steps)
    draws = list(itertools.combinations(range(steps), K))
    total: Gradients = {}
    for draw in draws:
        order = [*draw, *({*range(steps)} - {*draw})]
        monkeypatch.setattr(torch, "randperm", lambda *_, o=order, **__: torch.tensor(o))
        found = gradients(SLTTK(K, "unbiased"), network, frames, labels)
        factors = np.isin(np.arange(steps), draw) / K
        assert_close(found, sltt_in_numpy(network, neuron, frames, labels, factors))
        for name, gradient in found.items():
            total[name] = total.get(name, 0) + gradient / len(draws)
    assert_close(total, gradients(SLTT(), network, frames, labels), 1e-12)


def test_results_are_those_of_the_steps_that_were_run() -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0)), make_batch(5)
    expected = run(SLTT(), network, frames, labels)
    whole = [BPTT(), OTTT(), Rate("m"), Rate("s"), SLTTK(2, early_exit=False)]
    for rule in whole:
        found = run(rule, network, frames, labels)
        assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-12)
        assert_equal_but_for_rounding(found.outputs, expected.outputs, expected.outputs)
        assert not (found.loss.requires_grad or found.outputs.requires_grad)
    seed = 1
    drawn = torch.randperm(5, generator=torch.Generator().manual_seed(seed))[:1].item()
    assert drawn < 4
    short = run(SLTTK(1), network, frames, labels, seed)
    same = run(SLTT(), network, frames[: int(drawn) + 1], labels)
    assert short.loss.item() == pytest.approx(same.loss.item(), rel=1e-12)
    assert_equal_but_for_rounding(short.outputs, same.outputs, same.outputs)


# When parameters change.


@pytest.mark.parametrize("name", RULES)
def test_one_update_a_batch_when_the_gradient_is_there(name: str) -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0)), make_batch(3)
    seen = []
    batch = Batch(map(torch.from_numpy, frames), 3, torch.from_numpy(labels))
    RULES[name]().train_batch(
        network, batch, LOSS, lambda: seen.append(collect(network)), torch.Generator()
    )
    assert len(seen) == 1
    for name, gradient in collect(network).items():
        np.testing.assert_array_equal(seen[0][name], gradient, err_msg=name)


def test_online_sltt_is_a_step_of_the_optimiser_after_each_step_of_time() -> None:
    frames, labels = make_batch(4)
    network, by_hand = (make_network(NeuronRecipe(2.0)) for _ in range(2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9)

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    batch = Batch(map(torch.from_numpy, frames), 4, torch.from_numpy(labels))
    SLTT("step").train_batch(network, batch, LOSS, update, torch.Generator())

    by_hand.reset_state(cut=True)
    velocity = [torch.zeros_like(parameter) for parameter in by_hand.parameters()]
    for frame in frames:
        loss = LOSS(by_hand(torch.from_numpy(frame)), torch.from_numpy(labels)) / 4
        found = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for i, (parameter, gradient) in enumerate(
                zip(by_hand.parameters(), found, strict=True)
            ):
                velocity[i] = 0.9 * velocity[i] + gradient
                parameter -= 0.3 * velocity[i]
    for found, expected in zip(network.parameters(), by_hand.parameters(), strict=True):
        assert_equal_but_for_rounding(found, expected, expected)
    start, end = (
        n.get_parameter("layers.fc1.weight") for n in (make_network(NeuronRecipe(2.0)), network)
    )
    assert not torch.allclose(end, start, rtol=1e-3)


@pytest.mark.parametrize(("whole", "online"), [(SLTT(), SLTT("step")), (OTTT(), OTTT("step"))])
def test_online_gradients_add_up_when_parameters_stay(whole: Rule, online: Rule) -> None:
    network, (frames, labels) = make_network(NeuronRecipe(2.0)), make_batch(4)
    expected = gradients(whole, network, frames, labels)
    total: Gradients = {}
    calls = 0

    def take() -> None:
        nonlocal calls
        calls += 1
        for name, gradient in collect(network).items():
            total[name] = total.get(name, 0) + gradient
        network.zero_grad()

    network.zero_grad()
    batch = Batch(map(torch.from_numpy, frames), 4, torch.from_numpy(labels))
    online.train_batch(network, batch, LOSS, take, torch.Generator())
    assert calls == 4
    assert_close(total, expected, 1e-12)


def test_memory_of_all_rules_but_bptt_does_not_depend_on_the_number_of_steps() -> None:
    network = normalised_network(NeuronRecipe(2.0))
    for name, rule_type in RULES.items():
        if rule_type is EProp:
            continue  # takes no batch norm; its own test looks at its memory
        rule = rule_type()
        few, many = (
            peak_kept(lambda n=n, rule=rule: run(rule, network, *make_batch(n))).tensors
            for n in (2, 12)
        )
        assert few > 0
        if name == "bptt":
            assert many > 4 * few
            assert all(m.v is None for m in network.modules() if isinstance(m, LIF))
        else:
            assert many == few, name


# Networks of other shapes.


class Standardised(nn.Conv2d):
    """A convolution whose weight is computed from its parameters."""

    def kernel(self) -> Tensor:
        """Zero mean per output channel."""
        return self.weight - self.weight.mean((1, 2, 3), keepdim=True)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution with that weight."""
        return nn.functional.conv2d(input, self.kernel(), self.bias, 1, self.padding)


def residual_network() -> SpikingNetwork:
    """Strides, groups, batch norm, a shortcut of spikes, average pooling."""
    torch.manual_seed(0)
    neuron = NeuronRecipe(1.6, v_threshold=0.5)
    layers = {
        "conv1": nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        "bn1": nn.BatchNorm2d(4),
        "lif1": LIF.of(neuron),
        "conv2": nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
        "lif2": LIF.of(neuron),
        "conv3": Standardised(4, 6, 3, padding=1),
        "lif3": LIF.of(neuron),
        "pool": nn.AvgPool2d(2),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(24, CLASSES),
    }
    return SpikingNetwork(layers, (2, 8, 8), {"conv3": ("lif1", "lif2")}).double()


def recurrent_network() -> SpikingNetwork:
    """Spikes of one step reach the same neurons at the next."""
    torch.manual_seed(0)
    layers = {
        "fc1": nn.Linear(INPUTS, 8),
        "back": nn.Linear(8, 8),
        "lif1": LIF.of(NeuronRecipe(1.6, v_threshold=0.5)),
        "fc": nn.Linear(8, CLASSES),
    }
    sources = {"fc1": ("input",), "back": ("lif1",), "lif1": ("fc1", "back"), "fc": ("lif1",)}
    return SpikingNetwork(layers, (INPUTS,), sources).double()


def ottt_by_hooks(network: SpikingNetwork, frames: np.ndarray, labels: np.ndarray) -> Gradients:
    """Inputs and errors of every synapse, caught step by step; each trace times its error."""
    network.zero_grad()
    network.reset_state(cut=True)
    synapses = {n: m for n, m in network.layers.items() if isinstance(m, nn.Conv2d | nn.Linear)}
    decay = next(1 - 1 / m.tau for m in network.modules() if isinstance(m, LIF))
    traces: dict[str, Tensor] = {}
    totals: Gradients = {}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = []
    for name, module in synapses.items():

        def catch(_: nn.Module, args: tuple[Tensor], output: Tensor, name: str = name) -> None:
            seen[name] = args[0].detach(), output
            output.retain_grad()

        hooks.append(module.register_forward_hook(catch))
    for frame in frames:
        seen.clear()
        outputs = network(torch.from_numpy(frame))
        (LOSS(outputs, torch.from_numpy(labels)) / len(frames)).backward()
        for name, (given, output) in seen.items():
            traces[name] = decay * traces.get(name, 0) + given
            module, error = synapses[name], output.grad
            assert error is not None
            if isinstance(module, nn.Linear):
                gradient = torch.einsum("no,ni->oi", error, traces[name])
            else:
                how: Any = module.stride, module.padding, module.dilation, module.groups
                gradient = conv2d_weight(traces[name], module.weight.shape, error, *how)
            if isinstance(module, Standardised):
                (gradient,) = torch.autograd.grad(module.kernel(), module.weight, gradient)
            key = f"{name}.weight"
            totals[key] = totals.get(key, 0) + gradient.numpy()
    for hook in hooks:
        hook.remove()
    # What is no weight of a synapse has no trace, and autograd's gradient stands.
    return collect(network) | totals


@pytest.mark.parametrize("make", [residual_network, recurrent_network])
def test_ottt_in_networks_of_any_shape(make: Callable[[], SpikingNetwork]) -> None:
    rng = np.random.default_rng(0)
    network = make()
    frames = rng.uniform(0, 2, (4, SAMPLES, *network.sample_shape))
    labels = rng.integers(0, CLASSES, SAMPLES)
    expected = ottt_by_hooks(network, frames, labels)
    sltt = gradients(SLTT(), network, frames, labels)
    found = gradients(OTTT(), network, frames, labels)
    assert_close(found, expected)
    assert not np.allclose(found["fc.weight"], sltt["fc.weight"], rtol=1e-2)


def test_every_rule_but_eprop_takes_a_residual_network() -> None:
    rng = np.random.default_rng(0)
    frames, labels = rng.uniform(0, 2, (3, SAMPLES, 2, 8, 8)), rng.integers(0, CLASSES, SAMPLES)
    for rule_type in {*RULES.values()} - {EProp}:
        found = gradients(rule_type(), residual_network(), frames, labels)
        assert all(np.abs(gradient).max() > 0 for gradient in found.values())


class Mask(nn.Module):
    """Dropout with one mask until the state is reset."""

    def reset_state(self, cut: bool) -> None:
        """The next call draws a mask."""
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Zero where the mask is."""
        if self.mask is None:
            self.mask = (torch.rand_like(x) < 0.5).to(x.dtype)
        return x * self.mask


def test_rate_gives_layers_with_a_state_one_step_at_a_time() -> None:
    neuron, (frames, labels) = NeuronRecipe(1.25, v_threshold=0.5), make_batch(4)
    layers = {
        "fc1": nn.Linear(INPUTS, 8),
        "lif1": LIF.of(neuron),
        "mask": Mask(),
        "fc": nn.Linear(8, CLASSES),
    }
    network = SpikingNetwork(layers, (INPUTS,)).double()
    found = []
    for variant in ("m", "s"):
        torch.manual_seed(0)
        found.append(gradients(Rate(variant), network, frames, labels))
    assert_close(found[0], found[1], 1e-12)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Bilinear(1, 1, 1), "no trace for bilinear"),
        (nn.Sequential(nn.Linear(INPUTS, 4), nn.Linear(4, 4)), "one weight each"),
    ],
)
def test_ottt_refuses_synapses_it_has_no_trace_for(layer: nn.Module, message: str) -> None:
    if isinstance(layer, nn.Bilinear):
        bilinear = layer
        layer = nn.Module()
        layer.forward = lambda x: bilinear(x[:, :1], x[:, 1:2])
    layers = {"layer": layer, "lif": LIF.of(NeuronRecipe(2.0))}
    frames, labels = make_batch(2)
    with pytest.raises(UnsupportedError, match=message):
        run(OTTT(), SpikingNetwork(layers, (INPUTS,)), frames.astype(np.float32), labels)


def test_ottt_needs_one_time_constant_behind_a_layer() -> None:
    layers = {
        "fc": nn.Linear(INPUTS, CLASSES),
        "lif1": LIF.of(NeuronRecipe(2.0)),
        "lif2": LIF.of(NeuronRecipe(3.0)),
        "sum": nn.Identity(),
    }
    sources = {"lif2": ("fc",), "sum": ("lif1", "lif2")}
    frames, labels = make_batch(2)
    with pytest.raises(UnsupportedError, match=r"one tau for all neurons, found \[2.0, 3.0\]"):
        run(OTTT(), SpikingNetwork(layers, (INPUTS,), sources), frames, labels)


def test_errors_may_be_narrower_than_parameters() -> None:
    """Under autocast the errors of OTTT's own functions are bfloat16, its traces float32."""
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 2, (3, SAMPLES, 2, 8, 8)).astype(np.float32)
    labels = rng.integers(0, CLASSES, SAMPLES)
    network = residual_network().float()
    with torch.autocast("cpu", torch.bfloat16):
        narrow = gradients(OTTT(), network, frames, labels)
        sltt = gradients(SLTT(), network, frames, labels)
    wide = gradients(OTTT(), network, frames, labels)
    assert {gradient.dtype for gradient in narrow.values()} == {np.dtype(np.float32)}
    narrow, wide, sltt = (found["fc.weight"].ravel() for found in (narrow, wide, sltt))
    cosine = narrow @ wide / np.linalg.norm(narrow) / np.linalg.norm(wide)
    assert cosine > 0.95
    assert np.linalg.norm(narrow) > 1.1 * np.linalg.norm(sltt)


# Recipes and command.


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "sltt-k", "K": 5}, r"K = 5 steps cannot be drawn from the T = 4.*at most 4"),
        ({"name": "sltt-k", "K": 0}, "K must be at least 1"),
        ({"name": "sltt-k", "scale": "half"}, "'paper', 'unbiased'"),
        ({"name": "sltt", "update": "never"}, "'steps', 'step'"),
        ({"name": "rate", "variant": "x"}, "'m', 's'"),
        ({"name": "otttt"}, "did you mean 'ottt'"),
    ],
)
def test_options_are_checked_before_training(rule: dict[str, Any], message: str) -> None:
    recipe = dataclasses.replace(load_recipe("digits_conv"), rule=rule)
    with pytest.raises(InputError, match=message):
        rule_of(recipe)


def test_command_replaces_the_whole_rule(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'description = "small"\nnetwork = {family = "mlp", hidden = [8]}\ndata.name = "digits"\n'
        'neuron.tau = 2.0\nrule = {name = "sltt", update = "step"}\n'
        "training = {steps = 2, epochs = 1, batch_size = 256, learning_rate = 0.01}\n"
    )
    arguments = ["train", str(recipe), "--out", "run", "--set", "rule.K=2", "--rule", "sltt-k"]
    run_json(*arguments, folder=tmp_path)
    saved = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert saved["rule"] == {"name": "sltt-k", "K": 2}
    wrong = run_cli("train", str(recipe), "--rule", 'stlt"', folder=tmp_path)
    assert wrong.exit_code == 2
    assert "[rule] name 'stlt\"' is not known; did you mean 'sltt'" in wrong.output
    together = run_cli("train", "--resume", "run", "--rule", "bptt", folder=tmp_path)
    assert "--resume takes everything from the run" in together.output


TRAINED: list[dict[str, Any]] = [
    {"name": "sltt"},
    {"name": "sltt", "update": "step"},
    {"name": "sltt-k", "K": 1},
    {"name": "sltt-k", "K": 2, "scale": "unbiased"},
    {"name": "bptt"},
    {"name": "ottt"},
    {"name": "ottt", "update": "step"},
    {"name": "rate"},
    {"name": "rate", "variant": "s"},
]


@pytest.mark.slow
@pytest.mark.parametrize("rule", TRAINED, ids=lambda rule: "-".join(map(str, rule.values())))
def test_digits_are_learned(rule: dict[str, Any], tmp_path: Path) -> None:
    overrides = ["training.epochs=12"]
    recipe = dataclasses.replace(load_recipe("digits_conv", overrides), rule=rule)
    result = train(recipe, tmp_path / "run", progress=False)
    assert result.test_accuracy > 0.93
