"""NeuroBench's metrics of deployed integers, against its own harness on torch modules of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Contract, Decode, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator, Shape
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.simulation.neurobench import NeuroBench, neurobench
from neurodeploy.target import load_target
from support.command import run_cli, run_json

SAMPLES, BATCH, STEPS = 12, 4, 6
LOIHI2 = load_target("loihi2")


def population(
    rng: np.random.Generator,
    name: str,
    shape: Shape,
    *,
    spiking: bool = True,
    current: bool = False,
) -> QuantizedPopulation:
    """Neurons that leak, each channel with a bias of its own."""
    bias = rng.integers(-40, 41, (shape[0], *[1] * (len(shape) - 1)))
    neuron = QuantizedNeuron(
        kind="CubaLIF" if current else "LIF",
        u_decay=np.full(shape, 1024 if current else 4096),
        v_decay=np.full(shape, 512),
        bias_mantissa=np.broadcast_to(bias, shape).copy(),
        bias_exponent=np.full(shape, 3),
        threshold=np.full(shape, 120) if spiking else None,
        reset="subtract" if current else "zero",
        comparison=">=",
        refractory_period=int(current),
    )
    return QuantizedPopulation(name, shape, neuron, 100.0)


def projection(
    rng: np.random.Generator, source: str, target: str, operator: Operator, **options: Any
) -> QuantizedProjection:
    """Weights of 8 bits, a third of them 0."""
    shape = operator.weights.shape
    weights = 2 * rng.integers(-127, 128, shape) * (rng.random(shape) < 2 / 3)
    form = WeightFormat(8, "mixed")
    whole = operator.with_weights(weights.astype(np.int64))
    settings = {"exponent": 0, "payload": 1, **options}
    return QuantizedProjection(f"{source}-{target}", source, target, whole, form, **settings)


def dense(inputs: Shape, outputs: int) -> Dense:
    return Dense(np.zeros((outputs, int(np.prod(inputs)))), inputs, (outputs,))


def network(
    populations: list[QuantizedPopulation],
    projections: list[QuantizedProjection],
    code: InputCode,
    decode: Decode = "spike_count",
) -> QuantizedNetwork:
    contract = Contract(Semantics(1e-3, "zero", ">="), code, STEPS, decode)
    return QuantizedNetwork(
        "net", tuple(populations), tuple(projections), populations[-1].name, contract
    )


def mlp(rng: np.random.Generator) -> tuple[QuantizedNetwork, np.ndarray]:
    """Graded input, the same at every step; neurons with a synaptic current; spikes are read."""
    found = network(
        [
            QuantizedPopulation("input", (10,), None, 16),
            population(rng, "hidden", (14,), current=True),
            population(rng, "out", (5,)),
        ],
        [
            projection(rng, "input", "hidden", dense((10,), 14), exponent=-3, payload=16),
            projection(rng, "hidden", "out", dense((14,), 5)),
        ],
        InputCode("direct", 16),
    )
    return found, rng.integers(0, 17, (SAMPLES, 10))


def conv(rng: np.random.Generator) -> tuple[QuantizedNetwork, np.ndarray]:
    """Counts of events, in the first steps none above 1; padding; a read-out that never fires."""
    first = Convolution(np.zeros((3, 2, 3, 3)), (2, 7, 6), (2, 1), ((1, 1), (1, 1)), (1, 1))
    shape = first.output_shape
    found = network(
        [
            QuantizedPopulation("input", (2, 7, 6), None, 3),
            population(rng, "conv", shape),
            population(rng, "out", (4,), spiking=False),
        ],
        [
            projection(rng, "input", "conv", first, exponent=-1, payload=3),
            projection(rng, "conv", "out", dense(shape, 4)),
        ],
        InputCode("events", 3),
        "last_v",
    )
    events = rng.poisson(0.4, (SAMPLES, STEPS, 2, 7, 6)).clip(0, 3)
    events[:BATCH, :2] = events[:BATCH, :2].clip(0, 1)
    events[0, 2:] = 3
    return found, events


def recurrent(rng: np.random.Generator) -> tuple[QuantizedNetwork, np.ndarray]:
    """Spikes go back into their own layer, past a layer, and late."""
    found = network(
        [
            QuantizedPopulation("input", (9,), None, 1),
            population(rng, "first", (8,)),
            population(rng, "second", (8,), current=True),
            population(rng, "out", (4,), spiking=False),
        ],
        [
            projection(rng, "input", "first", dense((9,), 8)),
            projection(rng, "first", "first", dense((8,), 8), delay=1),
            projection(rng, "first", "second", dense((8,), 8)),
            projection(rng, "input", "second", dense((9,), 8), delay=2),
            projection(rng, "second", "out", dense((8,), 4)),
            projection(rng, "first", "out", dense((8,), 4)),
        ],
        InputCode("events", 1),
        "sum_v",
    )
    return found, (rng.random((SAMPLES, STEPS, 9)) < 0.5).astype(np.int64)


def of_harness(integers: QuantizedNetwork, x: np.ndarray) -> dict[str, Any]:
    """What the package itself says of the same integers in torch."""
    pytest.importorskip("neurobench", reason="NeuroBench's harness is not installed")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint
    from neurobench.metrics.workload import (
        ActivationSparsity,
        MembraneUpdates,
        SynapticOperations,
    )
    from neurobench.models import SNNTorchModel

    from support.integer_modules import IntegerModule

    over_time = x if integers.contract.input_code.encoder == "events" else None
    shown = np.repeat(x[:, None], STEPS, 1) if over_time is None else over_time
    data = TensorDataset(torch.from_numpy(shown).float(), torch.zeros(len(x)))
    metrics: Any = [
        [Footprint, ConnectionSparsity],
        [ActivationSparsity, SynapticOperations, MembraneUpdates],
    ]
    model = SNNTorchModel(IntegerModule(integers))
    return Benchmark(model, DataLoader(data, BATCH), [], [], metrics).run(quiet=True)


def ours(integers: QuantizedNetwork, x: np.ndarray, engine: str = "reference") -> NeuroBench:
    parts = [x[first : first + BATCH] for first in range(0, len(x), BATCH)]
    traces = [nd.simulate(integers, part, engine=engine) for part in parts]
    return neurobench(integers, traces, LOIHI2)


@pytest.mark.parametrize("make", [mlp, conv, recurrent])
def test_every_metric_is_the_harness_s(make: Any) -> None:
    integers, x = make(np.random.default_rng(3))
    expected, found = of_harness(integers, x), ours(integers, x).as_dict()
    assert found["footprint"] == expected["Footprint"]
    assert found["connection_sparsity"] == expected["ConnectionSparsity"] > 0.2
    assert found["activation_sparsity"] == pytest.approx(expected["ActivationSparsity"], rel=1e-12)
    assert 0.1 < found["activation_sparsity"] < 0.95
    assert found["membrane_updates"] == expected["MembraneUpdates"] > 0
    assert found["synaptic_operations"] == expected["SynapticOperations"]
    assert found["synaptic_operations"]["Effective_ACs"] > 0
    assert (found["synaptic_operations"]["Effective_MACs"] > 0) == (make is not recurrent)


def chain(bits: int = 8) -> QuantizedNetwork:
    """Two inputs, three neurons that fire from an input of 60 on and forget, and one read-out."""

    def of(name: str, size: int, threshold: int | None, bias: int = 0) -> QuantizedPopulation:
        neuron = QuantizedNeuron(
            *("LIF", np.full(size, 4096), np.full(size, 4095), np.full(size, bias)),
            *(np.zeros(size, np.int64), None if threshold is None else np.full(size, threshold)),
            *("zero", ">="),
        )
        return QuantizedPopulation(name, (size,), neuron, 1.0)

    form = WeightFormat(bits, "mixed")
    first = Dense(np.array([[64, 0], [64, 64], [0, 0]]), (2,), (3,))
    second = Dense(np.array([[64, 64, 64]]), (3,), (1,))
    return network(
        [QuantizedPopulation("input", (2,), None, 1), of("hidden", 3, 60), of("out", 1, None, 5)],
        [
            QuantizedProjection("a", "input", "hidden", first, form, 0, 1),
            QuantizedProjection("b", "hidden", "out", second, form, 0, 1),
        ],
        InputCode("events", 1),
        "sum_v",
    )


def one_sample() -> np.ndarray:
    """The first input spikes at the first step, the second at the third."""
    x = np.zeros((1, STEPS, 2), np.int64)
    x[0, 0, 0] = x[0, 2, 1] = 1
    return x


def test_the_metrics_of_a_small_network_are_those_counted_by_hand() -> None:
    integers = chain()
    found = neurobench(integers, [nd.simulate(integers, one_sample())], LOIHI2)
    # The first input reaches neurons 1 and 2, the second neuron 2 alone; then 2 and 1 spikes.
    assert (found.acs, found.macs) == ({"a": 3, "b": 3}, {"a": 0, "b": 0})
    assert found.dense == {"a": STEPS * 6, "b": STEPS * 3}
    assert found.activation_sparsity == (3 * STEPS - 3) / (3 * STEPS)
    assert found.connection_sparsity == round(3 / 9, 4)
    # Neurons that fire are back at 0 at once, so that nothing of theirs changes after step 1.
    assert found.membrane_updates["hidden"] == 3
    # 64 << 6 for each spike, 5 of the bias, and a 4096th of what was there before.
    v = nd.simulate(integers, one_sample())["out"].v
    assert v is not None and v[0, :, 0].tolist() == [8197, 7, 4101, 6, 5, 5]
    assert found.membrane_updates["out"] == 5


def test_the_footprint_at_the_chip_s_widths_follows_the_bits() -> None:
    wide, narrow = (
        neurobench(net, [nd.simulate(net, one_sample())], LOIHI2) for net in (chain(8), chain(3))
    )
    # Nine weights, a bias, two decays and a threshold; 13 + 3 bits of a bias, 12 and 17.
    assert (wide.numbers.weights, wide.numbers.biases, wide.numbers.constants) == (9, 1, 3)
    assert wide.footprint == narrow.footprint == 4 * 13
    assert wide.bit_footprint == (9 * 8 + 16 + 2 * 12 + 17) / 8
    assert narrow.bit_footprint == (9 * 3 + 16 + 2 * 12 + 17) / 8


def test_steps_after_a_sample_s_end_do_not_count() -> None:
    integers, x = chain(), one_sample()
    trace = nd.simulate(integers, x)
    found = neurobench(integers, [trace], LOIHI2, lengths=np.array([2]))
    assert found.dense == {"a": 2 * 6, "b": 2 * 3}
    assert found.acs == {"a": 2, "b": 2}
    assert found.membrane_updates == {"hidden": 3, "out": 2}
    assert found.activation_sparsity == (6 - 2) / 6


def test_one_weight_array_in_two_signs_is_one_layer() -> None:
    """Of one bit, weights of both signs are two projections; operations are those of their sum."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(6, 5, bias=False), nd.nn.LIF(tau=2.0), torch.nn.Linear(5, 3, bias=False)
    )
    floats = nd.from_torch(module, sample_shape=(6,), steps=4, levels=16)
    split, whole = nd.quantize(floats, "loihi2", bits=1), nd.quantize(floats, "loihi2", bits=8)
    assert len(split.projections) == 2 * len(whole.projections)
    x = np.random.default_rng(0).integers(1, 17, (3, 6))
    one, other = (neurobench(net, [nd.simulate(net, x)], LOIHI2) for net in (split, whole))
    assert one.dense == other.dense and list(one.dense) == [p.name for p in whole.projections]
    assert one.numbers.weights == other.numbers.weights == 45


