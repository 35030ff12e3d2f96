"""Mapping: words by hand, an independent recount, every rule, and Intel's published partitions."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix, identity
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.ir.schedule import depths, pipeline_delay
from neurodeploy.mapping import CONSTRAINTS, CoreMapping, check, map_network
from neurodeploy.mapping.memory import row_words, weight_width
from neurodeploy.mapping.neuron_rules import worst_potential
from neurodeploy.neurons.relay import QuantizedRelay
from neurodeploy.target import Ability, Limit, Target, load_target
from support.naive_rows import is_dense, weight_bits
from support.naive_rows import words as row_words_of
from support.wording import said_by

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def figure(value: int) -> Limit:
    return Limit(source="a test", quality="assumed", value=value)


def with_core(target: Target, **limits: int | None) -> Target:
    """The target with other limits per core; None for unpublished."""
    new: dict[str, Any] = {k: v if v is None else figure(v) for k, v in limits.items()}
    return replace(target, core=replace(target.core, **new))


def neuron(**changes: Any) -> QuantizedNeuron:
    """A leaky neuron that Loihi 1 has."""
    start = QuantizedNeuron(
        kind="LIF",
        u_decay=np.array([4096]),
        v_decay=np.array([2048]),
        bias_mantissa=np.array([0]),
        bias_exponent=np.array([0]),
        threshold=np.array([100]),
        reset="zero",
        comparison=">",
    )
    return replace(start, **changes)


def chain(*operators: Operator, sign: str = "mixed", **changes: Any) -> QuantizedNetwork:
    """Populations l0, l1, ... behind an input, joined by projections p0, p1, ..."""
    populations = [QuantizedPopulation("input", operators[0].input_shape, None, 1.0)]
    projections = []
    for index, operator in enumerate(operators):
        populations.append(
            QuantizedPopulation(f"l{index}", operator.output_shape, neuron(**changes), 1.0)
        )
        projections.append(
            QuantizedProjection(
                f"p{index}",
                populations[-2].name,
                populations[-1].name,
                operator,
                WeightFormat(8, sign),
                exponent=0,
                payload=1,
            )
        )
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("rate"), 4, "last_v")
    return QuantizedNetwork(
        "net", tuple(populations), tuple(projections), populations[-1].name, contract
    )


def weights(
    rng: np.random.Generator, shape: tuple[int, ...], width: int, zeros: float = 0.0
) -> Any:
    """Mixed weights that need exactly ``width`` bits, a share of them zero."""
    values = rng.integers(-(2 ** (width - 1)), 2 ** (width - 1), shape) * 2
    values[rng.random(shape) < zeros] = 0
    values.flat[0] = -(2**width)
    return values


def dense(inputs: int, outputs: int, width: int = 8, seed: int = 0, zeros: float = 0.0) -> Dense:
    rng = np.random.default_rng(seed)
    return Dense(weights(rng, (outputs, inputs), width, zeros), (inputs,), (outputs,))


def edited(network: QuantizedNetwork, name: str, **changes: Any) -> QuantizedNetwork:
    """The network with one projection or population changed."""
    return replace(
        network,
        **{
            kind: tuple(
                replace(item, **changes) if item.name == name else item
                for item in getattr(network, kind)
            )
            for kind in ("populations", "projections")
        },
    )


# Words, by hand.


@pytest.mark.parametrize(
    ("target", "entries", "bits", "words"),
    [
        (LOIHI1, 0, 8, 0),
        (LOIHI1, 1, 8, 1),  # 10 + 8
        (LOIHI1, 6, 9, 1),  # 10 + 54 = 64
        (LOIHI1, 7, 8, 2),  # 10 + 56 = 66
        (LOIHI1, 64, 8, 9),  # 10 + 512 = 522
        (LOIHI1, 65, 8, 10),  # a block of 64 and one of 1
        (LOIHI1, 128, 8, 18),
        (LOIHI2, 7, 8, 1),  # 8 + 56 = 64
        (LOIHI2, 8, 8, 2),
        (LOIHI2, 128, 8, 17),  # 8 + 1024 = 1032, one header
    ],
)
def test_words_of_a_row(target: Target, entries: int, bits: int, words: int) -> None:
    assert row_words(np.array([entries]), bits, target.synapse.memory) == [words]


@pytest.mark.parametrize(
    ("values", "sign", "bits", "width"),
    [
        ([-256, 254], "mixed", 8, 8),
        ([-128, 126], "mixed", 8, 7),
        ([-2, 4], "mixed", 8, 3),
        ([-2, 0], "mixed", 8, 1),
        ([0, 255], "excitatory", 8, 8),
        ([0, 3], "excitatory", 8, 2),
        ([-7, 0], "inhibitory", 8, 3),
        ([0, 0], "excitatory", 8, 1),
        ([-256, 224], "mixed", 4, 4),  # a step of 32
        ([-32, 32], "mixed", 4, 2),
    ],
)
def test_width_of_weights(values: list[int], sign: str, bits: int, width: int) -> None:
    operator = Dense(np.array([values]), (2,), (1,))
    projection = QuantizedProjection("p", "a", "b", operator, WeightFormat(bits, sign), 0, 1)
    assert weight_width(projection) == width


def test_loihi1_stores_7_bits_in_8_and_pays_for_delays() -> None:
    network = chain(dense(1, 64, width=7))
    assert map_network(network, LOIHI1).uses[0].synapse_words == 9  # 10 + 64 x 8
    delayed = edited(network, "p0", delay=2)
    assert map_network(delayed, LOIHI1).uses[0].synapse_words == 15  # 10 + 64 x 14 = 906


def test_a_shared_kernel_is_stored_once_and_a_written_out_one_is_not() -> None:
    kernel = np.full((4, 2, 3, 3), 2)
    kernel[:, 1] = 0
    network = chain(Convolution(kernel, (2, 5, 5), (1, 1), ((1, 1), (1, 1)), (1, 1)))
    (shared,) = map_network(network, LOIHI2).uses
    # 9 rows of 4 entries of 2 bits; the second input channel takes nothing.
    assert (shared.neurons, shared.input_axons, shared.synapse_words) == (100, 1, 9)
    (written,) = map_network(network, LOIHI1).uses
    # Rows of 4 outputs x 4 (corner), 6 (edge) or 9 positions, 12 bits an entry behind 10.
    assert (written.input_axons, written.synapse_words) == (25, 4 * 4 + 12 * 5 + 9 * 7)


# Intel's partitioner.

MNIST = [(64, 10, 1.60, 0.24, 1), (128, 64, 16.80, 1.56, 1), (784, 128, 78.40, 1.22, 3)]
"""Inputs, neurons; percent of a core's synapse memory and neurons, cores (mnist/run.ipynb)."""


