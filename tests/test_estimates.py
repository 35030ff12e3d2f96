"""Estimates against chips: readings recomputed, errors said, limits of a step and ANNs by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.bench import read_networks
from neurodeploy.bench.estimates import Estimates, bench_estimates, estimates_text
from neurodeploy.bench.read_networks import READ_NETWORKS, braille, sequential_mnist
from neurodeploy.errors import InputError, MissingDependencyError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.mapping import map_network
from neurodeploy.mapping.ann import ann_costs
from neurodeploy.mapping.estimate import estimate
from neurodeploy.mapping.ranges import Range
from neurodeploy.mapping.readings import Check, checks, checks_from, error_text, factor
from neurodeploy.mapping.step import CoreEvents, step_limit, step_time
from neurodeploy.reporting.cost_text import estimate_text, input_events
from neurodeploy.reporting.report.costs import costs
from neurodeploy.reporting.text import Table, early_exit_text
from neurodeploy.simulation.early_exit import EarlyExit
from neurodeploy.target import Duration, Quantity, Target, load_target
from support.command import run_cli

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def lava_dl() -> Path:
    """The folder of networks that lava-dl tests itself with."""
    try:
        return read_networks.tests_of_lava_dl()
    except MissingDependencyError:
        pytest.skip("lava-dl's tests are not installed")


@cache
def found() -> Estimates:
    return bench_estimates()


# --- against the chip ---


def test_pilotnet_is_within_a_factor_of_one_and_a_half() -> None:
    lava_dl()
    rows = {row.quantity: row for row in found().rows if row.network == "PilotNet LIF"}
    for quantity in ("dynamic energy (uJ)", "time of a step (us)"):
        row = rows[quantity]
        assert 1 / 1.5 < row.ratio < 1.5
        assert row.ratio == pytest.approx(row.estimate / row.reading)
        assert row.low <= row.estimate <= row.high
    # What was fitted sets time alone: energy is predicted.
    assert rows["dynamic energy (uJ)"].fitted == ()
    assert rows["time of a step (us)"].fitted == ("time of synaptic op",)


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
def test_targets_carry_what_bench_estimates_finds(target: Target) -> None:
    """What every estimate is printed with cannot go stale."""
    lava_dl()
    rows = {(r.network, r.quantity): r for r in found().rows if r.chip == target.name}
    assert target.readings
    for reading in target.readings:
        energy = rows[reading.network, "dynamic energy (uJ)"]
        time = rows[reading.network, "time of a step (us)"]
        assert reading.estimated_uj == pytest.approx((energy.low, energy.high), rel=1e-3)
        assert reading.estimated_step_us == pytest.approx((time.low, time.high), rel=1e-3)
        assert (energy.reading, time.reading) == (reading.dynamic_uj, reading.step_us)
        assert energy.known == reading.known and bool(energy.assumed) == (reading.known == "sizes")
    assert set(READ_NETWORKS) >= {reading.network for reading in target.readings}


def test_synaptic_operations_of_pilotnet_from_lava_dls_own_spikes() -> None:
    """Spikes that Lava wrote down, times connections counted in numpy."""
    folder = lava_dl() / "pilotnet_lif"
    net = nd.import_net(folder / "network.net", biases=True, steps=24)
    image = np.load(folder / "image.npy").transpose(2, 1, 0)[None]
    trace = nd.simulate(net, image)
    activity = {
        name: np.count_nonzero(record.s, axis=(0, 1)).astype(float)
        for name, record in trace.populations.items()
    }
    ours = estimate(net, LOIHI2, map_network(net, LOIHI2), activity).synaptic_ops
    ops = 0.0
    spikes = ["input", "conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2"]
    with h5py.File(folder / "network.net") as file:
        tables: Any = file["layer"]
        layers = [tables[str(number)] for number in range(1, len(tables))]
        weighted = [layer for layer in layers if "weight" in layer]
        for layer, name in zip(weighted, spikes, strict=True):
            weights = np.asarray(layer["weight"])
            sent = np.load(folder / f"{name}.npy").sum(axis=-1)
            if weights.ndim < 4:
                # A row on a core has an entry for each of its neurons, zeros among them.
                ops += sent.sum() * layer["shape"][0]
                continue
            # Of the spikes axes are (x, y, channel), of weights (out, channel, y, x).
            sent = sent.transpose(2, 1, 0)
            reads, out = np.zeros(sent.shape), layer["shape"][1:]
            for kernel in np.ndindex(*weights.shape[2:]):
                at = [
                    np.arange(n) * stride + k - before
                    for n, k, stride, before in zip(
                        out, kernel, layer["stride"], layer["padding"], strict=True
                    )
                ]
                y, x = (a[(a >= 0) & (a < n)] for a, n in zip(at, sent.shape[1:], strict=True))
                connected = np.count_nonzero(weights[(..., *kernel)], axis=0)
                reads[:, y[:, None], x] += connected[:, None, None]
            ops += float((sent * reads).sum())
    # Its neurons were reset between layers as the chip's are, ours run through: a few percent.
    assert ours == pytest.approx(ops, rel=0.05)


def test_n_tidigits_spikes_as_lava_dl_wrote_down() -> None:
    folder = lava_dl() / "ntidigits"
    made = read_networks.n_tidigits(LOIHI1)
    (activity,) = made.activity
    expected = np.load(folder / "output.npy").sum(axis=1)
    np.testing.assert_array_equal(activity[made.network.output], expected)


def test_networks_of_published_sizes_are_those() -> None:
    made = braille(LOIHI1)
    mapping = map_network(made.network, made.target)
    assert max(use.neurons for use in mapping.uses) == 10
    assert len(mapping.uses) == 45 + 3
    low, high = made.activity
    assert low["recurrent"].sum() == pytest.approx(0.01 * 450 * 270)
    assert high["input"].sum() == pytest.approx(0.1 * 48 * 270)
    lsnn = sequential_mnist(LOIHI1)
    # 140 neurons, 100 of two compartments, 10 outputs.
    assert sum(p.shape[0] for p in lsnn.network.populations if p.neuron) == 140 + 2 * 100 + 10
    assert lsnn.activity[1]["recurrent"].sum() == pytest.approx(0.1 * 240 * 840)
    shares = [
        p.operator.weights.size / possible
        for p, possible in zip(
            lsnn.network.projections, (80 * 240, 240 * 240, 240 * 10), strict=True
        )
    ]
    assert shares == pytest.approx([0.222, 0.183, 0.352], abs=1e-3)


def test_what_is_not_at_hand_is_skipped_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    estimates = bench_estimates()
    assert [(s.network, s.chip) for s in estimates.skipped] == [
        ("N-TIDIGITS", "loihi1"),
        ("PilotNet LIF", "loihi2"),
    ]
    assert {row.network for row in estimates.rows} == {"Braille RSNN", "sequential MNIST LSNN"}
    text = estimates_text(estimates)
    assert "skipped: PilotNet LIF on loihi2: the networks that lava-dl tests itself with" in text


def test_a_reading_that_nobody_can_make_again_is_skipped(tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    target.write_text(
        'extends = "loihi1"\ndescription = "mine"\n[[readings]]\nnetwork = "Secret"\nsteps = 4\n'
        'step_us = 2.0\ndynamic_uj = 1.0\nparts = "cores"\nknown = "sizes"\nsource = "a test"\n'
    )
    estimates = bench_estimates([target])
    assert estimates.rows == ()
    assert "Secret on mine: " in estimates_text(estimates)


def test_the_command_prints_rows_and_what_was_fitted(tmp_path: Path) -> None:
    text = run_cli("bench", "estimates", "--target", "loihi2", folder=tmp_path).stdout
    if "skipped" not in text:
        assert "fitted on loihi2: time of synaptic op, to PilotNet LIF" in text
        assert re.search(r"PilotNet LIF +loihi2 +dynamic energy \(uJ\).* predicted", text)
    refused = run_cli("bench", "estimates", "--target", "loihi3", folder=tmp_path)
    assert refused.exit_code == 2 and "is not built in" in refused.stderr


# --- what is said of the error ---


def test_errors_are_worst_ends_and_rounded_up() -> None:
    assert Check("a", "energy", 0.5, 1.2, "network").off == 2
    assert Check("a", "energy", 0.9, 1.31, "network").off == 1.31
    # Of sizes alone, how far outside the bracket the reading lies.
    assert Check("a", "energy", 0.2, 3, "sizes").off == 1
    assert Check("a", "energy", 0.2, 0.4, "sizes").off == 2.5
    assert [factor(value) for value in (1.0, 1.01, 1.1, 2.04)] == ["1.0x", "1.1x", "1.1x", "2.1x"]
    text = error_text(
        (
            Check("A", "energy", 0.5, 1.2, "network"),
            Check("B", "energy", 0.2, 3, "sizes"),
            Check("C", "energy", 0.2, 0.4, "sizes"),
            Check("D", "time", 1, 1, "network", ("time of synaptic op",)),
        ),
        "energy",
    )
    assert text == (
        "within 2.0x on A; around the reading on B (only its sizes are known); 2.5x off at "
        "best on C (only its sizes are known)"
    )
    fitted = error_text((Check("D", "time", 1, 1, "network", ("x",)),), "time")
    assert fitted == "within 1.0x on D, to which x was fitted"
    assert error_text((), "time") == "never compared with this chip"


def test_checks_survive_json() -> None:
    for target in (LOIHI1, LOIHI2):
        here = checks(target)
        assert {check.quantity for check in here} == {"energy", "time"}
        assert checks_from([check.to_dict() for check in here]) == here


def test_systems_of_chips_have_the_readings_of_their_chip() -> None:
    assert load_target("kapoho-point").readings == LOIHI2.readings
    assert checks(load_target("hala-point")) == checks(LOIHI2)


def test_other_figures_were_never_held_against_the_chip(tmp_path: Path) -> None:
    """What was estimated with a base's figures says nothing of another target's."""
    path = tmp_path / "mine.toml"
    text = 'extends = "loihi2"\ndescription = "mine"\n'
    path.write_text(text + '[chip]\nchips = { value = 2, quality = "assumed", source = "a test" }')
    assert checks(load_target(path)) == checks(LOIHI2)
    faster = '[duration]\nsynaptic_op = { value = 0.7, quality = "assumed", source = "a test" }\n'
    path.write_text(text + faster)
    mine = load_target(path)
    assert [r.step_us for r in mine.readings] == [r.step_us for r in LOIHI2.readings]
    assert checks(mine) == ()
    again = tmp_path / "again.toml"
    again.write_text('extends = "mine.toml"\ndescription = "again"\nreadings = "none"\n')
    with pytest.raises(InputError, match="readings: expected a list"):
        load_target(again)


READING = """
[[readings]]
network = "Net"
steps = 4
step_us = 2.0
dynamic_uj = 1.0
parts = "cores"
known = "sizes"
source = "a test"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps = 4", "steps = 0", "at least 1 step"),
        ("step_us = 2.0", "step_us = -2.0", "above 0"),
        ('source = "a test"', 'source = " "', "names its network and its source"),
        ("steps = 4", "steps = 4\nestimated_uj = [2.0, 1.0]", "a low and a high number"),
        ("steps = 4", "steps = 4\nestimated_uj = [2.0]", "a low and a high number"),
        ("steps = 4", "steps = 4\nstatic_mw = 0", "above 0"),
        ('known = "sizes"', 'known = "guessed"', "not one of"),
        ("[[readings]]", READING + "[[readings]]", "each network once"),
    ],
)
def test_readings_that_cannot_be(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    text = 'extends = "loihi1"\ndescription = "mine"\n' + READING
    path.write_text(text)
    assert load_target(path).readings[0].network == "Net"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=re.escape(said)):
        load_target(path)


