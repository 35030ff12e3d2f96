"""What the recorded answers of Lava cover: a kind that is new has to be recorded, too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest

from neurodeploy.ir.contract import Comparison, Decode, Reset
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Operator, SparseMatrix
from neurodeploy.ir.quantized import QuantizedNeuron, QuantizedProjection
from neurodeploy.neurons.constant import CONSTANT
from neurodeploy.neurons.registry import MODELS
from neurodeploy.onchip.learner import Feedback, RuleName, UpdateTime
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.workflow.engines import LAVA_ENGINES
from support.golden import FOLDER, Golden, Learnt, Simulated, manifest, read
from support.golden_networks import corpus
from support.random_networks import NEURONS

ENTRIES = manifest()
LARGEST = 10_000_000
"""Bytes of all files."""

FEWEST = 60
"""Networks."""

AGAIN = "record it with tests/data/golden/record.py"


@cache
def everything() -> list[Golden]:
    return [read(name) for name in ENTRIES]


def simulated() -> list[Simulated]:
    return [found for found in everything() if isinstance(found, Simulated)]


def leaky() -> Iterator[QuantizedNeuron]:
    for found in simulated():
        neurons = (population.neuron for population in found.network.populations)
        yield from (neuron for neuron in neurons if isinstance(neuron, QuantizedNeuron))


def projections() -> Iterator[QuantizedProjection]:
    for found in simulated():
        yield from found.network.projections


def test_what_is_named_is_there_and_small() -> None:
    assert ENTRIES.keys() == corpus().keys(), AGAIN
    assert {path.stem for path in FOLDER.glob("*.npz")} == ENTRIES.keys()
    assert len(ENTRIES) >= FEWEST
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < LARGEST


def test_every_engine_of_lava_has_answered() -> None:
    engines = [set(entry["engines"]) for entry in ENTRIES.values()]
    assert set().union(*engines) == set(LAVA_ENGINES), AGAIN
    for engine in LAVA_ENGINES:
        assert sum(engine in found for found in engines) >= 10


def test_lavas_own_models_computed_the_answers() -> None:
    """Lava's synapses, neurons and learning; what Lava has none for is told apart by its name."""
    models = set().union(*(entry["models"] for entry in ENTRIES.values()))
    own = {name.rsplit(".", 1)[1] for name in models if name.startswith("lava.")}
    assert own >= {
        *("PyDenseModelBitAcc", "PyDelayDenseModelBitAcc"),
        *("PySparseModelBitAcc", "PyDelaySparseModelBitAcc"),
        *("PyLifResetModelBitAcc", "PyLearningDenseModelBitApproximate"),
        *("PySigmaModelFixed", "PyDeltaModelFixed", "PySigmaDeltaModelFixed"),
        "PyConvModelFixed",
    }, sorted(models)


def test_every_model_of_neurons_is_recorded_with_every_choice_that_it_has() -> None:
    found: dict[str, list[IntegerModel]] = {name: [] for name in MODELS}
    for golden in simulated():
        for population in golden.network.populations:
            if isinstance(population.neuron, IntegerModel):
                found[population.neuron.kind].append(population.neuron)
    for name, neurons in found.items():
        assert len(neurons) >= 3, f"neurons of kind {name}: {AGAIN}"
        tables = [neuron.table() for neuron in neurons]
        for key, value in tables[0].items():
            if isinstance(value, bool | str):
                chosen = {table[key] for table in tables}
                assert len(chosen) > 1, f"{name} with {key} other than {chosen}: {AGAIN}"


def test_every_kind_of_leaky_neurons_is_recorded() -> None:
    found = list(leaky())
    assert {neuron.kind for neuron in found} >= {*NEURONS, CONSTANT}
    choices = {(n.reset, n.comparison, n.refractory_period > 0) for n in found if n.spiking}
    rests = (False, True)
    assert choices == set(itertools.product(get_args(Reset), get_args(Comparison), rests))
    for name in ("u_decay", "v_decay", "bias_mantissa", "bias_exponent"):
        assert any(np.unique(getattr(neuron, name)).size > 1 for neuron in found), name
    thresholds = [neuron.threshold for neuron in found if neuron.threshold is not None]
    assert any(np.unique(threshold).size > 1 for threshold in thresholds)


def kinds_of_operators() -> set[type[Operator]]:
    def below(kind: type[Any]) -> set[type[Any]]:
        return {kind}.union(*(below(other) for other in kind.__subclasses__()))

    return {kind for kind in below(Operator) if not kind.__abstractmethods__}


def test_every_operator_is_recorded() -> None:
    found = [projection.operator for projection in projections()]
    assert {type(operator) for operator in found} == kinds_of_operators(), AGAIN
    convolutions = [operator for operator in found if isinstance(operator, Convolution)]
    assert {len(operator.stride) for operator in convolutions} == {1, 2}
    assert {operator.groups > 1 for operator in convolutions} == {False, True}
    for name in ("stride", "dilation"):
        assert any(max(getattr(operator, name)) > 1 for operator in convolutions), name
    assert any(before != after for operator in convolutions for before, after in operator.padding)
    assert SparseMatrix in map(type, found)


def test_every_form_of_weights_and_delays_is_recorded() -> None:
    found = list(projections())
    assert {projection.weight_format.bits for projection in found} == set(range(1, 9))
    signs = {projection.weight_format.sign for projection in found}
    assert signs == {"mixed", "excitatory", "inhibitory"}
    assert {np.sign(projection.exponent) for projection in found} == {-1, 0, 1}
    delays = {projection.delay for projection in found}
    assert delays >= {0, 1, 2, 3} and max(delays) > 60
    assert {projection.payload > 1 for projection in found} == {False, True}
    assert any(projection.source == projection.target for projection in found)


def test_every_way_in_and_out_is_recorded() -> None:
    found = simulated()
    assert {golden.network.contract.decode for golden in found} == set(get_args(Decode))
    graded = {
        (golden.samples.over_time, golden.network.contract.input_code.payload > 1)
        for golden in found
    }
    assert graded == set(itertools.product((False, True), (False, True)))
    # Batch after batch in the same processes, the last one smaller.
    assert any(golden.samples.count % golden.batch for golden in found)


def test_every_rule_of_learning_is_recorded_with_every_choice() -> None:
    options = [golden.options for golden in everything() if isinstance(golden, Learnt)]
    assert {chosen.rule for chosen in options} == set(get_args(RuleName)), AGAIN
    for rule in get_args(RuleName):
        times = {chosen.update for chosen in options if chosen.rule == rule}
        wanted = {"sample"} if rule == "prototypes" else set(get_args(UpdateTime))
        assert times == wanted, f"rule {rule}: {AGAIN}"
    assert {chosen.feedback for chosen in options} == set(get_args(Feedback)), AGAIN


def test_answers_are_those_of_networks_that_do_something() -> None:
    """Equality means little where nothing is sent, and nothing leaves its width."""
    overflowed, rates = 0, []
    for golden in simulated():
        engine = ReferenceEngine(golden.network)
        for _ in engine.run(golden.samples.batches(golden.batch)):
            pass
        overflowed += engine.overflow.total > 0
        rates += [
            float(np.count_nonzero(record.s) / record.s.size) for record in golden.answer.values()
        ]
    assert overflowed > len(simulated()) / 5
    assert np.mean([0.02 < rate < 0.98 for rate in rates]) > 0.5


@pytest.mark.parametrize("name", ["leaky_chain_1"])
def test_nothing_that_is_recorded_needs_pickle(name: str) -> None:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as found:
        assert all(not found[key].dtype.hasobject for key in found.files)