def test_mnist_takes_intels_cores() -> None:
    network = chain(*[dense(inputs, n) for inputs, n, *_ in reversed(MNIST)])
    mapping = map_network(network, LOIHI2)
    assert len(mapping.uses) == 5 and not mapping.violations
    by_population = list(mapping.by_population().values())
    for uses, (inputs, _, synapses, neurons, cores) in zip(by_population, MNIST[::-1], strict=True):
        assert len(uses) == cores
        assert uses[0].synapse_words / 160 == pytest.approx(synapses, abs=0.005)
        assert uses[0].neurons / 40.95 == pytest.approx(neurons, abs=0.005)
        assert uses[0].input_axons == inputs


CONVOLUTIONS = [
    # yolo_kp/run.ipynb; bits that give the words printed
    ((3, 448, 448), 16, 3, (2, 2), (1, 1), 6, 224, 3584, 54),
    ((16, 224, 224), 32, 3, (2, 2), (1, 1), 6, 112, 3584, 576),
    ((32, 112, 112), 64, 3, (2, 2), (1, 1), 5, 56, 3584, 1728),
    ((64, 56, 56), 128, 3, (2, 2), (1, 1), 5, 28, 3584, 6336),
    ((128, 28, 28), 256, 3, (1, 1), (1, 1), 5, 56, 3584, 12672),
    ((256, 28, 28), 256, 3, (2, 2), (1, 1), 4, 16, 3584, 11520),
    ((256, 14, 14), 512, 3, (1, 1), (1, 1), 5, 32, 3584, 13824),
    ((512, 14, 14), 256, 1, (1, 1), (0, 0), 5, 14, 3584, 10752),
    ((512, 14, 14), 48, 1, (1, 1), (0, 0), 7, 4, 2688, 3072),
    # pilotnet_sdnn/benchmark.ipynb
    ((3, 66, 200), 24, 3, (2, 2), (0, 0), 6, 25, 3072, 81),
    ((24, 32, 99), 36, 3, (2, 2), (0, 0), 6, 13, 2160, 864),
    ((36, 15, 49), 48, 3, (2, 2), (0, 0), 6, 3, 2688, 1620),
    ((48, 7, 24), 64, 3, (2, 1), (1, 0), 5, 3, 2048, 2592),
    ((64, 4, 22), 64, 3, (1, 1), (0, 0), 4, 2, 2048, 2880),
]


