"""Networks built and exported by Norse fire the same here, at every step."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import import_nir, open_nir
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.stated import Stated
from support.framework_runs import (
    STEPS,
    assert_same_spikes,
    clear_of_threshold,
    here,
    imported,
    on_grid,
    over_time,
    spike_trains,
)
from support.narrow import node_of, there
from support.wording import refused

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed: make install")
    resets = pytest.importorskip("norse.torch.functional.reset")

DT = 2.0**-10
"""Seconds; a power of two, so that time constants of powers of two are exact."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nirtorch retires what Norse calls
        logging.disable()
        yield
        logging.disable(logging.NOTSET)


def box(steps: float, threshold: float = 1.0, **changes: Any) -> nn.Module:
    """LIFBoxCell with a time constant of so many steps."""
    inverse, at = torch.tensor(1 / (steps * DT)), torch.tensor(threshold)
    return norse.LIFBoxCell(norse.LIFBoxParameters(inverse, v_th=at, **changes), dt=DT)


def exported(network: nn.Module, *shape: int, dt: float = DT, batch: int = 1) -> nir.NIRGraph:
    return norse.to_nir(network, torch.zeros(batch, *shape), dt=dt)


def run(network: nn.Module, x: np.ndarray, *layers: str) -> dict[str, np.ndarray]:
    state = None

    def step(values: torch.Tensor) -> None:
        nonlocal state
        _, state = network(values, state)

    return over_time(step, x, {name: network.get_submodule(name) for name in layers})


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_dense_layers(reset: str, tmp_path: Path) -> None:
    how = {"reset_method": resets.reset_subtract} if reset == "subtract" else {}
    network = norse.SequentialState(
        on_grid(nn.Linear(6, 8), 0, step=1.0),
        box(4, 0.75, **how),
        on_grid(nn.Linear(8, 4, bias=False), 1, step=0.25),
        box(2, 1.0, **how),
    )
    options = {"reset": "subtract"} if how else {}
    found = imported(exported(network, 6), tmp_path, "norse", dt=DT, **options)
    x = spike_trains(6)
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))
    assert any("divided by dt" in note for note in found.notes)
    assert any("dropped as batch" in note for note in found.notes)


def test_every_layer_has_its_own_reset(tmp_path: Path) -> None:
    """IAFCell, which cannot subtract, beside a LIFBoxCell that does."""
    network = norse.SequentialState(
        on_grid(nn.Linear(6, 8), 0, step=1.0),
        box(4, 0.75, reset_method=resets.reset_subtract),
        on_grid(nn.Linear(8, 8, bias=False), 1, step=0.25),
        box(2, 1.0),
        on_grid(nn.Linear(8, 4, bias=False), 2, step=0.25),
        norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(1.5))),
    )
    graph = exported(network, 6)
    found = imported(graph, tmp_path, "norse", dt=DT, reset={"1": "subtract"})
    x = spike_trains(6)
    assert_same_spikes(here(found, x), run(network, x, "1", "3", "5"))
    assert any("'1': 'subtract', as stated" in note for note in found.notes)
    with refused(UnsupportedError, r"'5'.*IAFCell resets .*--reset NODE=subtract", by="export"):
        imported(graph, tmp_path, "norse", dt=DT, reset="subtract")


def test_any_weights_and_decays(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = norse.SequentialState(
        nn.Linear(6, 8), norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.tensor(0.05)))
    )
    found = imported(exported(network, 6, dt=1e-3), tmp_path, "norse")
    x = spike_trains(6, seed=3)
    trace = here(found, x)
    assert_same_spikes(trace, run(network, x, "1"))
    assert found.network.contract.semantics.dt == 1e-3
    fired = np.where(trace["1"].s, 1.0, np.abs(there(trace["1"].v) - 0.05))
    assert (fired > 1e-6).all()


