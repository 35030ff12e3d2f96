"""The exact engine on a device: the path that a GPU takes, on the CPU, and on a GPU if any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurodeploy as nd
import neurodeploy.workflow.simulate as simulation
import neurodeploy.workflow.validate as validation
from neurodeploy.errors import CheckFailedError, InputError, SimulationError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.neurons.registry import MODELS
from neurodeploy.norse.compat import norse_available
from neurodeploy.simulation import device as devices
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.layerwise import LayerwiseSimulator
from neurodeploy.simulation.trace import Overflow, Samples
from support.command import run_cli, run_json
from support.engine_runs import assert_equal
from support.random_models import drawn_kinds, random_model_network
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

DEVICES: list[Any] = ["cpu", pytest.param("cuda", marks=GPU)]
"""On the CPU, the path of a device: float64, torch's sparse products, no 8-bit ones."""

CPU = torch.device("cpu")

DEPLOYED = "deployments/digits_conv-loihi2-001"


def counted(network: QuantizedNetwork, samples: Samples, device: str) -> Overflow:
    """All that is kept, sent and counted is what the CPU computes as ever."""
    engines = ReferenceEngine(network), ReferenceEngine(network, torch.device(device))
    runs = [engine.run(samples.batches(2), state=True) for engine in engines]
    for (_, expected), (_, found) in zip(*runs, strict=True):
        assert assert_equal(expected, found) > 0
    assert engines[0].overflow == engines[1].overflow
    return engines[1].overflow


def leaky(seed: int) -> QuantizedNetwork:
    """Operators and graphs in turns, neurons at random."""
    rng = np.random.default_rng(seed)
    a, b, out = (str(rng.choice(kinds)) for kinds in (SPIKING, SPIKING, NEURONS))
    operators = OPERATORS[seed % len(OPERATORS)], str(rng.choice(OPERATORS[:1] + OPERATORS[2:]))
    payload = int(rng.choice([1, 16, 255, 2**20]))
    return random_network(seed, (a, b, out), operators, GRAPHS[seed % len(GRAPHS)], payload)


@pytest.mark.parametrize("device", DEVICES)
def test_leaky_networks_are_equal_on_a_device(device: str) -> None:
    overflow, operators, wide = Overflow(), set[str](), 0
    for seed in range(36):
        network = leaky(seed)
        operators |= {p.operator.kind for p in network.projections}
        wide += any(p.may_wrap for p in network.projections)
        samples = random_input(network, seed, 3, over_time=bool(seed % 2))
        overflow.join(counted(network, samples, device))
    # Equality means little where nothing leaves its width.
    assert operators == {"dense", "conv", "sparse"} and overflow.total > 0 and wide > 0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", MODELS)
def test_other_neurons_are_equal_on_a_device(model: str, device: str) -> None:
    for seed in range(5):
        kinds = drawn_kinds(np.random.default_rng(seed), model)
        graph = ("chain", "skip", "delayed", "loop", "own")[seed]
        network = random_model_network(seed, kinds, graph)
        counted(network, random_input(network, seed, 3, over_time=bool(seed % 2)), device)


Compile = Callable[..., Callable[[torch.Tensor], torch.Tensor]]


def rounding(right: Compile) -> Compile:
    """The same operator on devices that multiply with 11 bits, as TF32 does."""

    def compile(self: Operator, dtype: torch.dtype, device: torch.device | None = None) -> Any:
        apply = right(self, dtype, device)
        return apply if device is None else lambda x: apply(x).to(torch.bfloat16).to(dtype)

    return compile