@pytest.mark.parametrize(
    ("shape", "out", "kernel", "stride", "pad", "width", "cores", "neurons", "words"), CONVOLUTIONS
)
def test_convolutions_take_intels_cores(
    shape: tuple[int, ...],
    out: int,
    kernel: int,
    stride: tuple[int, int],
    pad: tuple[int, int],
    width: int,
    cores: int,
    neurons: int,
    words: int,
) -> None:
    values = weights(np.random.default_rng(0), (out, shape[0], kernel, kernel), width)
    padding = (pad[0], pad[0]), (pad[1], pad[1])
    mapping = map_network(chain(Convolution(values, shape, stride, padding, (1, 1))), LOIHI2)
    assert len(mapping.uses) == cores
    assert max(use.neurons for use in mapping.uses) == neurons
    assert {use.synapse_words for use in mapping.uses} == {words}


ROWS = [
    # synapses, words and bits besides the weight of rows printed by Intel's partitioner
    *[(10, 4, 12), (64, 21, 12), (50, 16, 12)],  # mnist
    *[(256, 81, 12), (200, 63, 12), (86, 27, 12)],  # oxford
    *[(1, 1, 12), (10, 3, 12), (50, 15, 12), (50, 13, 12)],  # pilotnet_sdnn, pilotnet_snn
    *[(100, 26, 12), (100, 24, 12), (17, 5, 12), (9, 3, 12)],
    *[(24, 3, 0), (36, 4, 0), (48, 5, 0), (64, 6, 0), (64, 5, 0)],
    *[(16, 2, 0), (32, 4, 0), (64, 6, 0), (128, 11, 0), (256, 21, 0), (48, 6, 0)],  # yolo_kp
]


@pytest.mark.parametrize(("entries", "words", "overhead"), ROWS)
def test_published_rows_take_whole_weight_bits(entries: int, words: int, overhead: int) -> None:
    assert LOIHI2.synapse.memory.dense_entry_bits.value == 12
    found = [
        bits
        for bits in range(3, 9)
        if row_words(np.array(entries), bits + overhead, LOIHI2.synapse.memory) == words
    ]
    assert found


# An independent recount.


