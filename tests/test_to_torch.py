"""Imported networks as torch modules: the same spikes, gradients for all, and back again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.nir.file import read_nir, write_nir
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.ir.composition import compose, reading, reshaped
from neurodeploy.ir.contract import Contract, Decode, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense, Operator, Shape, diagonal
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.export import module_to_nir
from neurodeploy.nn.from_network import to_torch
from neurodeploy.nn.layers import Constant, Delay, Factors
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.quantization.planned import on_grid
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import SampleBatch, SpikeTrace
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)

STEPS, SAMPLES = 5, 3
SEEDS = range(120)


def drawn(seed: int, alike: bool = False) -> Network:
    """A random network of floats; ``alike`` neurons share reset and comparison."""
    rng = np.random.default_rng(seed)

    def pick(choices: tuple[str, ...]) -> str:
        return str(rng.choice(choices))

    neurons = pick(SPIKING), pick(SPIKING), pick(NEURONS)
    operators = pick(OPERATORS), pick(OPERATORS)
    integers = random_network(seed, neurons, operators, pick(GRAPHS), int(rng.choice([1, 16])))
    network = on_grid(integers)
    projections = tuple(replace(p, operator=in_reals(p.operator, rng)) for p in network.projections)
    populations = tuple(in_range(p, rng, alike) for p in network.populations)
    return replace(network, populations=populations, projections=projections)


def in_reals(operator: Operator, rng: np.random.Generator) -> Operator:
    """Weights that no float holds as a short fraction, so that sums have no ties."""
    return operator.with_weights(rng.normal(0.3, 1, operator.weights.shape))


def in_range(population: Population, rng: np.random.Generator, alike: bool) -> Population:
    """Thresholds and biases that suit such weights."""
    if population.neuron is None:
        return population
    neuron = population.leaky
    shape = neuron.bias.shape
    threshold = None if neuron.v_threshold is None else rng.uniform(0.5, 2, shape)
    if threshold is not None and rng.random() < 0.5:
        threshold[:] = threshold.flat[0]
    bias = np.zeros(shape) if rng.random() < 0.5 else rng.normal(0, 0.2, shape)
    neuron = replace(neuron, v_threshold=threshold, bias=bias)
    return replace(
        population, neuron=replace(neuron, reset="zero", comparison=">") if alike else neuron
    )


def trace_of(network: Network, x: np.ndarray) -> SpikeTrace:
    ((_, trace),) = FloatEngine(network).run([SampleBatch(0, x, static=False)], state=True)
    return trace


def run(
    model: SpikingNetwork, x: np.ndarray, payload: int = 1
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What each layer gave, (N, T, ...), and the outputs (N, T, outputs)."""
    seen: dict[str, list[torch.Tensor]] = {}
    outputs = []

    def note(name: str) -> Any:
        return lambda _layer, _x, y: seen.setdefault(name, []).append(y.detach())

    hooks = [layer.register_forward_hook(note(name)) for name, layer in model.layers.items()]
    model.reset_state()
    with torch.no_grad():
        for t in range(x.shape[1]):
            outputs.append(model(torch.from_numpy(x[:, t]).double() / payload))
    for hook in hooks:
        hook.remove()
    whole = {
        name: torch.stack(values, 1).numpy()
        for name, values in seen.items()
        if len(values) == x.shape[1]
    }
    return whole, torch.stack(outputs, 1).numpy()


def assert_same(network: Network, model: SpikingNetwork, x: np.ndarray) -> int:
    """Every spike of every population; and what is read out. How many spikes were compared."""
    payload, compared = network.contract.input_code.payload, 0
    trace = trace_of(network, x)
    layers, outputs = run(model, x, payload)
    for population in network.populations:
        if population.neuron is not None and population.leaky.v_threshold is not None:
            spikes = trace.populations[population.name].s
            found = layers[population.name.replace(".", "_")]
            np.testing.assert_array_equal(found, spikes, err_msg=population.name)
            compared += spikes.size
    read = trace.populations[network.output]
    if network.contract.decode == "spike_count":
        np.testing.assert_array_equal(outputs, read.s.reshape(outputs.shape))
    else:
        assert read.v is not None
        v = read.v.reshape(outputs.shape)
        if network.contract.decode == "last_v":
            outputs = outputs.cumsum(1)
        np.testing.assert_allclose(outputs, v, rtol=1e-9, atol=1e-9)
    return compared


