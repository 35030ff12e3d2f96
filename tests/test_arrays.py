"""Networks in memory: arrays in, arrays out, and every engine gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.norse.compat import norse_available
from neurodeploy.quantization.planned import on_grid
from neurodeploy.simulation.trace import WholeTrace
from neurodeploy.workflow.arrays import simulate_arrays, validate_arrays
from neurodeploy.workflow.engines import LAVA_ENGINES
from support.net_networks import random_net
from support.random_networks import random_network

needs_norse = pytest.mark.skipif(not norse_available(), reason="Norse is not installed")

NETWORK = random_network(7, ("LIF", "CubaLIF", "LIF"), ("conv2d", "dense"), "skip", 16)
READOUT = random_network(3, ("LIF", "LIF", "LI"), ("conv2d", "dense"), "self_recurrent", 16)
STEPS = 5


def samples(
    network: QuantizedNetwork | Network, count: int = 7, seed: int = 1, *, over_time: bool = False
) -> np.ndarray:
    """Integers from 0 to the payload."""
    (source,) = (p for p in network.populations if p.neuron is None)
    shape = (count, STEPS, *source.shape) if over_time else (count, *source.shape)
    largest = network.contract.input_code.payload
    return np.random.default_rng(seed).integers(0, largest + 1, shape)


def float_network(shape: tuple[int, ...]) -> Network:
    """in (3) -> a (4, in ``shape``) -> out (2), dense, leaky."""
    rng = np.random.default_rng(4)

    def lif(shape: tuple[int, ...]) -> Neuron:
        keep, threshold = np.full(shape, 0.75), np.ones(shape)
        return Neuron("LIF", np.zeros(shape), keep, np.zeros(shape), threshold, "zero", ">")

    populations = (
        Population("in", (3,), None),
        Population("a", shape, lif(shape)),
        Population("out", (2,), lif((2,))),
    )
    projections = (
        Projection("in_a", "in", "a", Dense(rng.normal(0.4, 0.5, (4, 3)), (3,), shape)),
        Projection("a_out", "a", "out", Dense(rng.normal(0.4, 0.5, (2, 4)), shape, (2,))),
    )
    contract = Contract(Semantics(1e-3, "zero", ">"), InputCode("direct", 16), STEPS, "spike_count")
    return Network("floats", populations, projections, "out", contract)


def assert_equal(one: WholeTrace, other: WholeTrace) -> None:
    assert list(one) == list(other)
    for name, record in one.items():
        for what in ("s", "u", "v"):
            left, right = getattr(record, what), getattr(other[name], what)
            assert (left is None) == (right is None), f"{name}.{what}"
            if left is not None:
                assert left.dtype == right.dtype, f"{name}.{what}"
                np.testing.assert_array_equal(left, right, f"{name}.{what}")
    np.testing.assert_array_equal(one.classes, other.classes)
    assert one.overflow == other.overflow


def test_a_trace_holds_every_population_over_all_samples() -> None:
    x = samples(NETWORK)
    trace = simulate_arrays(NETWORK, x, batch_size=3)
    assert list(trace.keys()) == ["input", "a", "b", "out"]
    for population in NETWORK.populations:
        record = trace[population.name]
        assert record.spikes is record.s
        assert record.spikes.shape == (7, STEPS, *population.shape)
        if population.neuron is None:
            assert record.u is record.v is None
            continue
        assert record.spikes.dtype == np.uint8
        for values in (record.u, record.v):
            assert values is not None
            assert values.shape == record.spikes.shape and values.dtype == np.int32
    np.testing.assert_array_equal(trace["input"].spikes, np.repeat(x[:, None], STEPS, axis=1))
    assert trace["a"].spikes.any()
    assert trace.overflow.total > 0
    assert "nobody" not in trace and len(trace) == 4
    assert repr(trace) == "WholeTrace of 7 samples: input, a, b, out"


def test_classes_are_read_as_the_contract_says() -> None:
    x = samples(NETWORK)
    trace = simulate_arrays(NETWORK, x)
    assert trace.classes.shape == (7,) and trace.classes.dtype == np.int64
    counts = trace["out"].spikes.sum(axis=1, dtype=int)
    np.testing.assert_array_equal(trace.classes, counts.argmax(axis=1))
    assert READOUT.contract.decode == "last_v"
    trace = simulate_arrays(READOUT, samples(READOUT), state=False)
    assert trace["out"].v is not None, "the read-out is always recorded"
    assert trace["a"].v is None and trace["a"].u is None
    np.testing.assert_array_equal(trace.classes, trace["out"].v[:, -1].argmax(axis=1))


@pytest.mark.parametrize("network", [NETWORK, READOUT])
def test_batches_and_repeated_samples_change_nothing(network: QuantizedNetwork) -> None:
    x = samples(network)
    whole = simulate_arrays(network, x)
    assert_equal(whole, simulate_arrays(network, x, batch_size=2))
    assert_equal(whole, simulate_arrays(network, x.tolist(), batch_size=100))
    assert_equal(whole, simulate_arrays(network, np.repeat(x[:, None], STEPS, axis=1)))


@pytest.mark.lava
@pytest.mark.parametrize(
    ("over_time", "network"),
    [
        (False, READOUT),
        (True, NETWORK),
        pytest.param(False, NETWORK, marks=pytest.mark.slow),
        pytest.param(True, READOUT, marks=pytest.mark.slow),
    ],
)
def test_lava_gives_what_the_reference_gives(network: QuantizedNetwork, over_time: bool) -> None:
    x = samples(network, over_time=over_time)
    expected = simulate_arrays(network, x)
    for engine in ("lava", "lava-fused"):
        found = simulate_arrays(network, x, engine, batch_size=4, timeout=60)
        assert_equal(expected, found)


@pytest.mark.lava
def test_lava_runs_without_state_and_for_one_sample() -> None:
    x = samples(READOUT, 1)
    expected = simulate_arrays(READOUT, x, state=False)
    for engine in ("lava", "lava-fused"):
        assert_equal(expected, simulate_arrays(READOUT, x, engine, state=False, timeout=60))


@pytest.mark.lava
@pytest.mark.parametrize("engines", [("reference", "lava"), ("lava-fused", "reference")])
def test_validation_counts_every_value(engines: tuple[str, str]) -> None:
    x = samples(NETWORK)
    report = validate_arrays(NETWORK, x, engines, batch_size=3, timeout=60)
    assert report.engines == engines and report.exact
    neurons = sum(int(np.prod(p.shape)) for p in NETWORK.populations if p.neuron)
    inputs = int(np.prod(NETWORK.inputs[0].shape))
    assert report.compared == 7 * STEPS * (3 * neurons + inputs)
    assert report.mismatches == 0 and report.first_divergence is None
    assert report.samples == report.agreeing_predictions == 7
    assert report.accuracies is None


@pytest.mark.lava
def test_lava_dl_runs_a_network_that_its_format_holds() -> None:
    network = random_net(1, ("conv", "dense"), STEPS, 1)
    x = samples(network, 3, over_time=True)
    report = validate_arrays(network, x, ("reference", "netx"), timeout=100)
    assert report.mismatches == 0 and report.compared > 0
    with pytest.raises(UnsupportedError, match=r"does not fit a \.net for lava-dl"):
        simulate_arrays(NETWORK, samples(NETWORK), "netx")


def test_floats_are_simulated_in_floats() -> None:
    floats = on_grid(NETWORK)
    trace = simulate_arrays(floats, samples(floats), "float", batch_size=3)
    v = trace["a"].v
    assert v is not None and v.dtype == np.float64
    assert trace.overflow.total == 0
    assert_equal(trace, simulate_arrays(floats, samples(floats), "float"))


@needs_norse
def test_norse_spikes_as_the_float_engine_does() -> None:
    network = float_network((4,))
    x = samples(network, 20)
    report = validate_arrays(network, x, ("float", "norse"), batch_size=8)
    assert not report.exact
    assert report.samples == 20
    assert 0 < simulate_arrays(network, x, "norse")["a"].spikes.mean() < 1
    assert report.mismatches == 0
    with pytest.raises(UnsupportedError, match=r"engine norse runs NIR, .*'a' under another name"):
        simulate_arrays(float_network((2, 2)), x, "norse")


@pytest.mark.parametrize(
    "engine",
    ["reference", *(pytest.param(name, marks=pytest.mark.lava) for name in LAVA_ENGINES)],
)
def test_engines_of_integers_want_integers(engine: str) -> None:
    floats = on_grid(NETWORK)
    with pytest.raises(InputError, match=r"random: this network is in floats; quantise it"):
        simulate_arrays(floats, samples(floats), engine)


def test_engines_of_floats_want_floats() -> None:
    with pytest.raises(InputError, match=r"random: this network is in integers"):
        simulate_arrays(NETWORK, samples(NETWORK), "float")
    with pytest.raises(InputError, match=r"random: this network is in integers"):
        validate_arrays(NETWORK, samples(NETWORK), ("reference", "float"))


X = samples(NETWORK)


misfits = pytest.mark.parametrize(
    ("x", "message"),
    [
        (X.astype(float), r"x is float64; spikes and graded inputs are integers"),
        (X - 1, r"x holds values from -1 to 1\d; this network's input takes 0 to 16"),
        (X + 1, r"x holds values from 1 to 17; this network's input takes 0 to 16"),
        (X[0], r"x has shape \(\d, 4, 4\); expected \(N, 5, \d, 4, 4\) over time or \(N, \d, 4, 4"),
        (X[:, :, :3], r"x has shape"),
        (np.repeat(X[:, None], 4, axis=1), r"x has shape"),
        (X[:0], r"x holds no samples"),
        (3, r"x has shape \(\)"),
    ],
    ids=["floats", "negative", "large", "one sample", "size", "steps", "none", "number"],
)


@misfits
def test_samples_that_do_not_fit_are_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate_arrays(NETWORK, x)


@pytest.mark.lava
@misfits
def test_samples_that_do_not_fit_are_not_compared(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate_arrays(NETWORK, x, ("reference", "lava-fused"))


def test_choices_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"engine 'refrence' is not known; did you mean"):
        simulate_arrays(NETWORK, X, "refrence")
    with pytest.raises(InputError, match="two different engines"):
        validate_arrays(NETWORK, X, ("reference", "reference"))
    with pytest.raises(InputError, match="batch_size=0: needs at least 1"):
        simulate_arrays(NETWORK, X, batch_size=0)
