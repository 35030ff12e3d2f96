"""Learning rates: as people write them, and the one that a network can bear when nobody does."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.frozen import FrozenSpikes, output_alone, output_layer
from neurodeploy.onchip.learner import (
    RATE_EXPONENTS,
    LearningOptions,
    StreamChunk,
)
from neurodeploy.onchip.loihi_rule import rate_exponents
from neurodeploy.onchip.plan import rates_within_reach
from neurodeploy.onchip.plans import learning_plan_of_any_rate, measuring_reference
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch

READOUT_MOVE = 2.0
"""An update may move an output by so much: what was 1/2 of the softmax is then 7/8."""

HIDDEN_MOVE = 0.5
"""An update may move a hidden neuron's input of a step by so much of its threshold."""

HIGHEST = 1.0
"""No rate above this, where hardly a spike arrives and nothing would move."""

TAG_ERRORS = 4
"""Steps of errors that Loihi's tag of rule ``delta`` still adds up: it holds two whole errors, and
errors are halves or so on average."""


def parse_rate(text: str) -> float:
    """``2^-6``, ``1/64`` or ``0.015625`` as a number.

    Raises:
        InputError: none of these.
    """
    power = re.fullmatch(r"\s*2\s*(?:\^|\*\*)\s*([+-]?\d+)\s*", text)
    part = re.fullmatch(r"\s*1\s*/\s*(\d+)\s*", text)
    try:
        if power:
            return math.ldexp(1.0, int(power[1]))
        return 1 / int(part[1]) if part else float(text)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise InputError(
            Text(Setting("rate", text), ": expected a power of two such as 2^-6, 1/64 or 0.015625")
        ) from None


def parse_shares(text: str) -> tuple[float, ...]:
    """``0.5,0.75`` as numbers, ``none`` as no numbers.

    Raises:
        InputError: neither.
    """
    if text.strip() == "none":
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            Text(Setting("halve", text), ": expected shares such as 0.5,0.75, or none")
        ) from None


def suitable_rate(
    network: QuantizedNetwork, options: LearningOptions, batch: SampleBatch, factor: float = 1.0
) -> float:
    """The largest power of two at which learning from a sample moves no potential too far.

    An update at rate eta changes a potential by eta e |s|^2, e being the neuron's error and s the
    spikes at its synapses. As in normalised least mean squares (Nagumo and Noda 1967) eta has to
    shrink with the spikes that arrive, and here in every layer: a network of few neurons sends few
    spikes to its read-out, which alone could bear a large rate, but large errors back through its
    large weights, and a hidden layer that moves by whole thresholds forgets what it was.

    So no output may move by more than ``READOUT_MOVE``, no hidden neuron by more than
    ``HIDDEN_MOVE`` of its threshold, on average over samples whose label is a class that the
    network does not answer. Rule ``delta`` changes no hidden layer; where its tags add up over a
    sample, rates shrink by the errors that these cannot hold.

    Args:
        options: rule, update and feedback; the rate is not used.
        batch: some samples of the stream.
        factor: of the rate, for tasks that need finer steps.

    Returns:
        A power of two that the rule can express on this network.
    """
    rule = options.rule if options.everywhere else "sltt"
    everywhere = LearningOptions(rule=rule, feedback=options.feedback, seed=options.seed)
    chunk, wrong = StreamChunk.of(batch), _wrong_labels(network, batch)
    learning = network
    if not options.everywhere:
        link = output_layer(network)
        chunk = replace(chunk, values=FrozenSpikes(network, link.projection).of(chunk))
        learning = output_alone(network, link)
    plan = learning_plan_of_any_rate(learning, everywhere)
    learner = measuring_reference(plan)
    lasts = chunk.lasts(network.contract.steps)
    found = [
        learner.moves(values, label, steps)
        for values, label, steps in zip(chunk.values, wrong, lasts, strict=True)
    ]
    projections = [synapses.projection for synapses in plan.synapses]
    adds_up = not network.population(network.output).leaky.spiking
    last = [p.name for p in projections if p.target == network.output and adds_up]
    bounds = dict.fromkeys(last, READOUT_MOVE)
    if options.everywhere:
        bounds |= {p.name: HIDDEN_MOVE for p in projections if p.name not in last}
        reach = rates_within_reach(plan)
    else:
        reach = rate_exponents(network)
        if options.update == "sample":
            factor *= min(1.0, TAG_ERRORS / network.contract.steps)
    rate = HIGHEST
    for name, bound in bounds.items():
        move = float(np.mean([moves[name] for moves in found]))
        rate = min(rate, bound / move) if move else rate
    lowest, highest = max(reach[0], RATE_EXPONENTS[0]), min(reach[1], RATE_EXPONENTS[1])
    return 2.0 ** min(max(math.floor(math.log2(rate * factor)), lowest), highest)


def _wrong_labels(network: QuantizedNetwork, batch: SampleBatch) -> np.ndarray:
    """(N,) classes that the network does not answer, every other one in turn."""
    ((_, trace),) = ReferenceEngine(network).run([batch])
    classes = network.classes
    others = 1 + np.arange(len(batch)) % max(classes - 1, 1)
    return (trace.predictions(network.contract.decode, batch.lengths) + others) % classes