def test_a_figure_is_fitted_to_a_reading_that_there_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "loihi2"\ndescription = "mine"\n[duration]\nsynaptic_op = { value = 1.0, '
        'quality = "fitted", fitted_to = "Nobody", source = "a test" }\n'
    )
    with pytest.raises(InputError, match="synaptic_op is fitted to 'Nobody', which is no reading"):
        load_target(path)
    path.write_text(path.read_text().replace('"fitted",', '"assumed",'))
    with pytest.raises(InputError, match="fitted_to is for quality fitted, found assumed"):
        load_target(path)


# --- what a step waits for ---


def ns(value: float) -> Quantity:
    return Quantity(source="a test", quality="assumed", value=value)


FIGURES = Duration(
    synaptic_op=ns(2),
    update_active=ns(10),
    update_inactive=ns(5),
    barrier_one_tile=ns(7),
    barrier_all_tiles=ns(40),
    message=ns(3),
)


def mapped(cores: int) -> Any:
    """A mapping of 4 neurons in each of so many cores."""
    neuron = QuantizedNeuron(
        "LIF", *(np.array([n]) for n in (4096, 2048, 0, 0, 100)), reset="zero", comparison=">"
    )
    size = 4 * cores
    populations = (
        QuantizedPopulation("input", (3,), None, 1.0),
        QuantizedPopulation("out", (size,), neuron, 1.0),
    )
    weights = WeightFormat(8, "mixed")
    dense = Dense(2 * np.ones((size, 3), np.int64), (3,), (size,))
    projection = QuantizedProjection("p", "input", "out", dense, weights, 0, 200)
    contract = Contract(Semantics(1e-3, "zero", ">"), InputCode("direct", 200), 5, "spike_count")
    net = QuantizedNetwork("net", populations, (projection,), "out", contract)
    limit = replace(LOIHI2.core.neurons, value=4)
    target = replace(LOIHI2, core=replace(LOIHI2.core, neurons=limit))
    return net, target, map_network(net, target)