@pytest.mark.parametrize("seed", SEEDS)
def test_spikes_are_those_of_the_float_engine(seed: int) -> None:
    network = drawn(seed)
    x = random_values(network, seed)
    model = to_torch(network)
    assert all(p.dtype == torch.float64 for p in model.parameters())
    assert assert_same(network, model, x) > 0


def random_values(network: Network, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    (source,) = (p for p in network.populations if p.neuron is None)
    shape = (SAMPLES, network.contract.steps, *source.shape)
    return rng.integers(0, network.contract.input_code.payload + 1, shape)


@pytest.mark.parametrize("seed", range(0, 120, 5))
def test_on_the_integers_of_a_deployment(seed: int) -> None:
    """Sums are exact there: ties and all."""
    rng = np.random.default_rng(seed)
    kinds = "LIF", str(rng.choice(SPIKING)), str(rng.choice(NEURONS))
    integers = random_network(seed, kinds, ("conv2d", "composed"), "skip", 16)
    network = on_grid(integers)
    batch = next(random_input(integers, seed, SAMPLES, True).batches(SAMPLES))
    if (
        min(
            float(p.leaky.v_threshold.min())
            for p in network.populations
            if p.neuron is not None and p.leaky.v_threshold is not None
        )
        == 0
    ):
        with pytest.raises(UnsupportedError, match="threshold of 0"):
            to_torch(network)
        return
    assert_same(network, to_torch(network), batch.values)


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("seed", range(0, 120, 8))
def test_every_parameter_has_a_gradient(seed: int, cut: bool) -> None:
    network = drawn(seed)
    model = to_torch(network, surrogate="sigmoid")
    x = torch.from_numpy(random_values(network, seed)).double()
    model.reset_state(cut)
    loss = torch.zeros(())
    for t in range(x.shape[1]):
        loss = loss + model(x[:, t]).square().sum()
        if cut:
            loss.backward()
            loss = torch.zeros(())
    if not cut:
        loss.backward()
    # Between steps there is no path where it is cut, and so none through a delay either.
    delayed = cut and any(p.delay for p in network.projections)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not (delayed and parameter.grad is None):
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("seed", range(0, 120, 8))
def test_several_steps_at_once_are_one_after_the_other(seed: int) -> None:
    network = drawn(seed)
    model = to_torch(network)
    x = torch.from_numpy(random_values(network, seed)).double()
    with torch.no_grad():
        model.reset_state()
        one = torch.stack([model(x[:, t]) for t in range(x.shape[1])])
        model.reset_state()
        both = model.over_steps({"input": x.transpose(0, 1)})
    torch.testing.assert_close(both, one, rtol=1e-12, atol=1e-12)


# --- there and back ---


def back(model: SpikingNetwork, network: Network, folder: Path) -> Network:
    contract = network.contract
    graph = module_to_nir(model, contract.input_code, contract.steps, contract.dataset)
    write_nir(folder / "back.nir", graph)
    again = read_nir(folder / "back.nir")
    found = contract_of(again, "back.nir")
    assert found is not None and found.decode == contract.decode
    return to_network(again, found, "back.nir")


def in_few_axes(network: Network) -> Network:
    """Without axes of one neuron, which nothing in NIR leads to from a plain matrix."""
    shapes = {
        p.name: p.shape[:1] if p.shape[1:] == (1,) * (len(p.shape) - 1) else p.shape
        for p in network.populations
    }

    def fitting(p: Projection) -> Projection:
        operator = p.operator
        if operator.output_shape != shapes[p.target]:
            operator = reshaped(operator, shapes[p.target])
        return replace(p, operator=reading(operator, shapes[p.source]))

    def fitted(p: Population) -> Population:
        if p.neuron is None:
            return p
        neuron = p.leaky
        arrays: dict[str, Any] = {
            name: None if value is None else value.reshape(shapes[p.name])
            for name in ("u_keep", "v_keep", "bias", "v_threshold")
            for value in [getattr(neuron, name)]
        }
        return replace(p, shape=shapes[p.name], neuron=replace(neuron, **arrays))

    populations = tuple(map(fitted, network.populations))
    return replace(
        network, populations=populations, projections=tuple(map(fitting, network.projections))
    )


def maps(network: Network) -> dict[tuple[str, str, int], np.ndarray]:
    """Weights from each population to each other, by delay; the ends have one name."""
    alias = {p.name: "input" for p in network.populations if p.neuron is None}
    alias[network.output] = "output"
    found: dict[tuple[str, str, int], np.ndarray] = {}
    for p in network.projections:
        place = alias.get(p.source, p.source), alias.get(p.target, p.target), p.delay
        found[place] = found.get(place, 0) + p.operator.matrix().toarray()
    return found


def assert_equal_networks(found: Network, expected: Network) -> None:
    """To the last bit but one: leaks are written as 1 minus what is left of them."""
    ours, theirs = maps(found), maps(expected)
    assert ours.keys() == theirs.keys()
    for place, weights in theirs.items():
        np.testing.assert_allclose(ours[place], weights, rtol=3e-16, atol=0, err_msg=str(place))
    for population in expected.populations:
        if population.neuron is None:
            continue
        neuron = population.leaky
        name = found.output if population.name == expected.output else population.name
        again = found.population(name).leaky
        for field in ("u_keep", "v_keep", "bias", "v_threshold"):
            wanted = getattr(neuron, field)
            if wanted is not None:
                values = np.broadcast_to(getattr(again, field).ravel(), wanted.size)
                np.testing.assert_allclose(
                    values, wanted.ravel(), rtol=3e-16, atol=1.2e-16, err_msg=f"{name} {field}"
                )
        assert (again.reset, again.comparison) == (neuron.reset, neuron.comparison) or (
            neuron.v_threshold is None
        )


def test_there_and_back_gives_the_same_network(tmp_path: Path) -> None:
    """Refused is only what NIR cannot say, by name."""
    refused: list[str] = []
    for seed in SEEDS:
        network = in_few_axes(drawn(seed, alike=True))
        try:
            again = back(to_torch(network), network, tmp_path)
        except UnsupportedError as error:
            assert str(error).startswith("layer '"), error
            refused.append(str(error))
            continue
        assert_equal_networks(again, network)
    assert len(SEEDS) - len(refused) >= 25, refused


# --- one thing at a time ---


def neuron(
    shape: Shape,
    threshold: float | None = 1.0,
    v_keep: float | np.ndarray = 0.5,
    u_keep: float = 0.0,
    bias: float | np.ndarray = 0.0,
) -> Neuron:
    def full(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float64), shape).copy()

    kind = "LIF" if threshold is not None else "LI"
    limit = None if threshold is None else full(threshold)
    return Neuron(kind, full(u_keep), full(v_keep), full(bias), limit, "subtract", ">=")


