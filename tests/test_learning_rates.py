"""Learning rates: what people may write, and that a default spoils no network, small or large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.learner import (
    RATE_EXPONENTS,
    LearningOptions,
    RuleName,
    StreamChunk,
)
from neurodeploy.onchip.loihi_rule import rate_exponents
from neurodeploy.onchip.plan import make_plan
from neurodeploy.onchip.rates import HIDDEN_MOVE, READOUT_MOVE, parse_rate, suitable_rate
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.quantization.planned import real_network
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.training.continued import FloatLearner
from support.command import run_json
from support.learning_networks import CLASSES, small_chain, small_chunk
from support.quick import quick


def test_rates_are_powers_of_two_within_reach() -> None:
    assert parse_rate("2^-6") == parse_rate("2**-6") == parse_rate("1/64") == 0.015625
    assert parse_rate("0.25") == 0.25
    with pytest.raises(InputError, match="expected a power of two"):
        parse_rate("fast")
    with pytest.raises(ValueError, match="power of two"):
        LearningOptions(rate=0.3)
    with pytest.raises(ValueError, match="from 2\\^-24 to 2\\^4"):
        LearningOptions(rate=2.0**9)
    with pytest.raises(ValueError, match="rule delta carries no error back"):
        LearningOptions(rule="delta", feedback="random")
    network = small_chain("conv", payload=16)
    coarse = tuple(replace(p, scale=p.scale / 2**12) for p in network.populations)
    with pytest.raises(InputError, match=r"rate 2\^-24 is out of range .* use 2\^-"):
        make_plan(replace(network, populations=coarse), LearningOptions(rate=2.0**-24))


def small_batch(network: QuantizedNetwork) -> SampleBatch:
    """Eight random samples; of a graded network the same at every step."""
    chunk = small_chunk(network, 8, seed=2)
    static = network.contract.input_code.payload > 1
    values = chunk.values[:, 0] if static else chunk.values
    shape = network.inputs[0].shape
    return SampleBatch(0, values.reshape(*values.shape[:-1], *shape), static, chunk.labels)


def real_moves(
    network: QuantizedNetwork, batch: SampleBatch, sample: int, label: int
) -> dict[str, float]:
    """PyTorch's gradient times the spikes that arrived, in each layer, over the threshold."""
    real = real_network(network)
    values = batch.values[sample].reshape(1 if batch.static else network.contract.steps, -1)
    gradients = FloatLearner(real, 2.0**-6, "steps").gradients(values, label)
    ((_, trace),) = ReferenceEngine(network).run([batch])
    found = {}
    for p in real.projections:
        spikes = trace.populations[p.source].s[sample].reshape(network.contract.steps, -1)
        payload = network.contract.input_code.payload if p.source == "input" else 1
        change = p.operator.with_weights(gradients[p.name]).matrix() @ (spikes / payload).T
        neuron = next(q.leaky for q in real.populations if q.name == p.target)
        threshold = 1.0 if neuron.v_threshold is None else float(neuron.v_threshold.flat[0])
        found[p.name] = float(np.abs(change).max() / threshold)
    return found


@pytest.mark.parametrize(("kind", "payload"), [("dense", 1), ("conv", 16)])
def test_a_rate_moves_potentials_as_far_as_pytorchs_gradient_says(kind: str, payload: int) -> None:
    network = small_chain(kind, payload=payload, seed=3)
    batch = small_batch(network)
    chunk = StreamChunk.of(batch)
    learner = ReferenceLearner(make_plan(network, LearningOptions()))
    ((_, trace),) = ReferenceEngine(network).run([batch])
    answers = trace.predictions("last_v")
    moves: dict[str, list[float]] = {p.name: [] for p in network.projections}
    for sample in range(8):
        label = int(answers[sample] + 1 + sample % (CLASSES - 1)) % CLASSES
        ours = learner.moves(chunk.values[sample], label)
        for name, real in real_moves(network, batch, sample, label).items():
            moves[name].append(real)
            assert ours[name] == pytest.approx(real, rel=0.15, abs=0.02), name
    assert learner.updates == 0 and not learner.counts.of("w1").updates
    hidden, last = moves.keys() - {"w3"}, np.mean(moves["w3"])
    rules: list[tuple[RuleName, set[str]]] = [("sltt", hidden), ("delta", set())]
    for rule, names in rules:
        if rule == "delta" and payload > 1:
            continue
        largest = min([READOUT_MOVE / last, *(HIDDEN_MOVE / np.mean(moves[n]) for n in names), 1.0])
        found = suitable_rate(network, LearningOptions(rule=rule), batch)
        assert 0.9 * largest / 2 < found < 1.1 * largest


def test_a_rate_can_be_expressed_wherever_the_potentials_would_have_it() -> None:
    network = small_chain("dense")
    batch = small_batch(network)
    for factor in (2.0**-60, 2.0**-20, 1.0, 2.0**20):
        for rule in get_args(RuleName):
            options = LearningOptions(rule=rule)
            rate = suitable_rate(network, options, batch, factor)
            everywhere = options.everywhere
            lowest, highest = RATE_EXPONENTS if everywhere else rate_exponents(network)
            assert 2.0**lowest <= rate <= 2.0**highest
            if everywhere:
                make_plan(network, replace(options, rate=rate))
    silent = replace(batch, values=np.zeros_like(batch.values))
    bias = replace(
        network,
        populations=tuple(
            p
            if p.neuron is None
            else replace(p, neuron=replace(p.leaky, bias_mantissa=np.zeros(1, np.int64)))
            for p in network.populations
        ),
    )
    assert suitable_rate(bias, LearningOptions(), silent) == 1.0, "nothing moves"


def test_tags_that_cannot_hold_a_sample_ask_for_smaller_rates() -> None:
    """Sixteen steps against four: a quarter of the rate, unless weights change in every step."""
    network = small_chain("dense", steps=16)
    batch = small_batch(network)
    sample, step = (
        suitable_rate(network, LearningOptions(rule="delta", update=when), batch)
        for when in ("sample", "step")
    )
    assert sample == step / 4


@pytest.mark.parametrize("hidden", quick([16, 256], 16))
def test_the_default_rate_learns_in_small_and_large_networks(tmp_path: Path, hidden: int) -> None:
    """A rotation that costs most of the accuracy, and a class that is new."""
    family = f'network={{family="mlp",hidden=[{hidden}],batch_norm=true}}'
    for exclude, task in (("[]", "drift"), ("[9]", "new-class")):
        run, deployed, learnt = (str(tmp_path / f"{what}-{task}") for what in "rdl")
        overrides = [family, "training.epochs=8", f"data.exclude={exclude}"]
        options = [text for override in overrides for text in ("--set", override)]
        run_json("train", "digits_conv", *options, "--out", run, folder=tmp_path)
        run_json(
            "export",
            run,
            "--target",
            "loihi2",
            "--scale",
            "mse",
            "--out",
            deployed,
            folder=tmp_path,
        )
        found = run_json(
            "learn", deployed, "--task", task, "--engine", "reference", "--no-ceiling", "--out",
            learnt, folder=tmp_path,
        )  # fmt: skip
        assert found["kept_after"] > 0
        assert found["accuracies_after"]["set aside"] > found["accuracies_before"]["set aside"]
        if task == "drift":
            assert found["recovered"] > 0.6
        else:
            assert found["accuracy_after"] > found["accuracy_before"] + 0.01
