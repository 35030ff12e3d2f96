"""Modules as anybody writes them, followed into networks: the same spikes everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.from_torch import from_torch
from neurodeploy.ir.contract import NodeSemantics
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.layers import Scale, SkipInit, WSConv2d
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.steps import reset
from neurodeploy.nn.tracing import spiking_network
from neurodeploy.quantization.post_training import quantize
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch, SpikeTrace
from neurodeploy.target import load_target
from support.quick import quick

STEPS, LEVELS, SAMPLES = 6, 4, 3


def lif(tau: float = 2.0, threshold: float = 0.5) -> LIF:
    return LIF(tau, v_threshold=threshold)


class Residual(nn.Module):
    """Nested blocks, batch norm, a shortcut, two kinds of constants, functions where they fit."""

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 3, padding="same", bias=False)
            self.bn = nn.BatchNorm2d(channels)
            self.lif = lif(1.4, 0.7)

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.bn(self.conv(x)) + x)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), lif())
        self.blocks = nn.ModuleList([self.Block(4), self.Block(4)])
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 3 * 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = self.drop(F.avg_pool2d(x, 2)).view(x.shape[0], -1)
        return self.head(x)


class Functions(nn.Module):
    """Differences, factors, weights that are parameters of the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 8))
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 6, bias=False)
        self.first, self.second = lif(), lif(3.0)
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        s = self.first(2.0 * self.a(x) - F.linear(x, self.weight) / 2)
        s = s + torch.neg(self.second(self.b(s))) * -0.5
        return self.out(torch.flatten(s, start_dim=1)).contiguous()


class Recurrent(nn.Module):
    """State by hand: the spikes of the step before, None at first."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(5, 6), nn.Linear(6, 3)
        self.back: nn.Module = nn.Linear(6, 6, bias=False)
        self.lif = lif()
        self.spikes: Tensor | None = None

    def reset_state(self) -> None:
        self.spikes = None

    def forward(self, x: Tensor) -> Tensor:
        drive = self.into(x)
        if self.spikes is not None:
            drive = drive + self.back(self.spikes)
        self.spikes = self.lif(drive)
        return self.out(self.spikes)


class RecurrentBuffer(nn.Module):
    """State by hand in a buffer of zeros, written after the output."""

    drive: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(5, 6), nn.Linear(6, 3)
        self.back = nn.Linear(6, 6, bias=False)
        self.lif = lif()
        self.register_buffer("drive", torch.zeros(1, 6))

    def reset_state(self) -> None:
        self.drive = torch.zeros(1, 6, dtype=self.into.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.into(x) + self.drive)
        y = self.out(spikes)
        self.drive = self.back(spikes)
        return y


def two_layers() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 10), nn.BatchNorm1d(10, affine=False), lif(), nn.Linear(10, 4)
    )


def standardised() -> nn.Module:
    return nn.Sequential(
        WSConv2d(2, 3, 3, padding=1), SkipInit(0.5), lif(), Scale(2.74), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(12, 3),
    )  # fmt: skip


class OneAxis(nn.Module):
    """Convolutions over one axis, as a layer and as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding="same", dilation=2)
        self.bn, self.first = nn.BatchNorm1d(3), lif()
        self.weight = nn.Parameter(torch.randn(4, 3, 2))
        self.second, self.out = lif(1.5), nn.Linear(4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.first(self.bn(self.conv(x)))
        s = self.second(F.conv1d(s, self.weight, stride=2, padding=1))
        return self.out(s.flatten(1))


def ending_in_spikes() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), lif(), nn.Linear(8, 3), lif(1.5, 0.1))


def own_resets() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), lif(), nn.Linear(8, 8), LIF(2.0, 0.1, reset="zero", comparison=">"),
        nn.Linear(8, 6), LIF(1.5, 0.1, reset="zero"), nn.Linear(6, 3),
    )  # fmt: skip