ONCE = {"input": np.ones(3), "out": np.ones(8)}


@pytest.mark.parametrize(
    ("ops", "neurons", "messages", "what", "time"),
    [
        ([10, 100], [4, 4], [1, 1], "synapses", (100 * 2 + 4 * 5 + 7, 100 * 2 + 4 * 10 + 40)),
        ([1, 2], [4, 9], [1, 1], "neurons", (2 * 2 + 9 * 5 + 7, 2 * 2 + 9 * 10 + 40)),
        ([1, 2], [4, 4], [1, 90], "messages", (90 * 3 + 7, 90 * 3 + 40)),
        ([1, 2], [1, 1], [1, 1], "barrier", (2 * 2 + 5 + 7, 2 * 2 + 10 + 40)),
    ],
)
def test_what_a_step_waits_for(
    ops: list[int], neurons: list[int], messages: list[int], what: str, time: tuple[int, int]
) -> None:
    """Two cores; the second is slower and is the one that is named."""
    events = CoreEvents({"input": np.array(ops)}, np.array(neurons), np.array(messages))
    assert step_time(events, FIGURES) == Range(*time)
    _, _, mapping = mapped(2)
    limit = step_limit(events, FIGURES, mapping)
    assert limit is not None
    assert (limit.what, limit.population, limit.source) == (what, "out", "input")
    second = mapping.placements[1]
    assert (limit.chip, limit.core) == (second.chip, second.core)
    assert limit.synapses_ns == 2 * ops[1] and limit.neurons_ns == 10 * neurons[1]
    assert "'out'" in limit.advice or what == "barrier"


