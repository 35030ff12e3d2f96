"""Gradients of networks that live in time, against their equations in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.families import build_network
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.tracing import spiking_network
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.recipe.constants import TimeConstant
from neurodeploy.rules import BPTT, OTTT, SLTT, SLTTK, Batch, Rate, Rule
from support.kept_for_backward import peak_kept
from support.temporal_equations import Layer, gradients, sigmoid, surrogate

SAMPLES, INPUTS, HIDDEN, CLASSES, STEPS = 4, 6, (8, 7), 3, 7
LOSS = InstantaneousLoss(0.05)
LABELS = np.array([0, 2, 1, 2])


def frames() -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 1.2, (STEPS, SAMPLES, INPUTS))


def network(neuron: NeuronRecipe, **options: Any) -> SpikingNetwork:
    """Two hidden layers in float64, with weights large enough for many spikes."""
    torch.manual_seed(2)
    table = {"family": "mlp", "hidden": list(HIDDEN)} | options
    model = build_network(table, (INPUTS,), CLASSES, neuron).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("weight", "bias")):
                parameter.mul_(3.0)
    return model


def loss_error(o: np.ndarray) -> np.ndarray:
    """dl/do for outputs (N, classes)."""
    exponentials = np.exp(o - o.max(1, keepdims=True))
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    a = LOSS.mse_weight
    return (1 - a) * (softmax - np.eye(CLASSES)[LABELS]) / len(o) + a * 2 * (o - 1) / o.size


def array(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def written_out(model: SpikingNetwork) -> tuple[list[Layer], tuple[np.ndarray, np.ndarray]]:
    layers: dict[str, Any] = dict(model.layers.items())
    found = []
    for i in range(1, len(HIDDEN) + 1):
        neurons = layers[f"lif{i}"]
        lif = neurons.lif if isinstance(neurons, CubaLIF) else neurons
        found.append(
            Layer(
                weight=array(layers[f"fc{i}"].weight),
                bias=array(layers[f"fc{i}"].bias),
                keep=array(lif.keep),
                u_keep=array(neurons.u_keep) if isinstance(neurons, CubaLIF) else 0.0,
                recurrent=array(layers[f"rec{i}"].weight) if f"rec{i}" in layers else None,
                reset=lif.reset,
                rest=lif.refractory_period,
            )
        )
    return found, (array(layers["fc"].weight), array(layers["fc"].bias))


def expected(model: SpikingNetwork, cut: bool, traced: bool = False) -> dict[str, np.ndarray]:
    """By name of the parameter, what the equations say."""
    layers, readout = written_out(model)
    each, top = gradients(layers, readout, frames(), loss_error, cut, traced)
    for layer in layers:
        assert 0.02 < np.mean(layer.traces["s"]) < 0.95
    owners: dict[str, torch.nn.Parameter] = {}
    wanted: dict[str, Any] = {"fc.weight": top["weight"], "fc.bias": top["bias"]}
    for i, found in enumerate(each, 1):
        wanted |= {f"fc{i}.weight": found["weight"], f"fc{i}.bias": found["bias"]}
        if "recurrent" in found:
            wanted[f"rec{i}.weight"] = found["recurrent"]
        neurons: Any = model.layers[f"lif{i}"]
        lif = neurons.lif if isinstance(neurons, CubaLIF) else neurons
        inner = f"lif{i}.lif" if isinstance(neurons, CubaLIF) else f"lif{i}"
        # dL/dw through keep = sigmoid(-w), of all neurons that share w.
        for name, w, share in (
            (f"{inner}.tau_w", lif.learned("tau_w"), "keep"),
            (f"lif{i}.tau_syn_w", neurons.learned("tau_syn_w"), "u_keep"),
        ):
            if w is not None:
                kept = sigmoid(-array(w))
                gradient = -kept * (1 - kept) * found[share]
                known = next((n for n, other in owners.items() if other is w), name)
                owners[known] = w
                wanted[known] = wanted.get(known, 0) + (gradient if w.ndim else gradient.sum())
    return wanted


def run(rule: Rule, model: SpikingNetwork, chunk: int = 0) -> dict[str, np.ndarray]:
    """Gradients of the code under test."""
    model.zero_grad()
    shown = map(torch.from_numpy, frames())
    batch = Batch(shown, STEPS, torch.from_numpy(LABELS), time_chunk=chunk)
    rule.train_batch(model, batch, LOSS, lambda: None, torch.Generator().manual_seed(0))
    return {
        name.removeprefix("layers."): array(parameter.grad)
        for name, parameter in model.named_parameters()
    }


def assert_close(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert np.abs(gradient).max() > 0, name
        error = np.linalg.norm(found[name] - gradient) / np.linalg.norm(gradient)
        assert error < 1e-10, (name, error)


NEURONS = {
    "current": NeuronRecipe(3.0, surrogate="sigmoid", tau_syn=2.5),
    "current, zero": NeuronRecipe(3.0, surrogate="sigmoid", tau_syn=2.5, reset="zero"),
    "rest": NeuronRecipe(3.0, surrogate="sigmoid", refractory_period=2),
    "one per layer": NeuronRecipe((2.0, 5.0), surrogate="sigmoid", tau_syn=(1.5, 3.0)),
    "drawn per neuron": NeuronRecipe(
        TimeConstant(per="neuron", draw="uniform", low=1.5, high=4.0),
        surrogate="sigmoid",
        tau_syn=TimeConstant(per="neuron", draw="log_uniform", low=1.0, high=4.0),
    ),
    "learned per layer": NeuronRecipe(
        TimeConstant(3.0, learn=True), surrogate="sigmoid", tau_syn=TimeConstant(2.0, learn=True)
    ),
    "learned per neuron": NeuronRecipe(
        TimeConstant(3.0, per="neuron", learn=True, draw="normal", deviation=0.5, low=2, high=4),
        surrogate="sigmoid",
        tau_syn=TimeConstant(2.0, per="neuron", learn=True),
        reset="zero",
    ),
    "learned for all": NeuronRecipe(
        TimeConstant(3.0, per="network", learn=True),
        surrogate="sigmoid",
        tau_syn=TimeConstant(per="network", learn=True, draw="uniform", low=1.5, high=2.5),
    ),
    "learned without current": NeuronRecipe(
        TimeConstant(3.0, per="neuron", learn=True), surrogate="sigmoid"
    ),
    "learned, rests": NeuronRecipe(
        TimeConstant(3.0, per="neuron", learn=True),
        surrogate="sigmoid",
        tau_syn=TimeConstant(2.0, learn=True),
        refractory_period=1,
    ),
    "current and rest": NeuronRecipe(
        2.0, surrogate="sigmoid", tau_syn=2.0, refractory_period=1, reset="zero"
    ),
}


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    ("rule", "chunk", "cut"),
    [
        (SLTT(), 1, True),
        (SLTT(), 3, True),
        (SLTTK(STEPS), 0, True),
        (BPTT(), 0, False),
        (BPTT(), 1, False),
        (BPTT(), 3, False),
    ],
    ids=["sltt, chunk 1", "sltt, chunk 3", "sltt-k", "bptt", "bptt, chunk 1", "bptt, chunk 3"],
)
def test_gradients_are_those_of_the_equations(
    kind: str, recurrent: bool, rule: Rule, chunk: int, cut: bool
) -> None:
    model = network(NEURONS[kind], recurrent=recurrent)
    assert_close(run(rule, model, chunk), expected(model, cut))


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        "current",
        "rest",
        "current and rest",
        "one per layer",
        "learned per layer",
        "learned for all",
    ],
)
def test_traces_are_those_of_the_neurons_behind_them(kind: str, recurrent: bool) -> None:
    model = network(NEURONS[kind], recurrent=recurrent)
    assert_close(run(OTTT(), model), expected(model, True, traced=True))


@pytest.mark.parametrize("kind", ["drawn per neuron", "learned per neuron"])
def test_traces_of_single_neurons_are_refused(kind: str) -> None:
    model = network(NEURONS[kind])
    if kind == "learned per neuron":
        with torch.no_grad():
            model.layers["lif1"].get_parameter("tau_syn_w")[0] += 1
    with pytest.raises(UnsupportedError, match="a trace for each synapse"):
        run(OTTT(), model)


@pytest.mark.parametrize("variant", ["m", "s"])
@pytest.mark.parametrize("kind", ["current", "current, zero", "drawn per neuron"])
def test_mean_rates_of_neurons_with_a_current(kind: str, variant: Any) -> None:
    """Yu et al. 2024 with rho[t] = dI[t]/dc + keep rho[t-1] dv/du."""
    model = network(NEURONS[kind])
    layers, (top, top_bias) = written_out(model)
    shown = frames()
    gradients(layers, (top, top_bias), shown, loss_error, True)
    rates, slopes = [shown.mean(0)], []
    for layer in layers:
        by_current, kept, total = 1.0, 0.0, np.zeros(())
        for u, s in zip(layer.traces["u"], layer.traces["s"], strict=True):
            rho = by_current + kept
            total = total + rho * surrogate(u, layer.threshold)
            kept = layer.keep * rho * (1 - s if layer.reset == "zero" else 1)
            by_current = 1 + layer.u_keep * by_current
        slopes.append(total / STEPS)
        rates.append(np.mean(layer.traces["s"], 0))
    error = loss_error(rates[-1] @ top.T + top_bias)
    wanted = {"fc.weight": error.T @ rates[-1], "fc.bias": error.sum(0)}
    back = error @ top
    for i in reversed(range(len(layers))):
        by_drive = back * slopes[i]
        wanted[f"fc{i + 1}.weight"] = by_drive.T @ rates[i]
        wanted[f"fc{i + 1}.bias"] = by_drive.sum(0)
        back = by_drive @ layers[i].weight
    assert_close(run(Rate(variant), model), wanted)


@pytest.mark.parametrize(
    ("kind", "recurrent", "message"),
    [
        ("rest", False, "refractory_period"),
        ("learned per layer", False, "time constants that are to be learned"),
        ("current", True, "lif1, lif2 act on the next step"),
    ],
)
def test_mean_rates_refuse_what_they_do_not_see(kind: str, recurrent: bool, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        run(Rate(), network(NEURONS[kind], recurrent=recurrent))


@pytest.mark.parametrize("rule", [SLTT(), BPTT()])
@pytest.mark.parametrize(
    "readout",
    [
        {"kind": "integrate"},
        {"kind": "integrate", "tau_syn": 3.0, "learn": True},
        {"kind": "leak", "tau": 4.0},
        {"kind": "leak", "tau": 4.0, "tau_syn": 2.0, "learn": True},
        {"kind": "leak", "tau": 4.0, "decode": "last_v"},
    ],
)
def test_readouts_that_integrate(readout: dict[str, Any], rule: Rule) -> None:
    """o[t] = v[t] or v[t] - v[t-1], with I[t] = u_keep I[t-1] + W s[t] + b."""
    model = network(NEURONS["current"], readout=readout)
    found = run(rule, model, 3)
    out: Any = model.layers["out"]
    layers, (weight, bias) = written_out(model)
    gradients(layers, (weight, bias), frames(), loss_error, True)
    spikes, keep, u_keep = layers[-1].traces["s"], array(out.keep), array(out.u_keep)
    current = v = np.zeros((SAMPLES, CLASSES))
    trace, outputs = [], []
    for s in spikes:
        before = current, v
        current = u_keep * current + s @ weight.T + bias
        v = keep * v + current
        trace.append(before)
        outputs.append(v if out.decode == "sum_v" else v - before[1])
    wanted = {name: np.zeros(()) for name in ("weight", "bias", "keep", "u_keep")}
    later_v = later_current = later_o = np.zeros_like(v)
    cut = isinstance(rule, SLTT)
    for t in reversed(range(STEPS)):
        by_o = loss_error(outputs[t]) / STEPS
        by_v = by_o + (0 if cut else keep * later_v)
        if out.decode == "last_v" and not cut:
            by_v = by_v - later_o
        by_x = by_v + (0 if cut else u_keep * later_current)
        wanted["weight"] = wanted["weight"] + by_x.T @ spikes[t]
        wanted["bias"] = wanted["bias"] + by_x.sum(0)
        wanted["keep"] = wanted["keep"] + (by_v * trace[t][1]).sum()
        wanted["u_keep"] = wanted["u_keep"] + (by_x * trace[t][0]).sum()
        later_v, later_current, later_o = by_v, by_x, by_o
    compared = {"fc.weight": wanted["weight"], "fc.bias": wanted["bias"]}
    for name, share, kept in (("tau_w", "keep", keep), ("tau_syn_w", "u_keep", u_keep)):
        if name in out.learns:
            compared[f"out.{name}"] = -kept * (1 - kept) * wanted[share]
    assert_close({name: found[name] for name in compared}, compared)


@pytest.mark.parametrize("tau_syn", [1.0, 2.5])
def test_traces_of_a_leaking_readout_are_exact(tau_syn: float) -> None:
    """The read-out has no reset: with its own traces OTTT gives what all paths in time give."""
    readout = {"kind": "leak", "tau": 4.0, "tau_syn": tau_syn}
    model = network(NEURONS["current"], readout=readout)
    whole, traced = run(BPTT(), model), run(OTTT(), model)
    assert_close({"w": traced["fc.weight"]}, {"w": whole["fc.weight"]})
    last = network(NEURONS["current"], readout=readout | {"decode": "last_v"})
    with pytest.raises(UnsupportedError, match="read by its last potential"):
        run(OTTT(), last)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("comparison", [">=", ">"])
def test_steps_at_once_go_back_as_a_graph_of_single_ones_does(reset: Any, comparison: Any) -> None:
    """Thresholds and shares of single neurons; a value exactly at a threshold; parts of steps."""
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(STEPS, 4, 5, generator=rng, dtype=torch.float64)
    x[0, 0] = threshold = torch.linspace(0.4, 1.2, 5, dtype=torch.float64)
    x.requires_grad_()
    tau = torch.linspace(1.5, 6, 5, dtype=torch.float64)
    layer = LIF(tau, threshold, reset, comparison, "sigmoid", learn_tau=True).double()
    found = []
    for cuts in ([1] * STEPS, [STEPS], [2, 1, 4]):
        layer.reset_state(cut=False)
        parts = x.split(cuts)
        # A call is one step, with its graph.
        spikes = [layer(p[0])[None] if len(cuts) == STEPS else layer.over_steps(p) for p in parts]
        weighted = (torch.cat(spikes) * torch.linspace(-1, 2, 5)).sum() + layer.v.square().sum()  # pyright: ignore[reportOptionalMemberAccess]
        found.append((torch.cat(spikes), *torch.autograd.grad(weighted, [x, layer.tau_w])))
    assert 0.1 < float(found[0][0].detach().mean()) < 0.9
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_sltt_and_bptt_differ_where_there_is_a_memory() -> None:
    model = network(NEURONS["current"])
    cut, whole = expected(model, True), expected(model, False)
    assert np.linalg.norm(cut["fc1.weight"] - whole["fc1.weight"]) > 0.1 * np.linalg.norm(
        whole["fc1.weight"]
    )


def test_a_current_of_one_step_is_none() -> None:
    assert isinstance(network(NeuronRecipe(2.0)).layers["lif1"], LIF)
    assert isinstance(network(NeuronRecipe(2.0, tau_syn=1.5)).layers["lif1"], CubaLIF)


class Fed(nn.Module):
    """A layer of one's own that reads its last spikes, by holding them."""

    def __init__(self, weights: nn.Module, back: nn.Module, neurons: nn.Module) -> None:
        super().__init__()
        self.weights, self.back, self.neurons = weights, back, neurons
        self.last: torch.Tensor | None = None

    def reset_state(self) -> None:
        """No spikes before the first step."""
        self.last = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One step."""
        drive = self.weights(x)
        if self.last is not None:
            drive = drive + self.back(self.last)
        spikes = self.neurons(drive)
        self.last = spikes
        return spikes


@pytest.mark.parametrize("rule", [SLTT(), BPTT(), OTTT()])
def test_a_module_that_holds_its_spikes_learns_as_the_family_does(rule: Rule) -> None:
    model = network(NEURONS["learned per layer"], recurrent=True)
    wanted = run(rule, model)
    layers = dict(model.layers.items())
    own = nn.Sequential(
        *(Fed(layers[f"fc{i}"], layers[f"rec{i}"], layers[f"lif{i}"]) for i in (1, 2)),
        layers["fc"],
    )
    followed = spiking_network(own, (INPUTS,))
    assert len(followed.fed_back) == 2
    for module in (own, followed):
        own.zero_grad()
        x = torch.from_numpy(frames())
        if module is own and isinstance(rule, OTTT):
            continue  # outside a network one trace serves all, so all constants have to be the same
        rule.backward(module, x, torch.from_numpy(LABELS), LOSS)
        found = {
            name.removeprefix("layers."): array(parameter.grad)
            for name, parameter in model.named_parameters()
        }
        assert_close(found, wanted)


@pytest.mark.parametrize("rule", [SLTT(), SLTTK(3), OTTT()])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recurrent": True},
        {"delays": {"max": 3, "learn": True}, "readout": {"kind": "leak", "tau": 3.0}},
    ],
)
def test_memory_for_backward_does_not_grow_with_time(rule: Rule, options: dict[str, Any]) -> None:
    model = network(NEURONS["learned per layer"], **options)

    def kept(steps: int) -> int:
        shown = [torch.from_numpy(frames()[0])] * steps
        batch = Batch(shown, steps, torch.from_numpy(LABELS), time_chunk=5)
        update = torch.Generator().manual_seed(0)
        return peak_kept(lambda: rule.train_batch(model, batch, LOSS, lambda: None, update)).bytes

    kept(10)
    assert kept(80) <= 1.05 * kept(10)