def test_a_convolution(tmp_path: Path) -> None:
    network = norse.SequentialState(
        on_grid(nn.Conv2d(2, 3, 3, stride=2, padding=1), 2, step=0.5),
        box(2, 0.5),
        on_grid(nn.Conv2d(3, 4, 4), 3, largest=4),
        box(4, 1.0),
    )
    graph = exported(network, 2, 8, 8)
    found = imported(graph, tmp_path, "norse", dt=DT)
    assert isinstance(found.network.projections[0].operator, Convolution)
    x = spike_trains(2, 8, 8, seed=1, rate=0.2)
    assert_same_spikes(here(found, x), run(network, x, "1", "3"))


def test_synaptic_currents_and_a_readout(tmp_path: Path) -> None:
    cell = norse.LIFParameters(
        torch.tensor(1 / (2 * DT)), torch.tensor(1 / (4 * DT)), v_th=torch.tensor(0.5)
    )
    readout = norse.LIBoxCell(norse.LIBoxParameters(torch.tensor(1 / (8 * DT))), dt=DT)
    network = norse.SequentialState(
        on_grid(nn.Linear(6, 8, bias=False), 4),
        norse.LIFCell(cell, dt=DT),
        on_grid(nn.Linear(8, 3), 5),
        readout,
    )
    found = imported(exported(network, 6), tmp_path, "norse", dt=DT)
    x = spike_trains(6, seed=2)
    theirs = run(network, x, "1", "3")
    trace = here(found, x)
    assert_same_spikes(trace, {"1": theirs["1"]})
    np.testing.assert_allclose(there(trace["3"].v), theirs["3"], atol=1e-6)


def test_neurons_that_count(tmp_path: Path) -> None:
    network = norse.SequentialState(
        on_grid(nn.Linear(6, 8), 6), norse.IAFCell(norse.IAFParameters(torch.tensor(2.0)), dt=DT)
    )
    found = imported(exported(network, 6), tmp_path, "norse")
    x = spike_trains(6, seed=3)
    assert_same_spikes(here(found, x), run(network, x, "1"))


# --- v_leak and v_reset: a sample starts at the one, a spike leads to the other ---

LEAKS = [(0.25, -0.5), (-0.25, 0.0), (0.0, 0.5), (0.25, 0.25)]


def with_v_reset(graph: nir.NIRGraph, at: str, v_reset: float) -> nir.NIRGraph:
    """As the exporter writes it that followed 1.1.0's."""
    node: Any = graph.nodes[at]
    graph.nodes[at] = replace(node, v_reset=np.full(np.shape(node.v_threshold), v_reset))
    return graph


@pytest.mark.parametrize(("v_leak", "v_reset"), LEAKS)
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_where_v_starts_and_returns_to(
    v_leak: float, v_reset: float, reset: str, tmp_path: Path
) -> None:
    how = {"reset_method": resets.reset_subtract} if reset == "subtract" else {}
    changes = {"v_leak": torch.tensor(v_leak), "v_reset": torch.tensor(v_reset)}
    network = norse.SequentialState(
        on_grid(nn.Linear(6, 8), 0, step=1.0), box(4, 0.75, **changes, **how)
    )
    graph = with_v_reset(exported(network, 6), "1", v_reset)
    options = {"reset": "subtract"} if how else {}
    found = imported(graph, tmp_path, "norse", dt=DT, **options)
    x = spike_trains(6)
    trace = here(found, x)
    assert_same_spikes(trace, run(network, x, "1"))
    assert any("v counts from v_leak" in note for note in found.notes)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("v_leak", "v_reset"), LEAKS)
def test_where_v_starts_and_returns_to_with_a_current(
    v_leak: float, v_reset: float, bias: bool, tmp_path: Path
) -> None:
    cell = norse.LIFParameters(
        torch.tensor(1 / (2 * DT)),
        torch.tensor(1 / (4 * DT)),
        v_leak=torch.tensor(v_leak),
        v_th=torch.tensor(0.5),
        v_reset=torch.tensor(v_reset),
    )
    weights = on_grid(nn.Linear(6, 8, bias), 4)
    network = norse.SequentialState(weights, norse.LIFCell(cell, dt=DT))
    graph = with_v_reset(exported(network, 6), "1", v_reset)
    found = imported(graph, tmp_path, "norse", dt=DT)
    x = spike_trains(6, seed=2)
    assert_same_spikes(here(found, x), run(network, x, "1"))