def test_splitting_the_slowest_population_makes_steps_shorter() -> None:
    """What is advised helps, by the same estimate."""
    net, target, mapping = mapped(1)
    wide = replace(target.core.neurons, value=1)
    spread = replace(target, core=replace(target.core, neurons=wide))
    activity = {"input": np.full(3, 5.0), "out": np.zeros(4)}
    one = estimate(net, target, mapping, activity)
    four = estimate(net, spread, map_network(net, spread), activity)
    assert one.limit and four.limit and one.step_ns and four.step_ns
    assert one.limit.synapses_ns == pytest.approx(4 * four.limit.synapses_ns)
    assert four.step_ns.high < one.step_ns.high


# --- graded input ---


def test_a_graded_message_reads_its_row_once() -> None:
    """Whatever it carries: 3 values in 5 steps read a row of 8 entries each."""
    net, target, mapping = mapped(2)
    values = np.array([[0, 7, 200]])
    trace = nd.simulate(net, values)
    activity = {
        name: np.count_nonzero(record.s, axis=(0, 1)).astype(float)
        for name, record in trace.populations.items()
    }
    found = estimate(net, target, mapping, activity)
    assert found.input_spikes == 2 * 5
    assert found.synaptic_ops == 2 * 5 * 8
    assert "10 input events" in estimate_text(found)


