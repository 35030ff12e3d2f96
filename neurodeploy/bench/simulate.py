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

from neurodeploy.bench.configuration import bench_network
from neurodeploy.bench.process import answer, in_turns, median, peak_memory_mb, run_alone
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
        peak_mb: highest resident memory of the process, plus that of its Lava processes; pages
            that they share are counted in each.
    """

    engine: str
    network: str
    T: int
    samples_per_second: float
    steps_per_second: float
    peak_mb: float


def bench_simulate(
    network: str,
    steps: int,
    engines: Iterable[str],
    seconds: float,
    rounds: int,
    progress: bool = False,
) -> list[SimulateRow]:
    """Measure the engines in turn; returns the median round of each.

    Args:
        network: a name that ``bench_network`` knows.
        steps: T.
        seconds: how long each engine is timed in a round, at least.

    Raises:
        InputError: unknown engine or network.
        SimulationError: a measurement failed.
    """
    engines = list(engines)
    for engine in engines:
        if engine not in ENGINES:
            raise InputError(
                Text(Setting("engines"), f": {engine!r} is not one of {', '.join(ENGINES)}")
            )
    if steps < 1 or seconds <= 0 or rounds < 1:
        raise InputError(
            Text(
                Setting("steps"),
                ", ",
                Setting("seconds"),
                " and ",
                Setting("rounds"),
                " must be positive",
            )
        )
    bench_network(network, steps)
    tasks = [partial(in_own_process, engine, network, steps, seconds) for engine in engines]
    found = in_turns(tasks, rounds, "engines", progress)
    return [median(rows, lambda row: -row.samples_per_second) for rows in found]


def in_own_process(engine: str, network: str, steps: int, seconds: float) -> SimulateRow:
    """``measure`` in a process of its own.

    Raises:
        SimulationError: it failed.
    """
    arguments = [engine, network, str(steps), str(seconds)]
    return SimulateRow(**run_alone(__name__, arguments, engine))


def measure(engine: str, name: str, steps: int, seconds: float) -> SimulateRow:
    """Time one engine in this process."""
    network = quantize(bench_network(name, steps), load_target("loihi2"))
    size = batch_size(network)
    (source,) = network.inputs
    samples = random_samples(size, RATE, 0, network.contract, source.shape)
    (batch,) = samples.batches(size)
    running = True

    def batches() -> Iterator[SampleBatch]:
        while running:
            yield batch

    run = _runner(engine, network, size)
    traces = run(batches())
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
    rate = count * size / elapsed
    return SimulateRow(engine, name, steps, rate, rate * steps, peak)


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
    engine, name, steps, seconds = sys.argv[1:]
    answer(lambda: asdict(measure(engine, name, int(steps), float(seconds))))
