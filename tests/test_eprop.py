"""E-prop's gradients are those of its equations, and of backpropagation through time where it says.

The equations are written out in numpy, one synapse and sample at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import Reset
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.rules import BPTT, SLTT, Batch, EProp, Rule
from support.kept_for_backward import peak_kept

STEPS, SAMPLES, INPUTS, CLASSES = 12, 3, 5, 3


class Layer(NamedTuple):
    """What the equations need of a layer of neurons; one that never fires is a read-out."""

    weight: np.ndarray
    bias: np.ndarray
    keep: float
    u_keep: float = 0.0
    reset: Reset = "subtract"
    fires: bool = True


def triangle(u: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(u - 1))


def equations(
    layers: list[Layer], readout: Layer | None, frames: np.ndarray, labels: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Gradients of each layer's weights and biases by the rule's equations; cross-entropy."""
    steps, samples = frames.shape[:2]
    found = [(np.zeros_like(layer.weight), np.zeros_like(layer.bias)) for layer in layers]
    out = (np.zeros_like(readout.weight), np.zeros_like(readout.bias)) if readout else None
    for n in range(samples):
        state = [(np.zeros(len(layer.weight)), np.zeros(len(layer.weight))) for layer in layers]
        # By layer: current of the input, e, what its membrane keeps, and m for each layer above.
        traced = [[0.0, 0.0, 0.0] for _ in layers]
        marks: list[list[list]] = [[[0.0, 0.0] for _ in layers] for _ in layers]
        for t in range(steps):
            given, psis, kepts, shown = [], [], [], frames[t, n]
            for i, layer in enumerate(layers):
                current, v = state[i]
                given.append(np.append(shown, 1.0))
                current = layer.u_keep * current + layer.weight @ shown + layer.bias
                u = layer.keep * v + current
                if layer.fires:
                    spikes = (u >= 1).astype(float)
                    psi = triangle(u)
                    if layer.reset == "subtract":
                        v, kept = u - spikes, 1 - psi
                    else:
                        v, kept = u * (1 - spikes), 1 - spikes - u * psi
                    shown = spikes
                else:
                    v, psi, kept, shown = u, np.ones_like(u), np.ones_like(u), u
                state[i] = current, v
                psis.append(psi)
                kepts.append(layer.keep * kept)
            o = shown if readout is None else readout.weight @ shown + readout.bias
            error = np.exp(o - o.max())
            error = (error / error.sum() - np.eye(CLASSES)[labels[n]]) / samples / steps
            if readout is not None and out is not None:
                out[0][:] += np.outer(error, shown)
                out[1][:] += error
                error = readout.weight.T @ error
            errors = [error]
            for psi, layer in zip(psis[:0:-1], layers[:0:-1], strict=True):
                errors.append(layer.weight.T @ (errors[-1] * psi))
            for i, (layer, error) in enumerate(zip(layers, reversed(errors), strict=True)):
                current, e, kept = traced[i]
                current = layer.u_keep * current + given[i]
                e = np.reshape(kept, (-1, 1)) * e + current * np.ones((len(layer.weight), 1))
                m = psis[i][:, None] * e
                for j in range(i + 1, len(layers)):
                    above, mark = marks[i][j]
                    m = layers[j].u_keep * above + m
                    marks[i][j][0] = m
                    m = np.mean(traced[j][2]) * mark + m
                    marks[i][j][1] = m
                found[i][0][:] += error[:, None] * m[:, :-1]
                found[i][1][:] += error * m[:, -1]
                traced[i][:2] = current, e
            for trace, kept in zip(traced, kepts, strict=True):
                trace[2] = kept
    return [*found, *([] if out is None else [out])]