def test_events_of_an_input_are_worded_alike_everywhere() -> None:
    run = {
        "estimate": {"input_spikes": 131.0},
        "spikes_per_sample": {"input": 131.0, "a": 5.0},
        "values_per_sample": {"input": 1248.0, "a": 5.0},
    }
    assert input_events(run) == "131.0 events of input, whose values sum to 1,248.0"
    same = {**run, "values_per_sample": {"input": 131.0, "a": 5.0}}
    assert input_events(same) == input_events({"estimate": run["estimate"]})
    assert input_events(same) == "131.0 events of input"


# --- the ANN beside it, and what is printed ---


def test_an_ann_on_every_kind_of_hardware() -> None:
    energies = {cost.name: cost.energy_nj for cost in ann_costs(1_000_000)}
    assert energies == pytest.approx(
        {
            "32-bit arithmetic": 4600,  # 3.7 + 0.9 pJ
            "8-bit arithmetic": 230,  # 0.2 + 0.03 pJ
            "Google Edge TPU": 1000,  # two operations, 2 TOPS per watt
            "NVIDIA A100": 1282.05,  # 400 W at 624 TOPS
        },
        rel=1e-5,
    )
    assert all(cost.source for cost in ann_costs(1))


def test_no_figure_is_printed_without_its_error() -> None:
    net, target, mapping = mapped(2)
    found = estimate(net, target, mapping, ONCE)
    assert found.ann_8bit_nj == pytest.approx(found.macs * 0.23 / 1000)
    lines = estimate_text(found).splitlines()
    for number, line in enumerate(lines):
        if "of dynamic energy" in line or "us per sample" in line:
            assert "against the chip: within" in lines[number + 1]
    assert "a step waits for" in estimate_text(found)
    unread = estimate(
        net,
        replace(target, readings=(), duration=FIGURES),
        mapping,
        ONCE,
    )
    assert estimate_text(unread).count("never compared with this chip") == 2
    assert unread.static_mw is unread.static_nj is None


def test_energy_of_an_early_exit_has_its_error_too() -> None:
    found = EarlyExit(
        margin=1.0,
        unit="spikes",
        decode="spike_count",
        accuracy=0.5,
        agreement=1.0,
        mean_steps=2.0,
        all_steps=4.0,
        steps=(2,),
        predicted=(1,),
        synaptic_ops=30.0,
        energy_nj={"low": 1.0, "high": 2.0},
    )
    operations, energy, error = early_exit_text(found, checks(LOIHI2)).splitlines()[1:]
    assert "30 synaptic operations per sample" in operations
    assert "at least 1.0 to 2.0 nJ" in energy
    assert error.strip() == "against the chip: within 1.1x on PilotNet LIF"


def test_power_at_rest_stands_beside_the_estimate() -> None:
    net, target, mapping = mapped(2)
    found = estimate(net, target, mapping, ONCE)
    assert found.static_mw == Range(232, 232) and found.sample_us and found.static_nj
    assert found.static_nj.low == pytest.approx(232 * found.sample_us.low)
    assert found.energy and "static power, measured as 232 mW" in estimate_text(found)
    # A network's share on Loihi 1 says nothing of others.
    assert estimate(net, LOIHI1, map_network(net, LOIHI1), ONCE).static_mw is None
    assert any(reading.static_mw for reading in LOIHI1.readings)


def as_dict(table: Table) -> dict[str, str]:
    return {row[0]: row[1] for row in table.rows}


def test_the_report_has_the_same_and_reads_older_results() -> None:
    net, target, mapping = mapped(2)
    found = estimate(net, target, mapping, ONCE)
    table = found.to_dict()
    rows = as_dict(costs({"estimate": table}))
    assert rows["error of estimated energies"] == "within 1.1x on PilotNet LIF"
    assert rows["error of estimated times"].endswith("was fitted")
    assert rows["a step waits for"].startswith(found.limit.what if found.limit else "")
    assert "8-bit arithmetic" in rows and "Google Edge TPU" in rows
    newer = ("checks", "limit", "ann", "ann_8bit_nj", "static_mw", "static_nj", "weight_bits")
    old = {key: value for key, value in table.items() if key not in newer}
    older = as_dict(costs({"estimate": old}))
    assert "multiply-accumulates, " in older["the same as an ANN"]
    assert older["energy"] == rows["energy"] and "error of estimated energies" not in older