def naive_uses(network: QuantizedNetwork, target: Target, mapping: CoreMapping) -> list[list[int]]:
    """Neurons, input axons, output axons and words of every core, counted synapse by synapse."""
    memory = target.synapse.memory
    shapes = {p.name: p.shape for p in network.populations}
    neurons = [set(p.indices(shapes[p.population]).tolist()) for p in mapping.placements]
    result = [[len(members), 0, 0, 0] for members in neurons]
    reaches: set[tuple[str, int, int]] = set()
    depth = depths(network)

    for core, placement in enumerate(mapping.placements):
        for p in network.projections:
            if p.target != placement.population:
                continue
            matrix = p.operator.matrix().tocoo()
            rows: Counter[int] = Counter()
            for to, source in zip(matrix.row, matrix.col, strict=True):
                if int(to) in neurons[core]:
                    rows[int(source)] += 1
            reaches |= {(p.source, source, core) for source in rows}
            delayed = pipeline_delay(depth, p) > 0
            bits = weight_bits(p, target, delayed)
            if isinstance(p.operator, Convolution) and memory.shared_convolution.value:
                start, stop = placement.ranges[0]
                group = len(p.operator.weights) // p.operator.groups
                kernel: Counter[tuple[int, ...]] = Counter()
                used = set()
                for at, value in np.ndenumerate(p.operator.weights):
                    if start <= at[0] < stop:
                        row = (at[0] // group, *at[1:])
                        kernel[row] += 1
                        if value:
                            used.add(row)
                result[core][1] += bool(used)
                result[core][3] += sum(
                    row_words_of(memory, n, bits) for row, n in kernel.items() if row in used
                )
            elif is_dense(p, target, delayed):
                result[core][1] += len(rows)
                bits += memory.dense_entry_bits.value
                result[core][3] += len(rows) * row_words_of(memory, len(neurons[core]), bits)
            else:
                result[core][1] += len(rows)
                bits += memory.sparse_entry_bits.value
                result[core][3] += sum(row_words_of(memory, n, bits) for n in rows.values())
    for source, index, _ in reaches:
        for core, placement in enumerate(mapping.placements):
            if placement.population == source and index in neurons[core]:
                result[core][2] += 1
    return result


def random_network(seed: int) -> QuantizedNetwork:
    """Convolution, grouped convolution, written-out layer, dense layers, a loop and a skip."""
    rng = np.random.default_rng(seed)
    first = Convolution(
        weights(rng, (4, 2, 3, 2), 5, 0.3), (2, 9, 7), (2, 1), ((1, 0), (1, 1)), (1, 2)
    )
    second = Convolution(
        weights(rng, (6, 2, 2, 2), 7, 0.5),
        first.output_shape,
        (1, 2),
        ((0, 0),) * 2,
        (1, 1),
        groups=2,
    )
    size = math.prod(second.output_shape)
    matrix = sparse.random(20, size, 0.2, random_state=seed, format="csr")  # pyright: ignore[reportCallIssue]
    matrix.data = np.rint(matrix.data * 60).astype(np.int64) * 2
    third = SparseMatrix.from_matrix(matrix.astype(np.int64), second.output_shape, (4, 5))
    fourth = Dense(weights(rng, (12, 20), 6, 0.7), (4, 5), (12,))
    network = chain(first, second, third, fourth)
    loop = Dense(weights(rng, (12, 12), 4, 0.5), (12,), (12,))
    skip = Dense(
        weights(rng, (12, math.prod(first.output_shape)), 3, 0.8), first.output_shape, (12,)
    )
    extra = [
        replace(network.projections[3], name="loop", source="l3", operator=loop, delay=1),
        replace(network.projections[3], name="skip", source="l0", operator=skip),
    ]
    return replace(network, projections=(*network.projections, *extra))


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
@pytest.mark.parametrize("neurons", [7, 16, 1000])
def test_uses_agree_with_a_naive_recount(target: Target, neurons: int) -> None:
    target = with_core(target, neurons=neurons)
    network = random_network(neurons)
    mapping = map_network(network, target)
    counted = [
        [use.neurons, use.input_axons, use.output_axons, use.synapse_words] for use in mapping.uses
    ]
    assert counted == naive_uses(network, target, mapping)
    assert len(counted) > 4 or neurons == 1000


# Placement.

operators = st.one_of(
    st.builds(dense, st.integers(1, 40), st.integers(1, 60), seed=st.integers(0, 9),
              zeros=st.floats(0, 1)),
    st.builds(
        lambda shape, out, seed: Convolution(
            weights(np.random.default_rng(seed), (out, shape[0], 3, 3), 6, 0.3), shape, (1, 1),
            ((1, 1), (1, 1)), (1, 1)),
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
        st.integers(1, 9), st.integers(0, 9),
    ),
    st.builds(identity, st.tuples(st.integers(1, 5), st.integers(1, 12))),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    operator=operators,
    neurons=st.integers(1, 70),
    axons=st.integers(1, 50),
    words=st.integers(1, 90),
    target=st.sampled_from([LOIHI1, LOIHI2]),
)
def test_every_neuron_is_placed_once_within_the_limits(
    operator: Operator, neurons: int, axons: int, words: int, target: Target
) -> None:
    target = with_core(target, neurons=neurons, input_axons=axons, synapse_words=words)
    mapping = map_network(chain(operator), target)
    shape = operator.output_shape
    placed = np.concatenate([p.indices(shape) for p in mapping.placements])
    assert np.array_equal(np.sort(placed), np.arange(math.prod(shape)))
    broken = {violation.rule for violation in mapping.violations}
    for rule, limit in mapping.limits.items():
        most = max(getattr(use, rule) for use in mapping.uses)
        assert (rule in broken) == (most > limit)
        if rule in broken:
            # Not even one neuron to a core would do.
            alone = map_network(chain(operator), with_core(target, neurons=1))
            assert max(getattr(use, rule) for use in alone.uses) > limit
    places = [(p.chip, p.core) for p in mapping.placements]
    assert places == [(use.chip, use.core) for use in mapping.uses]
    assert places == [divmod(i, 128) for i in range(len(places))]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), words=st.integers(20, 60), zeros=st.floats(0, 1))