def chain(
    *steps: tuple[str, Operator, Neuron], decode: Decode = "spike_count", more: Any = ()
) -> Network:
    """A network of one population after the other."""
    populations = [Population("in", steps[0][1].input_shape, None)]
    projections = []
    for number, (name, operator, cells) in enumerate(steps, 1):
        populations.append(Population(f"n.{number}", operator.output_shape, cells))
        source, target = populations[-2].name, populations[-1].name
        projections.append(Projection(name, source, target, operator))
    contract = Contract(Semantics(1e-4, "subtract", ">="), InputCode("direct", 4), STEPS, decode)
    everything = tuple(projections) + tuple(more)
    return Network("chain", tuple(populations), everything, populations[-1].name, contract)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.2, 1, shape)


@pytest.mark.parametrize("side", [2, 3])
def test_poolings_are_taken_apart_from_the_weights_behind_them(side: int, tmp_path: Path) -> None:
    """So that the weights are those of the file, not one for each pixel."""
    average = pool((2, 7, 7), (side, side), (side, side), (0, 0))
    average = average.with_weights(average.weights / side**2)
    size = 7 // side
    dense = Dense(weights(5, 2 * size**2), (2 * size**2,), (5,))
    flat = reading(dense, (2, size, size))
    first = Convolution(weights(2, 1, 3, 3), (1, 7, 7), (1, 1), ((1, 1),) * 2, (1, 1))
    network = chain(
        ("conv", first, neuron((2, 7, 7))), ("pool+fc", compose(average, flat), neuron((5,)))
    )
    model = to_torch(network)
    assert [*model.layers] == ["conv", "n_1", "pool", "fc_flatten", "fc", "n_2"]
    pooling, linear = model.layers["pool"], model.layers["fc"]
    assert isinstance(pooling, nn.AvgPool2d) and pooling.kernel_size == (side, side)
    assert isinstance(linear, nn.Linear)
    np.testing.assert_allclose(linear.weight.detach(), dense.weights, rtol=3e-16 * (side != 2))
    assert_same(network, model, random_values(network, 0))
    assert_equal_networks(renamed(back(model, network, tmp_path)), renamed(network))


