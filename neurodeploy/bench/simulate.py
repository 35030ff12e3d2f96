"""Speed and memory of each engine that simulates.

Every row is measured in a process of its own: batches of random spikes go through the engine as
a simulation sends them, the first is not counted, and the others are timed until enough seconds
have passed. Engines take turns over several rounds and the median round counts,
because machines are noisy. ``yardstick`` is the same network written by hand for Lava.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from neurodeploy.bench.configuration import bench_network, layers_of
from neurodeploy.bench.paper_networks import PAPER_NETWORKS, paper_network
from neurodeploy.bench.process import (
    answer,
    forget_high_water,
    in_turns,
    median,
    peak_memory_mb,
    resident_mb,
    run_alone,
)
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.quantization.post_training import quantize
from neurodeploy.simulation.trace import SampleBatch
from neurodeploy.target import load_target
from neurodeploy.workflow.engines import batch_size
from neurodeploy.workflow.samples import random_samples

ENGINES = ("reference", "lava-fused", "lava", "yardstick")
RATE = 0.1


@dataclass(frozen=True)
class SimulateRow:
    """One engine's figures.

    Attributes:
        T: steps per sample.
        peak_mb: highest memory of the process and its Lava processes together; pages that they
            share are counted once.
        batch: samples at a time.
        seconds_per_sample: in batches after the first.
        first_batch_s: seconds from the network's integers to the first batch's spikes.
    """

    engine: str
    network: str
    T: int
    samples_per_second: float
    steps_per_second: float
    peak_mb: float
    batch: int
    seconds_per_sample: float
    first_batch_s: float


def bench_simulate(
    network: str,
    steps: int,
    engines: Iterable[str],
    seconds: float,
    rounds: int,
    batch: int | None = None,
    rate: float = RATE,
    progress: bool = False,
) -> list[SimulateRow]:
    """Measure the engines in turn; returns the median round of each.

    Args:
        network: a name that ``bench_network`` knows, or one of ``PAPER_NETWORKS``.
        steps: T.
        engines: some of ``ENGINES``; all that can run the network when empty.
        seconds: how long each engine is timed in a round, at least.
        batch: samples at a time; as many as ``simulate`` would take when None.
        rate: probability that an input spikes in a step.

    Raises:
        InputError: unknown engine or network.
        SimulationError: a measurement failed.
    """
    engines = list(engines) or list(ENGINES if network.startswith("mlp") else ENGINES[:-1])
    for engine in engines:
        if engine not in ENGINES:
            raise InputError(
                Text(Setting("engines"), f": {engine!r} is not one of {', '.join(ENGINES)}")
            )
    if steps < 1 or seconds <= 0 or rounds < 1 or (batch is not None and batch < 1):
        raise InputError(
            Text(
                Setting("steps"),
                ", ",
                Setting("seconds"),
                ", ",
                Setting("rounds"),
                " and ",
                Setting("batch"),
                " must be positive",
            )
        )
    if network not in PAPER_NETWORKS:
        layers_of(network)
    if not 0 <= rate <= 1:
        raise InputError(Text(Setting("rate", str(rate)), ": needs 0 to 1"))
    tasks = [
        partial(in_own_process, engine, network, steps, seconds, batch, rate) for engine in engines
    ]
    found = in_turns(tasks, rounds, "engines", progress)
    return [median(rows, lambda row: -row.samples_per_second) for rows in found]


def in_own_process(
    engine: str,
    network: str,
    steps: int,
    seconds: float,
    batch: int | None = None,
    rate: float = RATE,
) -> SimulateRow:
    """``measure`` in a process of its own.

    Raises:
        SimulationError: it failed.
    """
    arguments = [engine, network, str(steps), str(seconds), str(batch or 0), str(rate)]
    return SimulateRow(**run_alone(__name__, arguments, engine))


def measure(
    engine: str,
    name: str,
    steps: int,
    seconds: float,
    size: int | None = None,
    rate: float = RATE,
) -> SimulateRow:
    """Time one engine in this process, with ``size`` samples at a time."""
    make = paper_network if name in PAPER_NETWORKS else bench_network
    network = quantize(make(name, steps), load_target("loihi2"))
    size = size or batch_size(network)
    (source,) = network.inputs
    samples = random_samples(size, rate, 0, network.contract, source.shape)
    (batch,) = samples.batches(size)
    running = True

    def batches() -> Iterator[SampleBatch]:
        while running:
            yield batch

    resident_mb()  # what building the network took is given back, and not counted
    forget_high_water()
    begun = time.perf_counter()
    traces = _runner(engine, network, size)(batches())
    next(traces)
    started = time.perf_counter()
    count = 0
    while time.perf_counter() - started < seconds or count == 0:
        next(traces)
        count += 1
    elapsed = time.perf_counter() - started
    peak = peak_memory_mb()
    running = False
    for _ in traces:
        pass
    speed = count * size / elapsed
    return SimulateRow(
        engine, name, steps, speed, speed * steps, peak, size, 1 / speed, started - begun
    )


def _runner(
    engine: str, network: QuantizedNetwork, size: int
) -> Callable[[Iterable[SampleBatch]], Iterator[object]]:
    """The engine's ``run``, or the yardstick's."""
    if engine == "reference":
        from neurodeploy.simulation.engines import ReferenceEngine

        return ReferenceEngine(network).run
    if engine == "lava":
        from neurodeploy.lava.stock import LavaEngine

        return LavaEngine(network, capacity=size).run
    if engine == "lava-fused":
        from neurodeploy.lava.fused import FusedLavaEngine

        return FusedLavaEngine(network, capacity=size).run
    from neurodeploy.lava.stock import run_by_hand

    return partial(run_by_hand, network)


if __name__ == "__main__":
    engine, name, *numbers = sys.argv[1:]
    steps, seconds, size, rate = map(float, numbers)
    answer(lambda: asdict(measure(engine, name, int(steps), seconds, int(size), rate)))
