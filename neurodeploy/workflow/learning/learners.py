"""Who learns: a rule on an engine, beside the integer reference of the same rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, nearest
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.delta_reference import DeltaReference
from neurodeploy.onchip.graph_plan import GraphPlan
from neurodeploy.onchip.learner import Learner, LearningOptions, StreamChunk
from neurodeploy.onchip.loihi_rule import make_delta_plan
from neurodeploy.onchip.plan import LearningPlan, SynapticPlan
from neurodeploy.onchip.plans import make_learning_plan, not_a_chain
from neurodeploy.onchip.prototype_plan import check_prototypes, make_prototype_plan
from neurodeploy.onchip.prototypes import PrototypeReference, SpikeCounts
from neurodeploy.onchip.rates import suitable_rate
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.simulation.trace import Samples

if TYPE_CHECKING:
    from neurodeploy.onchip.event_reference import EventReference
    from neurodeploy.onchip.graph_reference import GraphReference

ENGINES = ("lava", "lava-fused", "reference")

RECORD_BYTES = 64 * 2**20
"""Roughly how much the weights after every update of a chunk may take."""

KNOWN_BATCH = 256
"""Samples of what is known that are simulated together."""

FUSED = Text("use ", Setting("engine", "lava-fused"), ", one process that equals the reference")

RATE_SAMPLES = 64
"""Samples that a suitable rate is measured on."""


@dataclass(frozen=True, eq=False)
class Learners:
    """Attributes:
    reference: the integer reference, which also counts events.
    lava: the same rule in Lava, or None when it is not asked for.
    plan: what both compute.
    """

    reference: (
        ReferenceLearner | EventReference | GraphReference | DeltaReference | PrototypeReference
    )
    lava: Learner | None
    plan: Any

    @property
    def chosen(self) -> Learner:
        """The one whose weights are deployed."""
        return self.lava or self.reference

    def first_states(self) -> Mapping[str, np.ndarray]:
        """X of every synapse before learning; ``delta`` has none."""
        if not isinstance(self.plan, SynapticPlan):
            return {}
        return {plan.projection.name: plan.initial() for plan in self.plan.synapses}

    def tags(self, states: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """What is below weights whose X is ``states``; rule ``delta`` keeps nothing there."""
        return self.plan.tags(states) if isinstance(self.plan, SynapticPlan) else {}

    def close(self) -> None:
        """End Lava's processes, if there are any."""
        if self.lava is not None:
            self.lava.close()