def test_poolings_before_convolutions_are_taken_apart(tmp_path: Path) -> None:
    summing = pool((2, 8, 8), (2, 4), (2, 4), (0, 0))
    behind = Convolution(weights(6, 1, 3, 1), (2, 4, 2), (2, 1), ((1, 1), (0, 0)), (1, 1), 2)
    merged = compose(summing, behind)
    assert isinstance(merged, Convolution)
    overlapping = pool((6, 2, 2), (2, 2), (1, 1), (1, 1))
    last = Convolution(weights(3, 6, 2, 2), (6, 3, 3), (1, 1), ((0, 0),) * 2, (1, 1))
    network = chain(
        ("pool+conv", merged, neuron((6, 2, 2))),
        ("over+last", compose(overlapping, last), neuron((3, 2, 2))),
        ("fc", Dense(weights(4, 12), (3, 2, 2), (4,)), neuron((4,))),
    )
    model = to_torch(network)
    names = ["pool", "conv", "n_1", "over", "last", "n_2", "fc_flatten", "fc", "n_3"]
    assert [*model.layers] == names
    conv: Any = model.layers["conv"]
    np.testing.assert_array_equal(conv.weight.detach(), behind.weights * 8)
    assert_same(network, model, random_values(network, 1))
    assert_equal_networks(renamed(back(model, network, tmp_path)), renamed(network))


def renamed(network: Network) -> Network:
    """With names as torch has them."""

    def name(old: str) -> str:
        return old.replace(".", "_")

    return replace(
        network,
        output=name(network.output),
        populations=tuple(replace(p, name=name(p.name)) for p in network.populations),
        projections=tuple(
            replace(p, source=name(p.source), target=name(p.target)) for p in network.projections
        ),
    )


@pytest.mark.parametrize("decode", ["last_v", "sum_v"])
@pytest.mark.parametrize("leak", [1.0, 0.75])
@pytest.mark.parametrize("u_keep", [0.0, 0.5])
def test_outputs_add_up_to_what_is_decoded(decode: Decode, leak: float, u_keep: float) -> None:
    """Class = argmax of sum_t o[t], whatever the read-out."""
    bias = np.linspace(-0.3, 0.3, 4)
    network = chain(
        ("fc1", Dense(weights(6, 5), (5,), (6,)), neuron((6,))),
        ("fc2", Dense(weights(4, 6), (6,), (4,)), neuron((4,), None, leak, u_keep, bias)),
        decode=decode,
    )
    x = random_values(network, 0)
    model = to_torch(network)
    assert_same(network, model, x)
    last = [*model.layers.values()][-1]
    plain = decode == "last_v" and leak == 1 and u_keep == 0
    assert isinstance(last, nn.Linear if plain else LI)
    _, outputs = run(model, x, 4)
    v = trace_of(network, x).populations[network.output].v
    assert v is not None
    decoded = v[:, -1] if decode == "last_v" else v.sum(1)
    np.testing.assert_allclose(outputs.sum(1), decoded, rtol=1e-12, atol=1e-12)


def test_delays_back_and_forth(tmp_path: Path) -> None:
    """In a cycle of two, over different steps, with what only the other population drives."""
    a, b = neuron((6,), 0.7, bias=0.1), neuron((4,), 0.5, bias=np.linspace(0.05, 0.2, 4))
    populations = (
        Population("in", (5,), None),
        Population("a", (6,), a),
        Population("b", (4,), b),
        Population("out", (4,), neuron((4,), 0.6)),
    )
    projections = (
        Projection("back3", "b", "a", Dense(weights(6, 4), (4,), (6,)), 3),
        Projection("in_a", "in", "a", Dense(weights(6, 5, seed=1), (5,), (6,))),
        Projection("forth", "a", "b", Dense(weights(4, 6, seed=2), (6,), (4,)), 1),
        Projection("forth2", "a", "b", Dense(weights(4, 6, seed=3), (6,), (4,)), 2),
        Projection("self", "b", "b", Dense(weights(4, 4, seed=4), (4,), (4,)), 2),
        Projection("read", "b", "out", Dense(np.eye(4) * 0.9, (4,), (4,)), 1),
    )
    contract = Contract(Semantics(1e-4, "subtract", ">="), InputCode("events"), 12, "spike_count")
    network = Network("delays", populations, projections, "out", contract)
    model = to_torch(network)
    x = np.random.default_rng(0).integers(0, 2, (SAMPLES, 12, 5))
    assert_same(network, model, x)
    delays = [layer.steps for layer in model.layers.values() if isinstance(layer, Delay)]
    assert sorted(delays) == [1, 1, 1, 2, 2]
    assert_equal_networks(back(model, network, tmp_path), network)