class Loop(nn.Module):
    """Two layers in one loop; the second sees the first within the step, or a step later."""

    def __init__(self, late: bool = True) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 5, bias=False)
        self.back, self.out = nn.Linear(5, 5, bias=False), nn.Linear(5, 3)
        self.first, self.second = lif(threshold=0.3), lif(threshold=0.1)
        self.late = late
        self.kept: dict[str, Tensor] = {}

    def reset_state(self) -> None:
        self.kept = {}

    def forward(self, x: Tensor) -> Tensor:
        drive = self.a(x)
        if self.kept:
            drive = drive + self.back(self.kept["second"])
        first = self.first(drive)
        seen = first if not self.late else self.kept.get("first", torch.zeros_like(first))
        second = self.second(self.b(seen))
        self.kept = {"first": first, "second": second}
        return self.out(second)


def recurrent_with_bias(buffer: bool = False) -> nn.Module:
    """The bias of what is fed back is not there at the first step."""
    module = RecurrentBuffer() if buffer else Recurrent()
    module.back = nn.Linear(6, 6)
    return module


def behind_a_bias_fed_back() -> nn.Module:
    """The same with a layer without bias between."""
    module = Recurrent()
    module.back = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 6, bias=False), nn.Identity())
    return module


class Currents(nn.Module):
    """Biases into synaptic currents: of a convolution, a linear layer and one that feeds back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 3, 3, padding=1), nn.Linear(12, 7)
        self.back, self.out = nn.Linear(7, 7), nn.Linear(7, 3)
        self.first, self.second = CubaLIF(2.0, 3.0, 0.5), CubaLIF(4.0, 1.5, 0.4)
        self.read = LI(3.0, 2.0)
        self.spikes: Tensor | None = None

    def reset_state(self) -> None:
        self.spikes = None

    def forward(self, x: Tensor) -> Tensor:
        s = F.avg_pool2d(self.first(self.conv(x)), 2)
        drive = self.fc(s.flatten(1))
        if self.spikes is not None:
            drive = drive + self.back(self.spikes)
        self.spikes = self.second(drive)
        return self.read(self.out(self.spikes))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (2, 6, 6)),
    "functions": (Functions, (8,)),
    "recurrent": (Recurrent, (5,)),
    "recurrent-buffer": (RecurrentBuffer, (5,)),
    "sequential": (two_layers, (3, 2, 2)),
    "loop": (Loop, (4,)),
    "one-axis": (OneAxis, (2, 7)),
    "recurrent-bias": (recurrent_with_bias, (5,)),
    "buffer-bias": (lambda: recurrent_with_bias(buffer=True), (5,)),
    "bias-before": (behind_a_bias_fed_back, (5,)),
    "currents": (Currents, (2, 4, 4)),
    "spikes": (ending_in_spikes, (6,)),
    "standardised": (standardised, (2, 4, 4)),
    "resets": (own_resets, (6,)),
}


def make(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A module in float64 whose batch norms and gains are not what they start as."""
    torch.manual_seed(len(name))
    build, shape = MODULES[name]
    module = build().double()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.2, 1.5)
        if isinstance(part, SkipInit):
            nn.init.constant_(part.gain, 3.0)
    return module.eval(), shape


def integers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, LEVELS + 1, (SAMPLES, *shape)).astype(np.int32)


