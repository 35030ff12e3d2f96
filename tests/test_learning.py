"""The integer rule: its parts against real arithmetic, the whole against a slow second writing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, SparseMatrix
from neurodeploy.nn.surrogate import triangle as real_triangle
from neurodeploy.onchip.arithmetic import (
    ReadoutError,
    integer_triangle,
    random_bits,
    shifted_stochastically,
    surrogate_shift,
)
from neurodeploy.onchip.chain import chain
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.plan import make_plan
from neurodeploy.onchip.real import remainders
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.onchip.synapses import plastic
from neurodeploy.quantization.planned import real_network
from neurodeploy.training.continued import FloatLearner
from support.learning_networks import (
    ending,
    float_chain,
    learn_slowly,
    random_tags,
    small_chain,
    small_chunk,
)


def test_random_bits_belong_to_their_counter_and_are_uniform() -> None:
    drawn = random_bits(7, 3, 1, 20_000, 6)
    assert isinstance(drawn, np.ndarray)
    assert drawn.min() == 0 and drawn.max() == 63
    counts = np.bincount(drawn, minlength=64)
    # Chi-squared of 63 degrees of freedom: 120 is beyond one in 100,000.
    assert ((counts - 20_000 / 64) ** 2 / (20_000 / 64)).sum() < 120
    assert np.array_equal(drawn, random_bits(7, 3, 1, 20_000, 6))
    assert np.array_equal(drawn[:100], random_bits(7, 3, 1, 100, 6)), "a synapse keeps its bits"
    for other in ((8, 3, 1), (7, 4, 1), (7, 3, 2)):
        same = np.mean(random_bits(*other, 20_000, 6) == drawn)
        assert same == pytest.approx(1 / 64, abs=0.005)
    assert random_bits(7, 3, 1, 5, 0) == 0


@pytest.mark.parametrize("value", [-1000, -37, -1, 0, 1, 5, 63, 64, 1000])
def test_stochastic_rounding_is_exact_in_the_mean(value: int) -> None:
    bits = random_bits(1, 0, 0, 2**16, 6)
    rounded = shifted_stochastically(np.full(2**16, value), 6, bits)
    assert set(rounded.tolist()) <= {value // 64, -(-value // 64)}
    assert rounded.mean() == pytest.approx(value / 64, abs=0.01)
    assert shifted_stochastically(np.array([value]), -2, 0)[0] == 4 * value


@pytest.mark.parametrize("fraction", [7, 10])
@pytest.mark.parametrize("scale", [150.0, 64 * 1641.4, 64 * 20_000.0])
def test_the_read_out_error_is_softmax_minus_one_hot(fraction: int, scale: float) -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(0, 3, (200, 10))
    outputs = np.rint(real * scale).astype(np.int32)  # as narrow as the neurons' state
    error = ReadoutError.of_scale(scale, fraction)(outputs, label=4)
    terms = np.exp(outputs / scale - (outputs / scale).max(axis=1, keepdims=True))
    wanted = terms / terms.sum(axis=1, keepdims=True)
    wanted[:, 4] -= 1
    # Half a unit of the result, and the table's sixteenths of a power of two: 2^(1/16) is 4.4 %.
    assert np.abs(error / 2**fraction - wanted).max() < 0.5 / 2**fraction + 0.045 * 0.26
    assert np.abs(error).max() <= 2**fraction


def test_the_read_out_error_of_extremes() -> None:
    error = ReadoutError.of_scale(64.0, 10)
    far = np.array([[2**23 - 1, -(2**23), 0]])
    assert error(far, 0).tolist() == [[0, 0, 0]]
    assert error(far, 1).tolist() == [[1024, -1024, 0]]
    assert error(np.zeros((1, 4)), 2).tolist() == [[256, 256, 256 - 1024, 256]]


def test_the_surrogate_is_the_papers_triangle() -> None:
    threshold = 163_072
    v = np.arange(-threshold, 3 * threshold, 1009)
    shift = surrogate_shift(threshold)
    peak = threshold >> shift
    assert 128 <= peak <= 255
    import torch

    real = real_triangle(torch.from_numpy(v / threshold - 1.0), 1.0).numpy()
    assert np.abs(integer_triangle(v, threshold, shift) / peak - real).max() < 0.01
    with pytest.raises(ValueError, match="no room"):
        surrogate_shift(100)


def test_plastic_synapses_are_the_operators_matrix() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        axes, groups = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        inputs, outputs = (groups * int(rng.integers(1, 3)) for _ in range(2))
        kernel = tuple(rng.integers(1, 4, axes))
        shape = (inputs, *(int(n) for n in rng.integers(6, 9, axes)))
        conv = Convolution(
            rng.integers(-9, 10, (outputs, inputs // groups, *kernel)),
            shape,
            tuple(int(n) for n in rng.integers(1, 4, axes)),
            tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (axes, 2))),
            tuple(int(n) for n in rng.integers(1, 3, axes)),
            groups,
        )
        dense = Dense(rng.integers(-9, 10, (5, 3 * 4)), (3, 4), (5,))
        for operator in (conv, dense, SparseMatrix.of(conv)):
            synapses, weights = plastic(operator), operator.weights.ravel()
            matrix = operator.matrix().toarray()
            spikes = rng.integers(0, 5, (matrix.shape[1], 3)).astype(np.float64)
            errors = rng.integers(-5, 6, (matrix.shape[0], 3)).astype(np.float64)
            gathered = synapses.gather(spikes)
            assert np.array_equal(synapses.activate(weights, gathered), matrix @ spikes)
            assert np.array_equal(synapses.carry_back(weights, errors), matrix.T @ errors)
            gradient = synapses.gradient(errors, gathered)
            for number in rng.integers(0, max(weights.size, 1), 3 if weights.size else 0):
                only = np.zeros(weights.size)
                only[number] = 1  # of a sum in which each weight is a factor: its derivative
                alone = operator.with_weights(only.reshape(operator.weights.shape))
                assert gradient[number] == ((alone.matrix() @ spikes) * errors).sum()


@pytest.mark.parametrize(
    ("kind", "bits", "options", "chain_options"),
    [
        ("dense", 8, LearningOptions(rate=2**-3), {}),
        ("dense", 4, LearningOptions(rate=2**-1, update="step", seed=5), {"reset": "zero"}),
        ("dense", 8, LearningOptions(rate=2**-2, halvings=(2, 3, 5)), {}),
        ("dense", 8, LearningOptions(rate=2**-3, feedback="random"), {"comparison": ">"}),
        ("conv", 8, LearningOptions(rate=2**-5), {"payload": 16}),
        ("conv", 3, LearningOptions(rate=2**-4, update="step"), {"steps": 2}),
        ("dense", 8, LearningOptions(rule="local", rate=2**-4, seed=8), {"comparison": ">"}),
        ("conv", 4, LearningOptions(rule="local", rate=2**-5, update="step"), {"payload": 16}),
    ],
)
@pytest.mark.parametrize("ends", [False, True])
def test_the_reference_follows_the_specification(kind, bits, options, chain_options, ends) -> None:
    network = small_chain(kind, bits=bits, **chain_options)
    plan, chunk = make_plan(network, options, random_tags(network)), small_chunk(network, 6)
    chunk = ending(chunk, plan.steps) if ends else chunk
    slow, learner = learn_slowly(plan, chunk), ReferenceLearner(plan)
    states = learner.learn(chunk).states
    for name, found in slow.items():
        assert np.array_equal(states[name], found), name
        assert (found[-1, -1] != found[0, 0]).any(), f"{name} learnt nothing: the test is empty"


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("kind", "payload"), [("dense", 1), ("conv", 16)])
def test_tags_begin_with_what_rounding_left(kind: str, payload: int, bits: int) -> None:
    floats = float_chain(kind, payload=payload)
    network = small_chain(kind, payload=payload, bits=bits)
    tags = remainders(network, floats)
    plan = make_plan(network, LearningOptions(), tags)
    states = {layer.synapses.projection.name: layer.synapses.initial() for layer in plan.layers}
    for name, found in plan.tags(states).items():
        assert np.array_equal(found, tags[name]) and len(np.unique(found)) > 8
    for ours, theirs in zip(plan.learned(states).projections, network.projections, strict=True):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)
    for layer, before in zip(plan.layers, floats.projections, strict=True):
        projection, x = layer.synapses.projection, states[layer.synapses.projection.name]
        exact = x * projection.weight_format.step / 256
        scale = layer.population.scale / (2.0**projection.exponent * projection.payload)
        unit = projection.weight_format.step / 256
        wrong = np.abs(exact - before.operator.weights.ravel() * scale) > 0.51 * unit
        # The largest weights may be clipped, and half a step up is a tag of 128, one too many.
        assert wrong.mean() < 0.06


def test_weights_that_were_split_or_reshaped_have_no_tags() -> None:
    network, floats = small_chain("dense"), float_chain("dense")
    first, *others = floats.projections
    renamed = replace(floats, projections=(replace(first, name="other"), *others))
    assert set(remainders(network, renamed)) == {"w2", "w3"}


def test_extreme_rates_saturate_and_are_counted() -> None:
    network = small_chain("dense")
    plan, chunk = make_plan(network, LearningOptions(rate=2.0**4)), small_chunk(network, 12)
    learner = ReferenceLearner(plan)
    states = learner.learn(chunk).states
    for name, found in learn_slowly(plan, chunk).items():
        assert np.array_equal(states[name], found)
    last = learner.counts.of("w3")
    assert last.saturated > 0 and last.clipped_updates > 0
    for projection in learner.learned().projections:
        form, weights = projection.weight_format, projection.operator.weights
        assert weights.min() >= form.minimum and weights.max() <= form.maximum
        assert (weights % form.step == 0).all()


def test_errors_beyond_their_width_are_clipped_and_counted() -> None:
    network = small_chain("dense")
    plan, chunk = make_plan(network, LearningOptions(rate=2.0**-6)), small_chunk(network, 4)
    hidden = plan.layers[0]
    assert hidden.neurons is not None
    loud = replace(hidden, neurons=replace(hidden.neurons, error_shift=0))
    plan = replace(plan, layers=(loud, *plan.layers[1:]))
    learner = ReferenceLearner(plan)
    states = learner.learn(chunk).states
    assert learner.counts.of("w1").clipped_errors > 0
    for name, found in learn_slowly(plan, chunk).items():
        assert np.array_equal(states[name], found)


@pytest.mark.parametrize(("kind", "payload"), [("dense", 1), ("conv", 16)])
def test_an_update_goes_where_pytorchs_gradient_points(kind: str, payload: int) -> None:
    """Of every layer, and as far: the integer change over eta is minus the gradient."""
    network = small_chain(kind, payload=payload, seed=3)
    rate = 2.0**-4
    chunk = small_chunk(network, 24, seed=2)
    real = FloatLearner(real_network(network), rate, "steps")
    total = dict.fromkeys((p.name for p in network.projections), 0.0)
    changes = dict(total)
    for number in range(len(chunk)):
        one = replace(chunk, values=chunk.values[[number]], labels=chunk.labels[[number]])
        plan = make_plan(network, LearningOptions(rate=rate, seed=number))
        states = ReferenceLearner(plan).learn(one).states
        for name, gradient in real.gradients(
            chunk.values[number], int(chunk.labels[number])
        ).items():
            total[name] = total[name] + gradient.ravel()
            before = next(s for s in plan.layers if s.synapses.projection.name == name).synapses
            changes[name] = changes[name] + states[name][0, 0] - before.initial()
    for projection in network.projections:
        name = projection.name
        change, gradient = np.asarray(changes[name]), np.asarray(total[name])
        cosine = -float(change @ gradient) / np.linalg.norm(change) / np.linalg.norm(gradient)
        assert cosine > 0.98, name
        # X holds 2^8 per step of the weight; a weight is W S / (2^x payload) integers.
        scale = network.population(projection.target).scale / 2.0**projection.exponent
        unit = 256 * scale / projection.payload / projection.weight_format.step
        true_rate = np.linalg.norm(change) / unit / np.linalg.norm(gradient)
        # A power of two per layer, and an input that is payload times smaller in floats.
        assert 2**-0.6 < true_rate / rate < 2**0.6, name


def test_random_feedback_is_fixed_and_as_large_as_the_weights() -> None:
    network = small_chain("dense")
    plans = [make_plan(network, LearningOptions(feedback="random", seed=s)) for s in (0, 0, 1)]
    for layer in (1, 2):
        first, again, other = (plan.layers[layer].synapses.feedback for plan in plans)
        assert first is not None and again is not None and other is not None
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        own = plans[0].layers[layer].synapses.projection.operator.weights
        assert np.std(first) == pytest.approx(np.sqrt((own.astype(float) ** 2).mean()), rel=0.5)
        assert (first % WeightFormat(8, "mixed").step == 0).all()
    assert plans[0].layers[0].synapses.feedback is None, "nothing goes back to the input"


def test_what_cannot_learn_is_refused_by_name() -> None:
    network = small_chain("dense")
    spiking = replace(network, contract=replace(network.contract, decode="sum_v"))
    with pytest.raises(UnsupportedError, match=r"read-out 'readout' is a I decoded by sum_v"):
        chain(spiking)
    shortcut = replace(network.projections[2], name="shortcut", source="hidden1")
    with pytest.raises(UnsupportedError, match="'hidden1' feeds hidden2, readout"):
        chain(replace(network, projections=(*network.projections, shortcut)))
    late = tuple(replace(p, delay=1) for p in network.projections)
    with pytest.raises(UnsupportedError, match="with a delay"):
        chain(replace(network, projections=late))
    hidden = network.population("hidden1")
    assert hidden.leaky.threshold is not None
    uneven = hidden.leaky.threshold + np.arange(6)
    for neuron, reason in (
        (replace(hidden.leaky, threshold=uneven), "'hidden1' has thresholds from"),
        (replace(hidden.leaky, refractory_period=2), "'hidden1' rests for 2 steps"),
    ):
        changed = replace(hidden, neuron=neuron)
        populations = tuple(changed if p is hidden else p for p in network.populations)
        with pytest.raises(UnsupportedError, match=reason):
            chain(replace(network, populations=populations))


def test_the_real_network_means_what_the_integers_do() -> None:
    real, integers = float_chain("conv", payload=16), small_chain("conv", payload=16)
    back = real_network(integers)
    for wanted, found in zip(real.projections, back.projections, strict=True):
        largest = np.abs(wanted.operator.weights).max()
        assert np.abs(found.operator.weights - wanted.operator.weights).max() < largest / 200
    for wanted, found in zip(real.populations[1:], back.populations[1:], strict=True):
        assert np.allclose(found.leaky.bias, wanted.leaky.bias, atol=1e-3)
        assert np.allclose(found.leaky.v_keep, wanted.leaky.v_keep)