def test_neurons_that_only_a_bias_drives() -> None:
    """They fire from the first step on, before anything comes back to them."""
    populations = (
        Population("in", (3,), None),
        Population("alone", (4,), neuron((4,), 0.5, bias=0.4)),
        Population("out", (4,), neuron((4,), 0.8)),
    )
    itself = Projection("self", "alone", "alone", Dense(-weights(4, 4) / 9, (4,), (4,)), 1)
    read = Projection("fc", "alone", "out", Dense(weights(4, 4), (4,), (4,)))
    contract = Contract(Semantics(1e-4, "subtract", ">="), InputCode("events"), 6, "spike_count")
    network = Network("alone", populations, (itself, read), "out", contract)
    model = to_torch(network)
    assert isinstance(model.layers["alone_bias"], Constant)
    silence = np.zeros((2, 6, 3), np.int64)
    assert assert_same(network, model, silence) > 0
    assert trace_of(network, silence).populations["alone"].s.any()


def test_factors_are_as_few_as_they_are() -> None:
    shape = (3, 2, 2)
    for factors, kept in (
        (np.full(shape, 0.7), (1, 1, 1)),
        (np.broadcast_to(weights(3, 1, 1), shape), (3, 1, 1)),
        (weights(*shape), shape),
    ):
        network = chain(("scale", diagonal(factors), neuron(shape)))
        model = to_torch(network)
        layer = model.layers["scale"]
        assert isinstance(layer, Factors) and tuple(layer.weight.shape) == kept
        assert_same(network, model, random_values(network, 0))


def test_samples_can_be_flattened_first() -> None:
    network = chain(("fc", Dense(weights(4, 16), (16,), (4,)), neuron((4,))))
    model = to_torch(network, sample_shape=(1, 4, 4))
    assert model.sample_shape == (1, 4, 4)
    x = random_values(network, 0)
    spikes, _ = run(model, x.reshape(*x.shape[:2], 1, 4, 4), 4)
    np.testing.assert_array_equal(spikes["n_1"], trace_of(network, x).populations["n.1"].s)


def test_what_a_module_cannot_be_is_refused_by_name() -> None:
    dense = Dense(weights(4, 5), (5,), (4,))
    with pytest.raises(UnsupportedError, match=r"'n\.1': the output spikes.*state spike_count"):
        to_torch(chain(("fc", dense, neuron((4,))), decode="last_v"))
    with pytest.raises(UnsupportedError, match=r"'n\.1': the output never spikes.*sum_v"):
        to_torch(chain(("fc", dense, neuron((4,), None))))
    with pytest.raises(UnsupportedError, match="threshold of 0 has no surrogate"):
        to_torch(chain(("fc", dense, neuron((4,), 0.0))))
    late = Projection("late", "n.1", "n.1", Dense(weights(4, 4), (4,), (4,)), 0)
    with pytest.raises(UnsupportedError, match="'late': leads back without a delay"):
        to_torch(chain(("fc", dense, neuron((4,))), more=(late,)))


def test_both_states_are_cut_between_steps() -> None:
    """The gradient of a step is that of its own input alone; uncut it reaches the first."""
    x = torch.full((3, 2, 4), 0.4, dtype=torch.float64, requires_grad=True)
    for layer in (CubaLIF.keeping(0.5, 0.5, 1.0, surrogate="sigmoid"), LI.keeping(0.5, 0.5)):
        for cut in (True, False):
            layer.reset_state(cut)
            outputs = [layer(step) for step in x]
            (grad,) = torch.autograd.grad(outputs[-1].sum(), x)
            assert bool(grad[:2].any()) != cut and grad[2].all()
    assert LIF.keeping(0.5).by_keep and not LIF(2.0).by_keep