def test_runs_are_the_fewest_possible(seed: int, words: int, zeros: float) -> None:
    operator = dense(9, 30, seed=seed, zeros=zeros)
    target = with_core(LOIHI1, synapse_words=words)
    (projection,) = chain(operator).projections
    zeros_too, memory = is_dense(projection, LOIHI1), LOIHI1.synapse.memory
    entry = 8 + memory.dense_entry_bits.value if zeros_too else 8 + memory.sparse_entry_bits.value

    def fits(start: int, stop: int) -> bool:
        part = Dense(operator.weights[start:stop], (9,), (stop - start,))
        # The width is the layer's, so one synapse of full width stays in.
        counts = [int(n) for n in (part.weights != 0).sum(axis=0) if n]
        entries = [stop - start] * len(counts) if zeros_too else counts
        return sum(row_words_of(memory, n, entry) for n in entries) <= words

    fewest = [0] * 31
    for stop in range(1, 31):
        fewest[stop] = 1 + min(fewest[start] for start in range(stop) if fits(start, stop))
    assert len(map_network(chain(operator), target).uses) == fewest[30]


def test_mapping_is_deterministic_and_survives_json() -> None:
    target = with_core(LOIHI1, neurons=16)
    first, second = (map_network(random_network(3), target) for _ in range(2))
    assert first == second
    assert CoreMapping.from_dict(json.loads(json.dumps(first.to_dict()))) == first


def test_a_mapping_with_an_unknown_key_is_refused() -> None:
    table = map_network(chain(dense(2, 2)), LOIHI1).to_dict()
    table["placement"] = table.pop("placements")
    with pytest.raises(InputError) as refused:
        CoreMapping.from_dict(table, "mapping.json")
    assert str(refused.value) == (
        "mapping.json: unknown key 'placement'; did you mean 'placements'?"
    )


def test_populations_stand_in_pipeline_order_whatever_the_order_of_the_network() -> None:
    network = chain(dense(3, 4), dense(4, 5), dense(5, 2))
    shuffled = replace(
        network, populations=network.populations[::-1], projections=network.projections[::-1]
    )
    assert map_network(network, LOIHI2) == map_network(shuffled, LOIHI2)
    assert [p.population for p in map_network(shuffled, LOIHI2).placements] == ["l0", "l1", "l2"]


def test_a_dense_layer_is_split_until_the_layer_before_has_axons_to_reach_it() -> None:
    target = with_core(LOIHI1, neurons=8, output_axons=16)
    mapping = map_network(chain(dense(3, 16), dense(16, 32)), target)
    cores = mapping.by_population()
    # Each neuron of l0 reaches the 4 cores of l1, so a core of l0 can hold 4 of its neurons.
    assert [use.output_axons for use in cores["l0"]] == [16, 16, 16, 16]
    assert len(cores["l1"]) == 4 and not mapping.violations


# Every rule, broken once.