@pytest.mark.parametrize(
    ("operator", "kinds"),
    [
        (Dense, ("dense", "dense")),
        (Convolution, ("conv2d", "conv2d")),
        (SparseMatrix, ("scale",) * 2),
    ],
)
def test_a_device_that_rounds_is_refused(
    operator: type[Operator], kinds: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(4, ("LIF", "LIF", "LIF"), kinds, "chain", 255)
    ReferenceEngine(network, CPU)
    monkeypatch.setattr(operator, "compile", rounding(operator.compile))
    kind = operator.kind
    with pytest.raises(
        CheckFailedError, match=rf"device 'cpu': projection .* \({kind}\): .* differ"
    ):
        ReferenceEngine(network, CPU)


def test_a_device_that_steps_neurons_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(4, ("LIF", "LIF", "LIF"), ("dense", "dense"), "chain", 1)
    made = FixedStepper.__init__

    def one_more(self: FixedStepper, *given: Any) -> None:
        made(self, *given)
        if given[4] is not None:
            self.bias = self.bias + 1
            self.biased = True

    monkeypatch.setattr(FixedStepper, "__init__", one_more)
    with pytest.raises(CheckFailedError, match=r"population 'a': \d+ of .* differ from the CPU's"):
        ReferenceEngine(network, CPU)


def test_a_device_that_cannot_compute_a_layer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(4, ("LIF", "LIF", "LIF"), ("dense", "dense"), "chain", 1)
    right = Dense.compile

    def compile(self: Dense, dtype: torch.dtype, device: torch.device | None = None) -> Any:
        if device is not None:
            raise TypeError("float64 is not supported here")
        return right(self, dtype)

    monkeypatch.setattr(Dense, "compile", compile)
    with pytest.raises(InputError, match=r"cannot compute projection .* exactly: float64 is not"):
        ReferenceEngine(network, CPU)


def test_a_device_whose_memory_is_full_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(4, ("LIF", "LIF", "LIF"), ("dense", "dense"), "chain", 1)
    engine = ReferenceEngine(network, CPU)

    def full(*_: Any, **__: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(LayerwiseSimulator, "run", full)
    with pytest.raises(SimulationError, match=r"device 'cpu': its memory is full .*2\.00 GiB"):
        list(engine.run(random_input(network, 0, 1, over_time=False).batches(1)))


# --- What the caller asks for


def test_python_takes_a_device() -> None:
    network = random_network(4, ("LIF", "LIF", "LIF"), ("conv2d", "dense"), "chain", 16)
    x = np.random.default_rng(0).integers(0, 17, (3, *network.inputs[0].shape))
    expected, found = (nd.simulate(network, x, device=device) for device in ("cpu", "auto"))
    np.testing.assert_array_equal(expected["out"].spikes, found["out"].spikes)
    with pytest.raises(InputError, match="only engine reference can use it, found lava-fused"):
        nd.simulate(network, x, "lava-fused", device="cuda")
    with pytest.raises(InputError, match=r"device 'nope' cannot be used: .*; 'cpu' always can"):
        nd.validate(network, x, device="nope")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "simulate --device cuda",
            "only engine reference can use it, and no engine was named",
        ),
        (
            "simulate --device auto --engine float",
            "only engine reference can use it, found float",
        ),
        pytest.param(
            "validate --device cuda --engines float,norse",
            "can use it, found float, norse",
            marks=pytest.mark.skipif(not norse_available(), reason="needs Norse"),
        ),
        (
            "simulate --engine reference --device cuda --workers 2",
            "--device cuda: one process computes on a device, not --workers 2",
        ),
        (
            "validate --engines reference,float --device auto --scheduler tcp://h:1",
            "--device auto: one process computes on a device, not --scheduler",
        ),
        (
            "simulate --engine reference --device cuda:99",
            "device 'cuda:99' cannot be used: ",
        ),
    ],
)
def test_what_does_not_go_with_a_device_is_refused(
    command: str, message: str, workspace: Path
) -> None:
    name, *options = command.split()
    done = run_cli(name, DEPLOYED, *options, "--random", "2", folder=workspace)
    assert done.exit_code == 2 and message in " ".join(done.output.split()), done.output


def test_a_default_device_gives_way_to_what_it_does_not_go_with(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURODEPLOY_DEVICE", "cuda")
    options = ("--engine", "float", "--random", "2")
    done = run_cli("simulate", DEPLOYED, *options, folder=workspace)
    assert done.exit_code == 0, done.output
    assert "The default device cuda cannot be used for this; computing on the CPU" in done.output


@pytest.mark.parametrize("device", DEVICES)
def test_a_deployment_is_simulated_on_a_device(
    device: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every number is the CPU's, and no workers start; the device is found in any case."""
    made, places = ReferenceEngine.__init__, list[torch.device]()

    def noted(
        self: ReferenceEngine, network: QuantizedNetwork, place: torch.device | None = None
    ) -> None:
        places.extend([] if place is None else [place])
        made(self, network, place)

    monkeypatch.setattr(ReferenceEngine, "__init__", noted)
    options = (DEPLOYED, "--engine", "reference", "--random", "20")
    expected = run_json("simulate", *options, folder=workspace)
    for module in (simulation, validation):
        monkeypatch.setattr(module, "engine_device", lambda *_, **__: torch.device(device))
    monkeypatch.setattr(simulation, "workers_worthwhile", lambda *_, **__: pytest.fail("workers"))
    found = run_json("simulate", *options, "--device", device, folder=workspace)
    for times in ("seconds", "samples_per_second"):
        assert found.pop(times) and expected.pop(times)
    assert (found.pop("device"), expected.pop("device")) == (device, "cpu")
    assert found == expected
    pair = ("--engines", "reference,float", "--random", "4", "--device", device)
    run_json("validate", DEPLOYED, *pair, folder=workspace)
    assert places == [torch.device(device)] * 2


def test_a_gpu_is_found_where_there_is_one() -> None:
    there = "cuda" if torch.cuda.is_available() else "cpu"
    assert devices.best_device() == there
    assert devices.usable_device(there).type == there
