"""Record Lava's own answers to the networks of ``tests/support/golden_networks.py``.

Run as ``python tests/data/golden/record.py [NAME...]`` where Lava is installed: all networks, or
those named. Each is given to every engine of Lava that can hold it, and nothing is written unless
all of them say the same. The reference takes no part. With a new kind of neuron, operator or rule,
give its network a name in ``corpus`` and record that name alone.
"""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from neurodeploy.lava import stock
from neurodeploy.lava.compat import require_lava
from neurodeploy.onchip.learner import Trajectory
from neurodeploy.onchip.loihi_rule import make_delta_plan
from neurodeploy.onchip.plan import LearningPlan
from neurodeploy.onchip.plans import make_learning_plan
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace
from neurodeploy.workflow.netx import netx_part
from support.golden import MANIFEST, Golden, Learnt, Simulated, manifest, rows_of, whole, write
from support.golden_networks import ToLearn, ToSimulate, corpus

TIMEOUT = 120.0
SEEDS = range(0, 4000, 100)
"""Tried one after the other until a network is neither silent nor anything near."""


def main(names: list[str]) -> None:
    """Record these networks, or all."""
    require_lava()
    known = corpus()
    entries = manifest() if MANIFEST.exists() else {}
    for name in names or known:
        golden, processes, engines = record(known[name], list(known).index(name))
        entries[name] = {
            "sha256": write(name, golden),
            "engines": engines,
            "models": dict(sorted(processes.items())),
            "recorded_with": versions(),
        }
        print(name, engines, dict(processes), flush=True)
        kept = {name: entries[name] for name in known if name in entries}
        MANIFEST.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def versions() -> str:
    """Of what answers."""
    found = [f"{name} {metadata.version(name)}" for name in ("lava-nc", "lava-dl", "numpy")]
    return ", ".join([*found, f"Python {platform.python_version()}"])


def record(drawn: Any, number: int) -> tuple[Golden, Counter[str], list[str]]:
    """What Lava says of the first of its kind that does something."""
    for seed in SEEDS:
        case = drawn(seed + number % 7)
        found = simulated(case) if isinstance(case, ToSimulate) else learnt(case)
        if is_busy(found[0]):
            return found
    raise SystemExit("all networks of this kind are silent")


def is_busy(golden: Golden) -> bool:
    """Whether half of the populations send something, or every projection has learnt."""
    if isinstance(golden, Simulated):
        sends = [np.unique(record.s).size > 1 for record in golden.answer.values()]
        return 2 * sum(sends) >= len(sends)
    last = golden.answers[-1].states
    first = golden.answers[0].states
    return all((states[-1, -1] != first[name][0, 0]).any() for name, states in last.items())


def simulated(case: ToSimulate) -> tuple[Simulated, Counter[str], list[str]]:
    """Every engine's answer to what goes in, which is one."""
    processes: Counter[str] = Counter()
    answer: Mapping[str, PopulationTrace] | None = None
    with running(case) as engines:
        for engine in engines:
            traces: list[SpikeTrace] = []
            for _, trace in engine.run(case.samples.batches(case.batch), state=True):
                if not traces:
                    processes |= models_of(engine)
                traces.append(trace)
            found = whole(case.network, traces)
            if answer is None:
                answer = found
            for name, record in answer.items():
                for what, values in record.arrays.items():
                    if not np.array_equal(values, found[name].arrays[what]):
                        raise SystemExit(f"{engine.name} gives another {name}.{what}")
    assert answer is not None
    golden = Simulated(case.network, case.samples, case.batch, answer)
    return golden, processes, list(case.engines)


@contextmanager
def running(case: ToSimulate) -> Iterator[Iterator[Any]]:
    """The engines, one after the other."""
    from neurodeploy.lava.fused import FusedLavaEngine
    from neurodeploy.lava.netx import NetxEngine

    options: dict[str, Any] = {"capacity": case.batch, "state": True, "timeout": TIMEOUT}
    most, stock.MOST_WRITTEN_OUT = stock.MOST_WRITTEN_OUT, stock.MOST_WRITTEN_OUT * case.written_out

    def engines(folder: Path) -> Iterator[Any]:
        yield stock.LavaEngine(case.network, **options)
        yield FusedLavaEngine(case.network, **options)
        if "netx" in case.engines:
            part, path = netx_part(case.network), folder / "a.net"
            if case.net is not None:
                path.write_bytes(case.net)
            elif part.write is not None:
                part.write(path)
            yield NetxEngine(case.network, path, **options)

    try:
        with TemporaryDirectory() as folder:
            yield engines(Path(folder))
    finally:
        stock.MOST_WRITTEN_OUT = most


def learnt(case: ToLearn) -> tuple[Learnt, Counter[str], list[str]]:
    """Every form that a rule has in Lava, chunk after chunk."""
    from neurodeploy.lava.onchip.learner import (
        DeltaLavaLearner,
        FusedLavaLearner,
        GraphLavaLearner,
        StockLearner,
    )
    from neurodeploy.lava.onchip.prototypes import PrototypeLavaLearner

    options: dict[str, Any] = {"capacity": 6, "timeout": TIMEOUT}
    if case.prototypes is not None:
        learners: list[Any] = [PrototypeLavaLearner(case.prototypes, capacity=18, timeout=TIMEOUT)]
    elif case.options.rule == "delta":
        delta = make_delta_plan(case.network, case.options)
        learners = [DeltaLavaLearner(delta, **options)]
    else:
        plan = make_learning_plan(case.network, case.options, case.tags)
        if isinstance(plan, LearningPlan):
            learners = [StockLearner(plan, **options), FusedLavaLearner(plan, **options)]
        else:
            learners = [GraphLavaLearner(plan, **options)]
    processes: Counter[str] = Counter()
    answers: list[Trajectory] = []
    weights: dict[str, np.ndarray] = {}
    for learner in learners:
        try:
            found = [learner.learn(chunk) for chunk in case.chunks]
            processes |= models_of(learner)
            weights = {p.name: p.operator.weights for p in learner.learned().projections}
        finally:
            learner.close()
        for one, other in zip(answers or found, found, strict=True):
            same = all(np.array_equal(one.states[name], other.states[name]) for name in one.states)
            if not (same and np.array_equal(one.scores, other.scores)):
                raise SystemExit(f"{learner.name} learns otherwise")
        answers = found
    rows = {} if case.prototypes is None else rows_of(case.prototypes)
    given = (case.network, case.options, case.tags, case.chunks)
    golden = Learnt(*given, tuple(answers), weights, rows)
    return golden, processes, [learner.name for learner in learners]


def models_of(engine: Any) -> Counter[str]:
    """The models that Lava has chosen for the processes of a running engine, with their number."""
    builders = engine._lava._runtime._runtime._executable.proc_builders.values()
    classes = [builder.proc_model for builder in builders]
    return Counter(f"{model.__module__}.{model.__qualname__}" for model in classes)


if __name__ == "__main__":
    main(sys.argv[1:])