def check_learning_engine(engine: str, options: LearningOptions) -> None:
    """Refuse an engine that does not exist, cannot run here, or does not know the rule.

    Raises:
        InputError, MissingDependencyError: with what to do instead.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} cannot learn{nearest(engine, ENGINES)}")
    if engine == "lava" and options.rule == "eprop":
        raise InputError(
            "rule eprop keeps a trace at each synapse, for which Lava's learning processes have no "
            "place, and in a pipeline of processes an error would arrive when traces have advanced",
            fix=FUSED,
        )
    if engine == "lava-fused" and not options.everywhere:
        raise InputError(
            f"rule {options.rule} is Lava's own learning process, which has no fused form",
            fix=Text("use ", Setting("engine", "lava")),
        )
    if engine != "reference":
        from neurodeploy.lava.compat import require_installed

        require_installed()


def most_samples(network: QuantizedNetwork, options: LearningOptions) -> int:
    """Samples per chunk such that their recorded weights stay within ``RECORD_BYTES``."""
    weights = sum(p.operator.weights.size for p in network.projections)
    if options.rule == "prototypes":
        weights = check_prototypes(network).projection.operator.weights.size
    updates = 1 if options.update == "sample" else network.contract.steps
    return max(1, RECORD_BYTES // (4 * weights * updates))


def with_suitable_rate(
    network: QuantizedNetwork, options: LearningOptions, stream: Samples, factor: float
) -> LearningOptions:
    """Options with ``factor`` times the rate that the network can bear, or less."""
    batch = next(stream.batches(min(stream.count, RATE_SAMPLES)))
    return replace(options, rate=suitable_rate(network, options, batch, factor))


def make_learners(
    network: QuantizedNetwork,
    options: LearningOptions,
    engine: str,
    capacity: int,
    timeout: float | None,
    tags: Mapping[str, np.ndarray] = MappingProxyType({}),
    known: Samples | None = None,
    empty: tuple[int, ...] = (),
    novel: int = 0,
) -> Learners:
    """The reference, and the engine beside it.

    Args:
        capacity: most samples in a chunk.
        timeout: wall-clock seconds for Lava, or None.
        tags: what is below the weights in the beginning, by projection; of rules that keep any.
        known: samples of the classes that rule ``prototypes`` begins with.
        empty: those of them whose rows it has yet to learn.
        novel: rows for what is new and has no label, by that rule.

    Raises:
        UnsupportedError: the network has what the rule is not defined for.
        InputError: the rate is out of range.
    """
    if options.rule == "delta":
        delta = make_delta_plan(network, options)
        lava = _delta_in_lava(delta, capacity, timeout) if engine != "reference" else None
        return Learners(DeltaReference(delta), lava, delta)
    if options.rule == "prototypes":
        return _prototypes(network, options, engine, capacity, timeout, known, empty, novel)
    plan = make_learning_plan(network, options, tags)
    if isinstance(plan, LearningPlan):
        lava = IN_LAVA[engine](plan, capacity, timeout) if engine != "reference" else None
    else:
        if engine == "lava":
            raise UnsupportedError(
                "engine lava has a process for each layer, with neurons of one kind, and delay "
                "lines for a chain of layers: "
                f"{not_a_chain(network)}",
                fix=FUSED,
            )
        lava = _graph(plan, capacity, timeout) if engine != "reference" else None
    return Learners(_reference(plan), lava, plan)


def _reference(
    plan: LearningPlan | GraphPlan,
) -> ReferenceLearner | EventReference | GraphReference:
    """The fastest that can: all compute the same."""
    from neurodeploy.onchip.event_reference import EventReference, is_narrow
    from neurodeploy.onchip.graph_reference import GraphReference

    if not isinstance(plan, LearningPlan):
        return GraphReference(plan)
    return EventReference(plan) if is_narrow(plan) else ReferenceLearner(plan)


def _prototypes(
    network: QuantizedNetwork,
    options: LearningOptions,
    engine: str,
    capacity: int,
    timeout: float | None,
    known: Samples | None,
    empty: tuple[int, ...],
    novel: int,
) -> Learners:
    """Rows for the classes of ``known``, and features that these shape."""
    if known is None:
        raise InputError("rule prototypes starts from samples of known classes, and there are none")
    spikes = SpikeCounts(network, check_prototypes(network).projection)
    counts, labels = [], []
    for batch in known.batches(KNOWN_BATCH):
        chunk = StreamChunk.of(batch)
        counts.append(spikes.of(chunk))
        labels.append(chunk.labels)
    plan = make_prototype_plan(
        network, options, np.concatenate(counts), np.concatenate(labels), empty, novel
    )
    lava = None
    if engine != "reference":
        from neurodeploy.lava.onchip.prototypes import PrototypeLavaLearner

        lava = PrototypeLavaLearner(plan, capacity=capacity, timeout=timeout)
    return Learners(PrototypeReference(plan), lava, plan)


def _delta_in_lava(plan: Any, capacity: int, timeout: float | None) -> Learner:
    from neurodeploy.lava.onchip.learner import DeltaLavaLearner

    return DeltaLavaLearner(plan, capacity=capacity, timeout=timeout)


def _stock(plan: Any, capacity: int, timeout: float | None) -> Learner:
    from neurodeploy.lava.onchip.learner import StockLearner

    return StockLearner(plan, capacity=capacity, timeout=timeout)


def _fused(plan: Any, capacity: int, timeout: float | None) -> Learner:
    from neurodeploy.lava.onchip.learner import FusedLavaLearner

    return FusedLavaLearner(plan, capacity=capacity, timeout=timeout)


def _graph(plan: Any, capacity: int, timeout: float | None) -> Learner:
    from neurodeploy.lava.onchip.learner import GraphLavaLearner

    return GraphLavaLearner(plan, capacity=capacity, timeout=timeout)


IN_LAVA: dict[str, Callable[[Any, int, float | None], Learner]] = {
    "lava": _stock,
    "lava-fused": _fused,
}