def test_neurons_that_count_start_at_v_reset(tmp_path: Path) -> None:
    parameters = norse.IAFParameters(torch.tensor(2.0), torch.tensor(-0.5))
    network = norse.SequentialState(on_grid(nn.Linear(6, 8), 6), norse.IAFCell(parameters, dt=DT))
    graph = with_v_reset(exported(network, 6), "1", -0.5)
    x = spike_trains(6, seed=3)
    assert_same_spikes(here(imported(graph, tmp_path, "norse"), x), run(network, x, "1"))


def test_a_current_and_a_reset_beside_each_other(tmp_path: Path) -> None:
    """0.3 a step into i = .8 i + x, v += .1 (i - v), above 0.3 to -0.2: worked out by hand."""
    one = np.ones(1)
    node = nir.CubaLIF(
        tau_mem=0.01 * one,
        tau_syn=0.005 * one,
        r=one,
        v_leak=0 * one,
        v_threshold=0.3 * one,
        v_reset=-0.2 * one,
        w_in=one,
    )
    graph = nir.NIRGraph.from_list(nir.Linear(0.3 * one[None]), node)
    found = imported(graph, tmp_path, "norse")
    spikes = here(found, np.ones((1, 20, 1), np.uint8))[found.network.output].s
    assert np.flatnonzero(spikes[0, :, 0]).tolist() == [5, 9, 13, 17]


@pytest.mark.parametrize("v_leak", [0.0, 0.25])
def test_a_readout_with_a_current(v_leak: float, tmp_path: Path) -> None:
    """LICell, which the exporter after 1.1.0 writes as CubaLI."""
    parameters = norse.LIParameters(
        torch.tensor(1 / (2 * DT)), torch.tensor(1 / (4 * DT)), torch.tensor(v_leak)
    )
    weights = on_grid(nn.Linear(6, 3, bias=False), 5)
    network = norse.SequentialState(weights, norse.LICell(parameters, dt=DT))
    one = np.ones(())
    node = nir.CubaLI(
        tau_mem=4 * DT * one, tau_syn=2 * DT * one, r=one, v_leak=v_leak * one, w_in=one
    )
    weight = weights.get_parameter("weight").detach().numpy()
    graph = nir.NIRGraph(
        {
            "input_1": nir.Input({"input": np.array([6])}),
            "_0": nir.Linear(weight),
            "_1": node,
            "output": nir.Output({"output": np.array([3])}),
        },
        [("input_1", "_0"), ("_0", "_1"), ("_1", "output")],
        {},
        type_check=False,
    )
    found = imported(graph, tmp_path, "norse", dt=DT)
    x = spike_trains(6, seed=5)
    theirs = run(network, x, "1")["1"]
    np.testing.assert_allclose(there(here(found, x)["_1"].v) + v_leak, theirs, atol=1e-6)


def test_a_potential_that_counts_from_different_leaks_is_not_decoded(tmp_path: Path) -> None:
    leaks = np.array([0.0, 0.5])
    node = nir.LI(tau=np.full(2, 0.01), r=np.ones(2), v_leak=leaks)
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), node)
    write_nir(tmp_path / "a.nir", graph)
    with pytest.raises(UnsupportedError, match="v counts from v_leak here, which differs"):
        import_nir(tmp_path / "a.nir", framework="norse", steps=STEPS)


@pytest.mark.parametrize("cell", ["CubaLIF", "IF"])
def test_a_reset_that_a_cell_does_not_have_is_refused(cell: str, tmp_path: Path) -> None:
    one = np.ones(1)
    values = {"r": one, "v_threshold": one}
    if cell == "CubaLIF":
        values |= {"tau_mem": 0.01 * one, "tau_syn": 0.01 * one, "v_leak": 0 * one, "w_in": one}
    write_nir(tmp_path / "a.nir", nir.NIRGraph.from_list(getattr(nir, cell)(**values)))
    with pytest.raises(UnsupportedError, match="resets to v_reset always"):
        import_nir(tmp_path / "a.nir", framework="norse", steps=STEPS, reset="subtract")


# --- what its exporter gets wrong or leaves out ---