def samples(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = (rng.random((STEPS, SAMPLES, INPUTS)) < 0.5).astype(float)
    return frames, rng.integers(CLASSES, size=SAMPLES)


def gradients(
    rule: Rule, network: SpikingNetwork, frames: np.ndarray, labels: np.ndarray
) -> dict[str, Tensor]:
    network.zero_grad()
    batch = Batch(map(torch.from_numpy, frames), len(frames), torch.from_numpy(labels))
    rule.train_batch(network, batch, InstantaneousLoss(), lambda: None, torch.Generator())
    return {
        name.removeprefix("layers."): parameter.grad.clone()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def linear(inputs: int, outputs: int, gain: float = 3.0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, dtype=torch.float64)
    layer.weight.data *= gain
    return layer


def learned_currents() -> CubaLIF:
    taus = torch.linspace(2.0, 6.0, 8, dtype=torch.float64)
    return CubaLIF(taus, taus - 0.5, learn_tau=True, learn_tau_syn=True)


def two_hidden(
    neuron: Callable[[], nn.Module], last: Callable[[], nn.Module] | None = None
) -> SpikingNetwork:
    torch.manual_seed(1)
    layers = {
        "fc1": linear(INPUTS, 7),
        "lif1": neuron(),
        "fc2": linear(7, 6),
        "lif2": neuron(),
        "fc": linear(6, CLASSES),
    }
    return SpikingNetwork(layers | ({} if last is None else {"out": last()}), (INPUTS,))


def described(layer: nn.Linear, neuron: nn.Module | None) -> Layer:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    if neuron is None:
        return Layer(weight, bias, 0.0)
    assert isinstance(neuron, LIF | CubaLIF | LI)
    if isinstance(neuron, LI):
        return Layer(weight, bias, float(neuron.keep), float(neuron.u_keep), fires=False)
    lif = neuron.lif if isinstance(neuron, CubaLIF) else neuron
    current = float(neuron.u_keep) if isinstance(neuron, CubaLIF) else 0.0
    return Layer(weight, bias, float(lif.keep), current, lif.reset)


@pytest.mark.parametrize("last", [None, "integrate", "count"])
@pytest.mark.parametrize("current", [1.0, 3.0])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_gradients_are_those_of_the_equations(
    reset: Reset, current: float, last: Literal["integrate", "count"] | None
) -> None:
    def neuron() -> nn.Module:
        return LIF(4.0, reset=reset) if current == 1 else CubaLIF(4.0, current, reset=reset)

    ends = {None: None, "integrate": lambda: LI(6.0, 2.0), "count": lambda: LIF(3.0)}
    network = two_hidden(neuron, ends[last])
    frames, labels = samples()
    found = gradients(EProp(), network, frames, labels)
    names = ["fc1", "fc2", "fc"]
    behind = ["lif1", "lif2", "out" if last else None]
    layers = [
        described(network.layers[name], network.layers[other] if other else None)  # pyright: ignore[reportArgumentType]
        for name, other in zip(names, behind, strict=True)
    ]
    readout = None if last else layers.pop()
    expected = equations(layers, readout, frames, labels)
    for name, (weight, bias) in zip(names, expected, strict=True):
        for part, values in (("weight", weight), ("bias", bias)):
            assert np.abs(values).max() > 1e-4
            np.testing.assert_allclose(found[f"{name}.{part}"], values, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "behind",
    [
        lambda: {"lif": LIF(5.0), "fc": linear(8, CLASSES)},
        lambda: {"lif": LIF(5.0, reset="zero"), "fc": linear(8, CLASSES)},
        lambda: {
            "lif": CubaLIF(5.0, 3.0, bias=torch.zeros(8, dtype=torch.float64)),
            "fc": linear(8, CLASSES),
        },
        lambda: {"lif": learned_currents(), "fc": linear(8, CLASSES)},
        lambda: {
            "lif": LIF(5.0),
            "fc": linear(8, CLASSES),
            "li": LI(8.0, 3.0, torch.zeros(CLASSES, dtype=torch.float64), "last_v"),
        },
    ],
)
def test_the_last_neurons_learn_as_by_backpropagation_through_time(
    behind: Callable[[], dict[str, nn.Module]],
) -> None:
    torch.manual_seed(2)
    network = SpikingNetwork({"fc1": linear(INPUTS, 8), **behind()}, (INPUTS,))
    frames, labels = samples(1)
    found = gradients(EProp(), network, frames, labels)
    expected = gradients(BPTT(), network, frames, labels)
    within = gradients(SLTT(), network, frames, labels)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if name.endswith("_w"):
            # Time constants learn within a step.
            torch.testing.assert_close(found[name], within[name], rtol=1e-10, atol=1e-14)
            continue
        torch.testing.assert_close(found[name], values, rtol=1e-10, atol=1e-14)
    assert not torch.allclose(within["fc1.weight"], expected["fc1.weight"], rtol=0.01)


def test_a_recurrent_projection_is_traced_and_not_followed() -> None:
    torch.manual_seed(3)
    layers = {"fc1": linear(INPUTS, 8), "rec": nn.Linear(8, 8, bias=False, dtype=torch.float64)}
    layers |= {"lif": LIF(5.0), "fc": linear(8, CLASSES)}
    sources = {"rec": ("lif",), "lif": ("fc1", "rec")}
    network = SpikingNetwork(layers, (INPUTS,), sources)
    frames, labels = samples(2)
    found = gradients(EProp(), network, frames, labels)["rec.weight"]
    # The same spikes as an input of their own, whose path through time ends there.
    spikes: list[Tensor] = []
    network.reset_state()
    network.watch = lambda name, value: spikes.append(value.detach()) if name == "lif" else None
    with torch.no_grad():
        for frame in frames:
            network(torch.from_numpy(frame))
    before = torch.stack([torch.zeros_like(spikes[0]), *spikes[:-1]])
    joined = nn.Linear(INPUTS + 8, 8, dtype=torch.float64)
    first, recurrent = (network.layers[name] for name in ("fc1", "rec"))
    joined.weight.data = torch.cat([first.weight, recurrent.weight], 1).detach()  # pyright: ignore[reportArgumentType]
    joined.bias.data = first.bias.detach()  # pyright: ignore[reportCallIssue]
    layers = {"fc1": joined, "lif": LIF(5.0), "fc": network.layers["fc"]}
    forward = SpikingNetwork(layers, (INPUTS + 8,))
    both = np.concatenate([frames, before.numpy()], 2)
    expected = gradients(BPTT(), forward, both, labels)["fc1.weight"][:, INPUTS:]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_memory_does_not_grow_with_the_steps() -> None:
    network = two_hidden(lambda: CubaLIF(4.0, 3.0))
    frames, labels = samples()
    few = peak_kept(lambda: gradients(EProp(), network, frames, labels))
    many = peak_kept(lambda: gradients(EProp(), network, np.tile(frames, (8, 1, 1)), labels))
    assert 0 < many.bytes <= few.bytes


def test_what_has_no_trace_is_refused() -> None:
    convolution = SpikingNetwork(
        {"conv": nn.Conv2d(1, 2, 3), "lif": LIF(2.0), "flatten": nn.Flatten(), "fc": linear(8, 3)},
        (1, 4, 4),
    )
    resting = two_hidden(lambda: LIF(4.0, refractory_period=2))
    for network, message in ((convolution, "conv .Conv2d"), (resting, "refractory period of lif")):
        with pytest.raises(UnsupportedError, match=message):
            gradients(EProp(), network, *samples())
    with pytest.raises(UnsupportedError, match="from_torch"):
        EProp().backward(nn.Linear(5, 3), torch.rand(4, 2, 5), torch.zeros(2), lambda o, y: o.sum())