@torch.no_grad()
def spikes_of(module: nn.Module, x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes (N, T, ...) of each LIF layer by name, and outputs (N, T, ...), by torch."""
    seen: dict[str, list[Tensor]] = {}
    kinds = (LIF, CubaLIF)
    layers = {n.replace(".", "_"): p for n, p in module.named_modules() if isinstance(p, kinds)}
    layers = {name: layer for name, layer in layers.items() if not name.endswith("_lif")}

    def note(name: str, _layer: nn.Module, _given: object, made: Tensor) -> None:
        seen.setdefault(name, []).append(made.clone())

    hooks = [part.register_forward_hook(partial(note, name)) for name, part in layers.items()]
    reset(module)
    outputs = [module(torch.from_numpy(x / LEVELS)) for _ in range(STEPS)]
    for hook in hooks:
        hook.remove()
    return (
        {name: torch.stack(steps, 1).numpy() for name, steps in seen.items()},
        torch.stack(outputs, 1).numpy(),
    )


def trace_of(engine: Any, x: np.ndarray) -> SpikeTrace:
    batch = SampleBatch(0, x, static=True)
    found = next(iter(engine.run([batch], state=True)))
    return found[1] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", MODULES)
def test_torch_float_engine_and_reference_agree_at_every_step(name: str) -> None:
    """Torch against the float engine in float64; the reference against Lava has its own tests."""
    module, shape = make(name)
    x = integers(shape)
    expected, outputs = spikes_of(module, x)
    network = from_torch(module, shape, STEPS, levels=LEVELS)
    trace = trace_of(FloatEngine(network), x)
    assert expected.keys() <= trace.populations.keys()
    for layer, spikes in expected.items():
        assert 0 < spikes.mean() < 1, layer
        np.testing.assert_array_equal(trace.populations[layer].s, spikes, layer)
    if "readout" in trace.populations:
        readout = trace.populations["readout"].v
        assert readout is not None
        np.testing.assert_allclose(readout[:, -1], outputs.sum(1), rtol=1e-9, atol=1e-9)
    elif network.contract.decode != "spike_count":
        potentials = trace.populations[network.output].v
        assert potentials is not None
        np.testing.assert_allclose(potentials, outputs, rtol=1e-9, atol=1e-9)
    else:
        np.testing.assert_array_equal(trace.populations[network.output].s, outputs)
    quantized = quantize(network, load_target("loihi2"))
    assert {p.name for p in quantized.populations} == {p.name for p in network.populations}


@pytest.mark.lava
@pytest.mark.parametrize(
    "name", quick(["residual", "recurrent", "recurrent-bias", "currents"], "residual", "currents")
)
def test_lava_computes_the_reference_of_a_users_module(name: str) -> None:
    from neurodeploy.lava.stock import LavaEngine

    module, shape = make(name)
    network = quantize(from_torch(module, shape, STEPS, levels=LEVELS), load_target("loihi2"))
    x = integers(shape)
    lava = LavaEngine(network, state=True)
    try:
        found = trace_of(lava, x)
    finally:
        lava.close()
    expected = trace_of(ReferenceEngine(network), x)
    for population, values in expected.populations.items():
        np.testing.assert_array_equal(found.populations[population].s, values.s)


def test_layers_are_shared_and_nothing_of_the_module_changes() -> None:
    module, shape = make("recurrent-buffer")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = spiking_network(module.train(), shape)
    assert network.layers["into"] is module.get_submodule("into")
    assert network.training
    assert {*before} == {*module.state_dict()}
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(isinstance(v, torch.fx.Proxy) for v in vars(module).values())


class Step(nn.Module):
    """A module whose step is given as a function."""

    def __init__(self, step: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, x)


def keep_two(net: Any, x: Tensor) -> Tensor:
    old = getattr(net, "old", 0.0)
    net.old = getattr(net, "new", 0.0)
    net.new = net.lif(net.fc(x))
    return net.out(net.new + old)


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "layer": (lambda net, x: net.relu(net.fc(x)), "uses ReLU, which has no counterpart"),
    "function": (lambda net, x: torch.cat([x, net.fc(x)]), "calls cat, which no"),
    "method": (lambda net, x: net.fc(x).softmax(1), "calls softmax, which no"),
    "branch": (lambda net, x: net.fc(x) if x.sum() > 0 else x, "decides by values"),
    "constant": (lambda net, x: net.fc(x) + 1.0, "adds a constant"),
    "product": (lambda net, x: net.fc(x) * net.lif(x), "other than a fixed number"),
    "parameter": (lambda net, x: net.fc(x) * net.fc.bias, "other than a fixed number"),
    "shape": (lambda net, x: net.out(net.fc(x).view(-1, 2)), "changes the shape from"),
    "twice": (lambda net, x: net.lif(net.fc(net.lif(x))), "uses 'lif' twice in a step"),
    "doubled": (lambda net, x: net.out(x + x), "twice in one sum; multiply it by 2"),
    "two steps": (keep_two, "two steps"),
    "random": (lambda net, x: net.fc(x) * float(torch.rand(())), "computes something else at"),
    "no tensor": (lambda net, x: torch.zeros(2), "gives no tensor that depends"),
    "numbers": (lambda net, x: net.fc(x) * len(x), "cannot be followed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_expressed_is_named_with_its_place(case: str) -> None:
    step, message = REFUSED[case]
    module = Step(step, fc=nn.Linear(4, 4), lif=lif(), out=nn.Linear(4, 4), relu=nn.ReLU())
    with pytest.raises(UnsupportedError) as error:
        from_torch(module, (4,), STEPS)
    assert message in str(error.value)
    if case not in ("random", "no tensor"):
        assert "test_from_torch.py, line" in str(error.value)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode 'circular'"),
        (nn.Conv2d(2, 2, 2, padding="same"), "use an odd kernel"),
        (nn.AvgPool2d(2, ceil_mode=True), "ceil_mode"),
        (nn.AdaptiveAvgPool2d(4), "does not divide"),
        (nn.Flatten(2), "flattens only some axes"),
        (nn.MaxPool2d(2), "uses MaxPool2d"),
        (nn.LSTM(6, 3), "LSTM"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers_with_options_that_networks_lack_are_refused(layer: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        spiking_network(nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3)), (2, 6, 6))


def test_every_layer_keeps_its_reset_and_comparison() -> None:
    network = from_torch(own_resets(), (6,), STEPS)
    how = [(p.leaky.reset, p.leaky.comparison) for p in network.populations if p.neuron]
    assert how[:3] == [("subtract", ">="), ("zero", ">"), ("zero", ">=")]
    semantics = network.contract.semantics
    assert semantics.nodes == {"3": NodeSemantics("zero", ">"), "5": NodeSemantics("zero")}


@pytest.mark.parametrize(("steps", "levels"), [(0, 1), (4, 0)])
def test_no_steps_or_levels_are_refused(steps: int, levels: int) -> None:
    with pytest.raises(InputError, match="must be at least 1, found 0"):
        from_torch(two_layers(), (3, 2, 2), steps, levels=levels)


def test_samples_that_do_not_fit_name_the_layer_that_fails() -> None:
    with pytest.raises(UnsupportedError, match=r"fails on samples of shape \(7,\)"):
        from_torch(make("recurrent")[0], (7,), STEPS)


def test_a_loop_of_layers_within_a_step_is_refused() -> None:
    """A chip brings spikes at every connection of a loop one step later."""
    with pytest.raises(UnsupportedError, match="'first' and 'second' lie in one loop"):
        from_torch(Loop(late=False).double(), (4,), STEPS)


def test_a_counter_that_acts_late_is_found() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.count = nn.Linear(4, 4), 0

        def reset_state(self) -> None:
            self.count = 0

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return self.fc(x) * 2.0 if self.count > 7 else self.fc(x)

    spiking_network(Counting(), (4,))
    with pytest.raises(UnsupportedError, match="computes something else at step 8"):
        from_torch(Counting(), (4,), 10)


def test_a_class_made_from_a_layer_is_that_layer() -> None:
    class Mine(LIF):
        pass

    network = from_torch(nn.Sequential(nn.Linear(4, 4), Mine(2.0), nn.Linear(4, 2)), (4,), STEPS)
    assert {p.name for p in network.populations} == {"input", "1", "readout"}


def test_pruned_layers_and_float_literals_are_followed() -> None:
    from torch.nn.utils import prune

    module = nn.Sequential(nn.Linear(4, 6), lif(), nn.Linear(6, 2))
    prune.random_unstructured(module[0], "weight", 0.5)
    assert from_torch(module, (4,), STEPS).output == "readout"

    class Zeros(Recurrent):
        def reset_state(self) -> None:
            self.spikes = torch.zeros(1, 6)

    assert from_torch(Zeros(), (5,), STEPS).output == "readout"


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(4, 8), lif()), (3, 4), "flatten them first"),
        (lambda x: x, (4,), "a torch module is needed, found a function"),
        (nn.Linear(4, 2), 4, "not iterable"),
        (nn.Linear(4, 2), (0,), "at least 1"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (4,), "layer '1' uses ReLU"),
    ],
)
def test_mistakes_get_one_message(module: Any, shape: Any, message: str) -> None:
    with pytest.raises((InputError, UnsupportedError), match=message) as error:
        from_torch(module, shape, STEPS)
    assert "While executing" not in str(error.value)


def test_neurons_alone_are_a_network() -> None:
    network = from_torch(nn.Sequential(lif()), (4,), STEPS)
    assert network.output == "0"