def test_it_writes_time_constants_times_dt() -> None:
    """dt/tau_inv for 1/tau_inv; Norse's own reader then steps by dt/tau = 100 and not 0.1."""
    network = norse.SequentialState(nn.Linear(4, 3), norse.LIFBoxCell())
    graph = exported(network, 4, dt=1e-3)
    np.testing.assert_allclose(np.asarray(node_of(graph, "1").tau), 1e-2 * 1e-3, rtol=1e-6)
    assert float(network[1].p.tau_mem_inv) == pytest.approx(1 / 1e-2)
    again = norse.from_nir(graph, dt=1e-3)
    assert float(again.get_submodule("1").p.tau_mem_inv) * 1e-3 == pytest.approx(100)


def test_time_constants_of_a_right_file_stay(tmp_path: Path) -> None:
    """With dt = 1 the exporter is right by chance, as the files of the NIR paper are."""
    network = norse.SequentialState(nn.Linear(4, 3), norse.LIFBoxCell())
    found = imported(exported(network, 4, dt=1.0), tmp_path, "norse")
    np.testing.assert_allclose(found.network.population("1").leaky.v_keep, 0.9)
    assert not any("divided by dt" in note for note in found.notes)


def test_it_keeps_the_batch_as_an_axis_of_the_input(tmp_path: Path) -> None:
    graph = exported(norse.SequentialState(nn.Linear(4, 3), box(4)), 4, batch=8)
    assert graph.nodes["input"].input_type["input"].tolist() == [8, 4]
    nir.write(tmp_path / "a.nir", graph, compression=None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(tmp_path / "a.nir")
    file = open_nir(tmp_path / "a.nir")
    assert file.shapes["input"] == (4,)
    assert file.notes == [
        "Input 'input' has shape (8, 4), but what it leads to takes (4,): the leading axis (8,) "
        "dropped as batch or time"
    ]
    assert next(iter(file.likely)) == "norse"


def test_it_drops_how_and_to_what_a_neuron_resets() -> None:
    def written(**changes: Any) -> Any:
        return exported(norse.SequentialState(nn.Linear(4, 3), box(4, **changes)), 4).nodes["1"]

    other = written(v_reset=torch.tensor(-0.5), reset_method=resets.reset_subtract)
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        assert np.asarray(getattr(written(), name)) == np.asarray(getattr(other, name))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.AvgPool2d(2), (1, 4, 4)),
        (nn.Flatten(), (1, 4, 4)),
        (norse.LIFRecurrentCell(3, 3), (3,)),
    ],
)
def test_layers_that_it_turns_into_nothing_are_named(
    layer: nn.Module, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Pooling, flattening and recurrence: there is no file of such a network."""
    network = norse.SequentialState(box(4), layer, box(4))
    graph = exported(network, *shape)
    assert graph.nodes["1"] is None
    with pytest.raises(InputError, match="'1' is None: the exporter could not translate"):
        write_nir(tmp_path / "a.nir", graph)
    how = Stated(dt=DT, reset="zero", comparison=">", integrator="euler", steps=4)
    contract = how.applied_to(None, "graph", True)
    with pytest.raises(UnsupportedError, match="'1' is nothing, which is none of NIR's"):
        to_network(graph, contract, "graph")


def test_nir_cannot_write_what_it_exports(tmp_path: Path) -> None:
    """Single numbers as arrays without axes, and convolutions without the shape they take."""
    for network, shape in (
        (norse.SequentialState(nn.Linear(4, 3), box(4)), (4,)),
        (norse.SequentialState(nn.Conv2d(1, 2, 3), box(4)), (1, 4, 4)),
    ):
        with pytest.raises(TypeError):
            nir.write(tmp_path / "a.nir", exported(network, *shape))


def test_clear_of_threshold_can_fail(tmp_path: Path) -> None:
    network = norse.SequentialState(on_grid(nn.Linear(6, 8), 0, step=1.0), box(4, 0.75))
    found = imported(exported(network, 6), tmp_path, "norse", dt=DT, reset="subtract")
    assert not clear_of_threshold(here(found, spike_trains(6))["1"], 0.75, 1e-9)
