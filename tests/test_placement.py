"""Placement and estimates: messages counted one by one, exchanges that pay, costs by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.ir.schedule import depths, pipeline_delay
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.mapping.estimate import MAC_PJ, estimate
from neurodeploy.mapping.placement import (
    CROSSING,
    STRATEGIES,
    by_traffic,
    coordinates,
    core_messages,
    flows,
    traffic,
)
from neurodeploy.target import Limit, Target, load_target
from support.naive_rows import is_dense

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def figure(value: int) -> Limit:
    return Limit(source="a test", quality="assumed", value=value)


def small(chips: int = 4, cores: int = 8, neurons: int = 6) -> Target:
    """Chips of 2 x 2 tiles with two cores each, and few neurons a core."""
    chip = replace(
        LOIHI2.chip,
        chips=figure(chips),
        cores=figure(cores),
        tile_cores=figure(2),
        tile_columns=figure(2),
    )
    return replace(LOIHI2, chip=chip, core=replace(LOIHI2.core, neurons=figure(neurons)))


def network(*operators: Operator, steps: int = 4, loop: bool = False) -> QuantizedNetwork:
    """Populations l0, l1, ... behind an input; with ``loop`` the last one also feeds itself."""
    neuron = QuantizedNeuron(
        "LIF", *(np.array([n]) for n in (4096, 2048, 0, 0, 100)), reset="zero", comparison=">"
    )
    populations = [QuantizedPopulation("input", operators[0].input_shape, None, 1.0)]
    projections: list[QuantizedProjection] = []
    for index, operator in enumerate(operators):
        source = populations[-1].name
        populations.append(QuantizedPopulation(f"l{index}", operator.output_shape, neuron, 1.0))
        projections.append(
            QuantizedProjection(
                f"p{index}", source, f"l{index}", operator, WeightFormat(8, "mixed"), 0, 1
            )
        )
    last = populations[-1]
    if loop:
        size = math.prod(last.shape)
        ring = Dense(2 * np.roll(np.eye(size, dtype=np.int64), 1, 0), last.shape, last.shape)
        projections.append(
            replace(projections[-1], name="loop", source=last.name, operator=ring, delay=1)
        )
    contract = Contract(Semantics(1e-4, "zero", ">"), InputCode("rate"), steps, "spike_count")
    return QuantizedNetwork("net", tuple(populations), tuple(projections), last.name, contract)


def random_network(seed: int) -> QuantizedNetwork:
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Any:
        values = 2 * rng.integers(-60, 60, shape)
        values[rng.random(shape) < 0.4] = 0
        return values

    conv = Convolution(weights(3, 2, 3, 3), (2, 6, 6), (1, 1), ((1, 1),) * 2, (1, 1))
    dense = Dense(weights(20, 108), (3, 6, 6), (20,))
    return network(conv, dense, Dense(weights(9, 20), (20,), (9,)), loop=True)


def random_activity(net: QuantizedNetwork, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {p.name: rng.integers(0, 9, p.shape).astype(np.float64) for p in net.populations}


def counted(
    net: QuantizedNetwork, target: Target, mapping: CoreMapping, activity: dict[str, np.ndarray]
) -> dict[str, float]:
    """Messages one by one, from the matrices: for each neuron the set of cores it reaches."""
    core_of: dict[tuple[str, int], tuple[int, int]] = {}
    for p in mapping.placements:
        for index in p.indices(net.population(p.population).shape):
            core_of[p.population, int(index)] = p.chip, p.core
    reached: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for projection in net.projections:
        matrix = projection.operator.matrix().tocoo()
        for row, column in zip(matrix.row, matrix.col, strict=True):
            cores = reached.setdefault((projection.source, int(column)), set())
            cores.add(core_of[projection.target, int(row)])
    result: dict[str, float] = dict.fromkeys(
        ("messages", "between_cores", "between_chips", "in_tile", "rows", "columns"), 0.0
    )
    for (name, index), cores in reached.items():
        if (name, index) not in core_of:
            continue  # an input
        spikes = float(activity[name].ravel()[index])
        here = core_of[name, index]
        for there in cores:
            result["messages"] += spikes
            result["between_cores"] += spikes * (there != here)
            result["between_chips"] += spikes * (there[0] != here[0])
            if there[0] == here[0]:
                tiles = [core // target.chip.tile_cores.value for _, core in (here, there)]
                (y0, x0), (y1, x1) = (divmod(t, target.chip.tile_columns.value) for t in tiles)
                result["rows"] += spikes * abs(x1 - x0)
                result["columns"] += spikes * abs(y1 - y0)
                result["in_tile"] += spikes * (tiles[0] == tiles[1])
    return result


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_traffic_agrees_with_a_count_of_every_message(strategy: str, seed: int) -> None:
    net, target = random_network(seed), small()
    activity = random_activity(net, seed)
    mapping = map_network(net, target, activity, strategy)
    found = mapping.traffic
    assert found is not None and found.measured and mapping.chips > 1
    expected = counted(net, target, mapping, activity)
    assert expected["between_chips"] > 0 and expected["rows"] > 0
    for name, field in (
        ("messages", "messages"),
        ("between_cores", "between_cores"),
        ("between_chips", "between_chips"),
        ("in_tile", "in_tile"),
        ("rows", "hops_along_rows"),
        ("columns", "hops_along_columns"),
    ):
        assert getattr(found, field) == pytest.approx(expected[name]), name


@pytest.mark.parametrize("seed", range(3))
def test_flows_are_the_traffic_of_each_pair_of_populations(seed: int) -> None:
    """Counted again with all other neurons silent."""
    net, target = random_network(seed), small()
    activity = random_activity(net, seed)
    mapping = map_network(net, target, activity, "round-robin")
    found = flows(core_messages(net, target, mapping, activity), mapping, target.chip)
    pairs = {(p.source, p.target) for p in net.projections if p.source != "input"}
    assert {(flow.source, flow.target) for flow in found} == pairs
    for flow in found:
        alone = replace(
            net,
            projections=tuple(
                p for p in net.projections if (p.source, p.target) == (flow.source, flow.target)
            ),
        )
        expected = counted(alone, target, mapping, activity)
        assert flow.messages == pytest.approx(expected["messages"])
        assert flow.between_chips == pytest.approx(expected["between_chips"])
        within = expected["messages"] - expected["between_chips"]
        hops = (expected["rows"] + expected["columns"]) / within if within else None
        assert flow.hops == (None if hops is None else pytest.approx(hops))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_each_part_a_core_of_its_own(strategy: str) -> None:
    for chips, cores, parts in itertools.product((1, 3), (6, 8), (1, 5, 8, 17)):
        sent = sparse.random(parts, parts, 0.5, random_state=0, format="csr")  # pyright: ignore[reportCallIssue]
        chip = small(chips=chips, cores=cores).chip
        positions = STRATEGIES[strategy](sent, chip)
        assert len(set(positions.tolist())) == parts
        # As few chips as there must be.
        assert positions.min() >= 0 and positions.max() < -(-parts // cores) * cores


def cost(sent: sparse.csr_matrix, positions: np.ndarray, target: Target) -> float:
    at = coordinates(positions, target.chip)
    apart = np.abs(at[:, None] - at[None])
    hops = np.where(apart[:, :, 0] > 0, CROSSING, apart[:, :, 1:].sum(axis=2))
    return float((sent.toarray() * hops).sum())


@pytest.mark.parametrize("seed", range(5))
def test_no_exchange_of_two_cores_would_help(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sent = sparse.csr_matrix(rng.integers(0, 50, (13, 13)) * (rng.random((13, 13)) < 0.3))
    target = small(chips=2)
    positions = by_traffic(sent, target.chip)
    best = cost(sent, positions, target)
    for strategy in ("first-fit", "round-robin"):
        assert best <= cost(sent, STRATEGIES[strategy](sent, target.chip), target)
    free = set(range(16)) - set(positions.tolist())
    for a, b in itertools.combinations(range(13), 2):
        swapped = positions.copy()
        swapped[[a, b]] = swapped[[b, a]]
        assert cost(sent, swapped, target) >= best - 1e-6
    for a, core in itertools.product(range(13), free):
        moved = positions.copy()
        moved[a] = core
        assert cost(sent, moved, target) >= best - 1e-6


def test_measured_spikes_change_where_parts_go() -> None:
    """Two groups that talk inside: those whose neurons spike come to lie on one chip."""
    net, target = random_network(1), small()
    everyone = map_network(net, target)
    silent = {name: 0 * spikes for name, spikes in random_activity(net, 0).items()}
    silent["l1"][:3] = 1000
    for_spikes = map_network(net, target, silent)
    assert everyone.traffic and not everyone.traffic.measured
    assert for_spikes.traffic and for_spikes.traffic.between_chips == 0
    assert [p.ranges for p in for_spikes.placements] == [p.ranges for p in everyone.placements]
    assert map_network(net, target, silent) == for_spikes


def test_a_mapping_with_traffic_survives_json() -> None:
    mapping = map_network(random_network(0), small())
    assert CoreMapping.from_dict(mapping.to_dict()) == mapping


# Estimates.


def test_costs_of_a_small_network_by_hand() -> None:
    """3 inputs to 2 to 1 neurons on two cores of one tile, T = 4."""
    first = Dense(np.array([[2, 4, 0], [0, 2, 0]]), (3,), (2,))
    net = network(first, Dense(np.array([[2, -2]]), (2,), (1,)))
    mapping = map_network(net, LOIHI1)
    activity = {"input": np.array([1.0, 2.0, 5.0]), "l0": np.array([3.0, 1.0]), "l1": np.ones(1)}
    found = estimate(net, LOIHI1, mapping, activity)
    # Rows of inputs 0 and 1 have two entries each, zeros among them; input 2 has none.
    assert found.synaptic_ops == (1 + 2) * 2 + (3 + 1) * 1
    assert (found.spikes, found.input_spikes) == (5, 8)
    assert (found.steps, found.latency_steps, found.neuron_updates) == (4, 4 + 2, 3 * 4)
    assert found.traffic.between_cores == found.traffic.in_tile == 4
    assert found.macs == 4 + 2
    assert found.ann_nj == pytest.approx(6 * MAC_PJ / 1000)
    assert found.energy and found.step_ns and found.sample_us and found.latency_us
    assert found.energy.synapses == pytest.approx(10 * 23.6 / 1000)
    assert found.energy.spikes == pytest.approx(4 * 1.7 / 1000)
    low, high = (12 * 52 + 10 * 23.6 + 4 * 1.7) / 1000, (12 * 81 + 10 * 23.6 + 4 * 1.7) / 1000
    assert found.energy.total.low == pytest.approx(low)
    assert found.energy.total.high == pytest.approx(high)
    # The first core reads 6 entries in 4 steps and has 2 neurons.
    low, high = 1.5 * 3.5 + 2 * 5.3 + 113, 1.5 * 3.5 + 2 * 8.4 + 465
    assert (found.step_ns.low, found.step_ns.high) == pytest.approx((low, high))
    assert found.sample_us.low == pytest.approx(4 * low / 1000)
    assert found.latency_us.high == pytest.approx(6 * high / 1000)
    assert found.sources == (
        "energy: Davies et al. 2018, table 2 (0.75 V, pre-silicon simulation) (documented)",
        "time: Davies et al. 2018, table 2 (0.75 V, pre-silicon simulation) (documented)",
        "ANN: 4.6 pJ per 32-bit multiply-accumulate, 45 nm CMOS (Horowitz, ISSCC 2014)",
    )


@pytest.mark.parametrize("target", [LOIHI1, small(neurons=7)], ids=["loihi1", "small"])
def test_operations_agree_with_a_count_of_every_synapse(target: Target) -> None:
    net = random_network(4)
    activity = random_activity(net, 4)
    mapping = map_network(net, target)
    found = estimate(net, target, mapping, activity)
    ops = macs = 0.0
    for projection in net.projections:
        matrix = abs(projection.operator.matrix())
        spikes = activity[projection.source].ravel()
        if is_dense(projection, target, pipeline_delay(depths(net), projection) > 0):
            # A row lies on every core that needs one of its weights, zeros and all.
            for part in mapping.placements:
                if part.population == projection.target:
                    box = part.indices(net.population(part.population).shape)
                    used = matrix.toarray()[box].any(axis=0)
                    ops += float(spikes[used].sum()) * len(box)
                    macs += used.sum() * len(box)
        else:
            ops += ((matrix != 0) @ spikes).sum()
            macs += (matrix != 0).sum()
    assert (found.synaptic_ops, found.macs) == (ops, macs)
    assert found.steps == net.contract.steps + 1  # a guard step, for the loop


def test_a_target_without_figures_has_no_energy_and_no_time() -> None:
    net = random_network(0)
    target = replace(LOIHI2, energy=None, duration=None)
    found = estimate(net, target, map_network(net, target), random_activity(net, 0))
    assert found.energy is found.step_ns is found.sample_us is found.latency_us is None
    assert found.synaptic_ops > 0
    assert "energy_nj" not in found.to_dict()


def test_traffic_of_nothing_is_zero() -> None:
    found = traffic(sparse.csr_matrix((2, 2)), np.array([0, 9]), LOIHI2.chip, True)
    assert (found.messages, found.between_cores, found.hops_along_rows) == (0, 0, 0)