CASES = [
    (
        edited(chain(dense(2, 2)), "p0", payload=16),
        "population 'input': graded spikes up to 16, loihi1 allows binary spikes only; "
        "train with --set encoder.name=rate",
    ),
    (
        chain(dense(2, 2), reset="subtract"),
        "population 'l0': reset by subtraction, loihi1 allows reset to zero only; "
        "train with --set neuron.reset=zero",
    ),
    (
        chain(dense(2, 2), comparison=">="),
        "population 'l0': fires at v >= threshold, loihi1 allows v > threshold only; "
        "train with --set 'neuron.comparison=\">\"'",
    ),
    (
        edited(
            chain(dense(400, 2), threshold=None, v_decay=np.array([0])), "p0", exponent=1
        ),
        "population 'l0': never spikes but can reach v = 8,388,607, loihi1 allows thresholds up to "
        "8,388,544; use fewer steps (--set training.steps=...) or fewer inputs",
    ),
    (
        edited(chain(dense(400, 2), threshold=None), "p0", exponent=4),
        "population 'l0': never spikes but can wrap u, loihi1 allows thresholds up to "
        "8,388,544; use fewer steps (--set training.steps=...) or fewer inputs",
    ),
    (
        chain(dense(2, 2), refractory_period=63),
        "population 'l0': rests for 63 steps after a spike, loihi1 allows 62; "
        "shorten the refractory period",
    ),
    (
        edited(chain(dense(2, 2)), "p0", delay=64),
        "projection 'p0': 63 steps of synaptic delay, loihi1 allows 62; "
        "shorten the delay or the parallel path",
    ),
    (
        edited(chain(dense(2, 2)), "p0", exponent=8),
        "projection 'p0': weight exponent 8, loihi1 allows -7 to 7; "
        "bring the weights of the population's projections closer to one another",
    ),
    (
        chain(dense(2, 2), threshold=np.array([5, 131_072])),
        "population 'l0': threshold 131,072, loihi1 allows 0 to 131,071; "
        "lower v_threshold or quantise again for this target",
    ),
    (
        chain(dense(2, 2), bias_mantissa=np.array([0, -4_097])),
        "population 'l0': bias mantissa -4,097, loihi1 allows -4,096 to 4,095; "
        "lower the bias or quantise again for this target",
    ),
    (
        chain(dense(2, 2), bias_exponent=np.array([8])),
        "population 'l0': bias exponent 8, loihi1 allows 0 to 7; "
        "lower the bias or quantise again for this target",
    ),
    (
        chain(dense(2, 2), u_decay=np.array([0])),
        "population 'l0': u_decay 0, loihi1 allows 1 to 4,096; quantise again for this target",
    ),
    (
        chain(dense(2, 2), v_decay=np.array([4096])),
        "population 'l0': v_decay 4,096, loihi1 allows 0 to 4,095; quantise again for this target",
    ),
    (
        chain(Dense(np.full((1, 5_120), 2), (5_120,), (1,))),
        "population 'l0': 5,120 input axons per core, loihi1 allows 4,096; "
        "reduce fan-in or split the layer",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("network", "message"), CASES)
def test_a_broken_rule_says_what_helps(network: QuantizedNetwork, message: str) -> None:
    violations = map_network(network, LOIHI1).violations
    assert [said_by("export", violation.text) for violation in violations] == [message]


def test_weights_too_wide_for_the_target() -> None:
    synapse = replace(LOIHI1.synapse, weight_bits=figure(6))
    violations = map_network(chain(dense(2, 2)), replace(LOIHI1, synapse=synapse)).violations
    assert [str(violation) for violation in violations] == [
        "projection 'p0': 8-bit weights, loihi1 allows 6; quantise to 6 bits"
    ]


@pytest.mark.parametrize(
    ("target", "network", "message"),
    [
        (
            with_core(LOIHI1, synapse_words=8),
            chain(dense(9, 2)),
            "population 'l0': 9 synapse words per core, loihi1 allows 8; "
            "reduce fan-in or the width of the weights",
        ),
        (
            with_core(LOIHI1, neurons=1, output_axons=2),
            chain(dense(1, 1), dense(1, 3)),
            "population 'l0': 3 output axons per core, loihi1 allows 2; "
            "reduce fan-out or split the layer after it",
        ),
        (
            with_core(LOIHI1, neurons=1),
            chain(dense(1, 130)),
            "network 'net': 130 cores, loihi1 has 128; "
            "use smaller layers or a target with more chips",
        ),
    ],
)
def test_a_core_that_holds_too_much(
    target: Target, network: QuantizedNetwork, message: str
) -> None:
    assert [str(violation) for violation in map_network(network, target).violations] == [message]


def test_too_many_neurons_on_a_core_are_found_in_a_foreign_mapping() -> None:
    network = chain(dense(2, 5))
    small = with_core(LOIHI1, neurons=4)
    mapping = replace(map_network(network, LOIHI1), limits={"neurons": 4})
    assert [str(violation) for violation in check(network, small, mapping)] == [
        "population 'l0': 5 neurons per core, loihi1 allows 4; split the layer"
    ]


def test_all_violations_come_at_once_and_programmable_neurons_lift_theirs() -> None:
    network = chain(dense(2, 2), reset="subtract", comparison=">=")
    network = edited(network, "p0", payload=16, exponent=9)
    rules = [violation.rule for violation in check(network, LOIHI1)]
    assert rules == ["spike_payload", "soft_reset", "comparison", "weight_exponents"]
    assert [violation.rule for violation in check(network, LOIHI2)] == ["weight_exponents"]


def relayed() -> QuantizedNetwork:
    """A population that sends integers, between two that do not."""
    network = chain(dense(2, 2), dense(2, 2))
    first, relays, last = network.populations
    neurons = QuantizedRelay(np.zeros(2, np.int64), most=127)
    populations = (first, replace(relays, neuron=neurons), last)
    return edited(replace(network, populations=populations), "p1", payload=127)


def test_a_chip_of_fixed_neurons_and_binary_spikes_refuses_relays_by_name() -> None:
    assert [str(violation) for violation in check(relayed(), LOIHI1)] == [
        "population 'l0': neurons of kind Relay send messages of 8 bits, loihi1 allows binary "
        "spikes only; use a target with graded spikes, or fewer bits",
        "population 'l0': neurons of kind Relay, loihi1 has only leaky integrate-and-fire "
        "neurons; use a target with programmable neurons",
    ]
    assert check(relayed(), LOIHI2) == ()


def test_every_rule_is_broken_by_a_test_above() -> None:
    found = {v.rule for network, _ in CASES for v in map_network(network, LOIHI1).violations}
    found |= {"weight_bits", "neurons", "synapse_words", "output_axons", "cores"}
    found |= {violation.rule for violation in check(relayed(), LOIHI1)}
    assert found == {rule.__name__ for rule in CONSTRAINTS}


def test_delays_that_balance_paths_count() -> None:
    network = chain(*[identity((1,))] * 65)
    skip = replace(network.projections[0], name="skip", target="l64")
    violations = check(replace(network, projections=(*network.projections, skip)), LOIHI1)
    assert [str(violation) for violation in violations] == [
        "projection 'skip': 64 steps of synaptic delay, loihi1 allows 62; "
        "shorten the delay or the parallel path"
    ]


def test_a_readout_that_cannot_reach_the_largest_threshold_needs_no_programming() -> None:
    weights_in = np.full((1, 3), 100)
    network = chain(
        Dense(weights_in, (3,), (1,)), sign="excitatory", threshold=None,
        u_decay=np.array([2048]), v_decay=np.array([0]), bias_mantissa=np.array([7]),
    )  # fmt: skip
    # u: 19200, 28800, 33600, 36000; v adds them up and 7 at each of the 4 steps.
    assert worst_potential(network, "l0") == 117_600 + 28
    assert not map_network(network, LOIHI1).violations


@pytest.mark.parametrize(("bias", "delay", "fits"), [(48, 0, True), (49, 0, False), (48, 1, False)])
def test_a_readout_may_just_reach_the_largest_threshold(bias: int, delay: int, fits: bool) -> None:
    values = np.append(np.full(128, 255), 127)[None]  # 32,767 in all
    network = chain(
        Dense(values, (129,), (1,)), sign="excitatory", threshold=None,
        v_decay=np.array([0]), bias_mantissa=np.array([bias]),
    )  # fmt: skip
    network = edited(network, "p0", delay=delay)
    # 4 steps, and a guard step when there is a delay.
    worst = (32_767 * 64 + bias) * (4 + delay)
    assert worst_potential(network, "l0") == min(worst, 2**23 - 1)
    assert (worst <= 8_388_544) == fits == (not map_network(network, LOIHI1).violations)


def test_limits_nobody_published_are_named_unchecked() -> None:
    mapping = map_network(chain(dense(2, 2)), with_core(LOIHI2, input_axons=None))
    assert mapping.unchecked == ("input axons", "output axons")
    assert "input_axons" not in mapping.limits


def test_a_cycle_without_delay_is_refused() -> None:
    network = chain(dense(2, 2))
    loop = replace(network.projections[0], name="loop", source="l0")
    with pytest.raises(UnsupportedError):
        map_network(replace(network, projections=(*network.projections, loop)), LOIHI2)


def test_without_kernel_sharing_loihi2_stores_every_synapse() -> None:
    kernel = Convolution(np.full((2, 1, 2, 2), 2), (1, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    unshared = Ability(source="a test", quality="assumed", value=False)
    memory = replace(LOIHI2.synapse.memory, shared_convolution=unshared)
    target = replace(LOIHI2, synapse=replace(LOIHI2.synapse, memory=memory))
    (use,) = map_network(chain(kernel), target).uses
    # 2, 4 or 8 entries of 2 + 12 bits behind 8: 4 corners, 4 edges, 1 centre.
    assert (use.input_axons, use.synapse_words) == (9, 4 * 1 + 4 * 1 + 1 * 2)


def test_the_summary_is_a_table() -> None:
    mapping = map_network(chain(dense(784, 128), dense(128, 10)), LOIHI2)
    assert mapping.summary().splitlines() == [
        "loihi2: 4 of 128 cores; fullest is 78.4% of a core's synapse words (l0)",
        "per core at most:",
        "population  neurons  cores  axons in  synapse words  fullest",
        "l0              128      3       784         12,544  78.4% synapse words",
        "l1               10      1       128            512  3.2% synapse words",
        "messages between cores per sample, if every neuron spikes once: 128",
        "not checked, no limit published: output axons",
    ]


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
@pytest.mark.parametrize("zeros", [0.0, 0.45, 0.9])
def test_rows_list_their_synapses_where_that_takes_less(target: Target, zeros: float) -> None:
    """One in ten is less on both chips; of a few zeros among many weights, dense rows are kept."""
    operator = dense(40, 64, seed=1, zeros=zeros)
    network = chain(operator)
    (projection,) = network.projections
    mapping = map_network(network, target)
    (found,) = mapping.synapses
    memory, bits = target.synapse.memory, weight_bits(projection, target, False)
    counts = [int(np.count_nonzero(column)) for column in operator.weights.T]
    whole = sum(row_words_of(memory, 64, bits + memory.dense_entry_bits.value) for n in counts if n)
    listed = sum(row_words_of(memory, n, bits + memory.sparse_entry_bits.value) for n in counts)
    assert (found.dense_words, found.sparse_words) == (whole, listed)
    assert found.rows == ("sparse" if zeros == 0.9 else "dense")
    assert found.words == (listed if zeros == 0.9 else whole)
    assert sum(use.synapse_words for use in mapping.uses) == found.words
    said = f"rows list their synapses, {listed:,} words where dense rows take {whole:,}"
    assert (said in mapping.summary()) == (zeros == 0.9)
    # What learns keeps a place for every synapse.
    learning = replace(projection, learning_bits=0)
    (kept,) = map_network(replace(network, projections=(learning,)), target).synapses
    assert kept.rows == "dense"


def test_a_mapping_written_without_its_synapses_still_reads() -> None:
    mapping = map_network(chain(dense(2, 2)), LOIHI1)
    table = mapping.to_dict()
    del table["synapses"]
    assert CoreMapping.from_dict(table) == replace(mapping, synapses=())
