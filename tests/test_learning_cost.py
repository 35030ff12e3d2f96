"""What learning would need on a chip: counted by hand on small chains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.ir.convolution import Convolution
from neurodeploy.onchip.circuits import EMBEDDED, MICROCODE, STOCK, transposed
from neurodeploy.onchip.cost import learning_cost
from neurodeploy.onchip.learner import LayerCounts, LearningOptions
from neurodeploy.onchip.loihi_rule import make_delta_plan
from neurodeploy.onchip.plan import make_plan
from neurodeploy.target import load_target
from support.learning_networks import small_chain

COUNTS = {
    "w1": LayerCounts(updates=40, error_events=30, spikes=70),
    "w2": LayerCounts(updates=20, error_events=20, spikes=50),
    "w3": LayerCounts(updates=10, error_events=16, spikes=40),
}
SAMPLES, STEPS = 2, 3


def figure(name: str) -> float:
    energy: Any = load_target("loihi2").energy
    return getattr(energy, name).value


@pytest.mark.parametrize("feedback", ["transposed", "random"])
def test_sltt_on_a_dense_chain_by_hand(feedback: Any) -> None:
    """7 inputs, layers of 6 and 5, and 4 outputs; three steps a sample."""
    plan = make_plan(small_chain("dense"), LearningOptions(feedback=feedback))
    cost = learning_cost(plan, load_target("loihi2"), COUNTS, SAMPLES)
    assert cost.error_events == (30 + 20 + 16) / SAMPLES
    # A spike at a synapse layer meets as many synapses as there are targets.
    visited = (70 * 6 + 50 * 5 + 40 * 4) / SAMPLES
    assert cost.synaptic_updates == visited
    # Errors of the read-out go back through 5 weights each, those of the layer of 5 through 6.
    carried = (16 * 5 + 20 * 6) / SAMPLES
    fixed = carried * figure("synaptic_op") + visited * figure("synaptic_update")
    neurons = (4 + 5 + 6) * STEPS
    assert cost.energy_nj is not None and cost.update_nj == cost.energy_nj
    assert cost.energy_nj.low == pytest.approx((fixed + neurons * figure("update_inactive")) / 1000)
    assert cost.energy_nj.high == pytest.approx((fixed + neurons * figure("update_active")) / 1000)
    # Weights of the first layer go nowhere; random ones have no copy.
    assert cost.weights_sent == ((20 + 10) / SAMPLES if feedback == "transposed" else 0)
    # Spikes wait 5, 3 and 1 steps, surrogates of 8 bits 4 and 2.
    assert cost.history_bits == (5 * 7 + 3 * 6 + 5) + 8 * (4 * 6 + 2 * 5)
    assert cost.learning_cores > cost.cores == 3
    assert cost.learning_synapse_words > cost.synapse_words
    means = {circuit.what: circuit.means for circuit in cost.circuits}
    assert means["synapses w1"] == MICROCODE and means["error of readout"] == EMBEDDED
    assert ("copy" in str(cost.circuits)) == (feedback == "transposed")
    assert cost.violations == () and "pre-silicon" in cost.sources[0]


def test_the_local_rule_on_a_dense_chain_by_hand() -> None:
    """Layers of 6 and 5 add up their spikes for 4 classes, and take errors of these back."""
    plan = make_plan(small_chain("dense"), LearningOptions(rule="local"))
    cost = learning_cost(plan, load_target("loihi2"), COUNTS, SAMPLES)
    # Spikes of the layer of 6 arrive at w2, those of the layer of 5 at w3; then 4 errors a step.
    carried = 4 * ((50 + 40) / SAMPLES + STEPS * (6 + 5))
    visited = (70 * 6 + 50 * 5 + 40 * 4) / SAMPLES
    fixed = carried * figure("synaptic_op") + visited * figure("synaptic_update")
    neurons = (4 + 5 + 4 + 6 + 4) * STEPS
    assert cost.energy_nj is not None and cost.update_us is not None
    assert cost.energy_nj.low == pytest.approx((fixed + neurons * figure("update_inactive")) / 1000)
    # Nothing is copied, and spikes wait for one step everywhere.
    assert cost.weights_sent == 0 and cost.history_bits == 7 + 6 + 5
    assert cost.violations == () and "copy" not in str(cost.circuits)
    means = {circuit.what: circuit.means for circuit in cost.circuits}
    assert means["signal of hidden1"] == EMBEDDED and means["error of hidden2"] == MICROCODE
    back = learning_cost(
        make_plan(small_chain("dense"), LearningOptions()), load_target("loihi2"), COUNTS, SAMPLES
    )
    assert cost.history_bits < back.history_bits


def test_an_update_of_a_step_costs_a_share_of_the_sample() -> None:
    plan = make_plan(small_chain("dense"), LearningOptions(update="step"))
    cost = learning_cost(plan, load_target("loihi2"), COUNTS, SAMPLES)
    assert cost.energy_nj is not None and cost.update_nj is not None
    assert cost.update_nj.low == pytest.approx(cost.energy_nj.low / STEPS)
    assert cost.weights_sent == (20 + 10) / SAMPLES / STEPS
    assert not any("gradient" in circuit.detail for circuit in cost.circuits)


def test_delta_needs_what_loihi_has_and_an_error() -> None:
    network = small_chain("dense")
    plan = make_delta_plan(network, LearningOptions(rule="delta", rate=0.5))
    cost = learning_cost(plan, load_target("loihi2"), {"w3": COUNTS["w3"]}, SAMPLES)
    assert [circuit.means for circuit in cost.circuits] == [STOCK, EMBEDDED]
    assert cost.synaptic_updates == 40 * 4 / SAMPLES and cost.weights_sent == 0
    assert cost.history_bits == 0 and cost.cores == cost.learning_cores
    assert cost.energy_nj is not None
    low = 80 * figure("synaptic_update") + 4 * STEPS * figure("update_inactive")
    assert cost.energy_nj.low == pytest.approx(low / 1000)


def test_what_a_target_does_not_say_is_left_out_and_what_does_not_fit_is_named() -> None:
    target, network = load_target("loihi2"), small_chain("dense")
    plan = make_plan(network, LearningOptions())
    assert learning_cost(plan, replace(target, energy=None), COUNTS, 1).update_nj is None
    three = replace(target.chip.cores, value=3)
    small = replace(target, chip=replace(target.chip, cores=three))
    (violation,) = learning_cost(plan, small, COUNTS, 1).violations
    assert "3" in violation and "cores" in violation


def test_the_transposed_operator_is_the_transposed_matrix() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(60):
        groups = int(rng.integers(1, 3))
        inputs, outputs = (groups * int(rng.integers(1, 3)) for _ in range(2))
        kernel, dilation = ([int(n) for n in rng.integers(1, high, 2)] for high in (4, 3))
        conv = Convolution(
            rng.integers(-9, 9, (outputs, inputs // groups, *kernel)),
            (inputs, 7, 6),
            (int(rng.integers(1, 3)), 1),
            tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (2, 2))),
            (dilation[0], dilation[1]),
            groups,
        )
        found = transposed(conv)
        assert (found.matrix() != conv.matrix().T).nnz == 0
        kept += isinstance(found, Convolution)
    assert 5 < kept < 55, "some stay convolutions, some cannot"