def test_metrics_need_what_they_are_counted_of() -> None:
    integers = chain()
    with pytest.raises(InputError, match="'hidden': membrane updates are counted of v"):
        neurobench(integers, [nd.simulate(integers, one_sample(), state=False)], LOIHI2)
    with pytest.raises(InputError, match="no samples"):
        neurobench(integers, [], LOIHI2)


def test_simulate_counts_them_when_asked(workspace: Path) -> None:
    args = ("--engine", "reference", "--samples", "20")
    without = run_json("simulate", *args, folder=workspace)
    found = run_json("simulate", "--metrics", "neurobench", *args, folder=workspace)
    assert without["metrics"] == {} and found["accuracy"] == without["accuracy"]
    counted = found["metrics"]["neurobench"]
    assert set(counted) >= {
        *("footprint", "bit_footprint", "connection_sparsity", "activation_sparsity"),
        *("synaptic_operations", "membrane_updates"),
    }
    # Rates of the layers, weighted by their size, say the same of activations.
    deployed = nd.load(workspace / found["deployment"])
    sizes = {p.name: int(np.prod(p.shape)) for p in deployed.network.populations}
    rates = {n: rate for n, rate in found["firing_rates"].items() if n != "input"}
    mean = sum(rate * sizes[n] for n, rate in rates.items()) / sum(sizes[n] for n in rates)
    assert counted["activation_sparsity"] == pytest.approx(1 - mean, rel=1e-9)
    operations = counted["synaptic_operations"]
    assert 0 < operations["Effective_MACs"] < operations["Dense"]
    report = (workspace / found["report"]).read_text(encoding="utf-8")
    assert "NeuroBench" in report and f"{counted['footprint']:,} bytes" in report
    said = run_cli("simulate", "--metrics", "neurobench", *args, folder=workspace).output
    assert f"effective ACs        {operations['Effective_ACs']:,.1f}" in said


def test_metrics_that_there_are_not_are_refused(workspace: Path) -> None:
    done = run_cli("simulate", "--metrics", "neurobnech", folder=workspace)
    assert done.exit_code == 2
    assert "--metrics neurobnech: no such metrics; did you mean 'neurobench'?" in done.output
