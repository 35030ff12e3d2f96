"""What an iteration of training costs in time and memory, for each method.

Every configuration is measured in processes of its own: one for peak memory, in which the allocator
hides nothing, and one a round for time, where it works as ever. Configurations take turns over
several rounds and the median round counts, because machines are noisy. ``yardstick`` is plain
step-wise SLTT in stock modules of torch, with the same layers and weights.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from neurodeploy.bench.configuration import PRECISIONS, YARDSTICK, Configuration
from neurodeploy.bench.process import in_turns, median, run_alone
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.nn.device import find_device
from neurodeploy.recipe import Precision
from neurodeploy.reporting.text import table_text
from neurodeploy.rules.sltt import SLTTK
from neurodeploy.support.processes import Processes
from neurodeploy.training.assembly import rule_of

MODULE = "neurodeploy.bench.iteration"


@dataclass(frozen=True)
class TrainRow:
    """One configuration's figures.

    Attributes:
        method, network, T, batch, device, precision: as in ``Configuration``.
        seconds_per_iteration: one batch forward, backward and one update.
        peak_mb_above_model: highest memory in MiB that an iteration needs beside weights,
            optimiser and data: activations, graphs, gradients, and what libraries work in.
        backward_seconds_per_iteration: of the time, what passes inside backward.
        resident_mb_above_model: how much more the process then holds, with the blocks that the
            allocator keeps for reuse.
        steps_per_iteration: steps run, below T where a rule stops early.
        iterations: how many were timed in the median round.
        threads: CPU threads used.
        time_chunk: steps run at once, 0 where the rule chose.
        device_name: of the processor or GPU.
    """

    method: str
    network: str
    T: int
    batch: int
    seconds_per_iteration: float
    peak_mb_above_model: float
    device: str
    precision: str
    backward_seconds_per_iteration: float
    resident_mb_above_model: float
    steps_per_iteration: float
    iterations: int
    threads: int
    time_chunk: int
    device_name: str


def configurations(
    methods: Sequence[str], steps: Sequence[int], precisions: Sequence[str], **shared: Any
) -> list[Configuration]:
    """Every method at every T and precision.

    Args:
        shared: the other fields of ``Configuration``.

    Raises:
        InputError: a precision is not known.
    """
    for precision in precisions:
        if precision not in PRECISIONS:
            raise InputError(
                Text(Setting("precision"), f": {precision!r} is not one of {', '.join(PRECISIONS)}")
            )
    asked: list[Precision] = [precision for precision in PRECISIONS if precision in precisions]
    every = itertools.product(steps, asked, methods)
    return [
        Configuration(method=method, T=T, precision=precision, **shared)
        for T, precision, method in every
    ]


def bench_train(
    chosen: Sequence[Configuration], seconds: float, rounds: int, progress: bool = False
) -> list[TrainRow]:
    """Measure the configurations in turn; returns the median round of each.

    Args:
        chosen: what to measure.
        seconds: how long each is timed in a round, at least.

    Raises:
        InputError, UnsupportedError: a configuration cannot be trained; nothing was measured.
        SimulationError: a measurement failed.
    """
    if seconds <= 0 or rounds < 1:
        raise InputError(Text(Setting("seconds"), " and ", Setting("rounds"), " must be positive"))
    check(chosen)
    exact = [partial(alone, configuration, seconds, True) for configuration in chosen]
    timed = [partial(alone, configuration, seconds, False) for configuration in chosen]
    peaks = in_turns(exact, 1, "memory", progress)
    times = in_turns(timed, rounds, "time", progress)
    return [
        # The process says how many threads it really had.
        TrainRow(**{**asdict(configuration), **peak, **median(rounds, _seconds)})
        for configuration, (peak,), rounds in zip(chosen, peaks, times, strict=True)
    ]


def alone(configuration: Configuration, seconds: float, exact: bool) -> dict[str, Any]:
    """What ``bench.iteration.measure`` returns in a process of its own.

    Raises:
        SimulationError: the measurement failed.
    """
    given = json.dumps([asdict(configuration), seconds, exact])
    return run_alone(MODULE, [given], str(configuration))


def check(chosen: Sequence[Configuration]) -> None:
    """Train each configuration once on two samples, before time is spent on any.

    Raises:
        InputError, UnsupportedError: one cannot be trained.
    """
    from neurodeploy.bench.iteration import SETTLING_SAMPLES, Iteration

    for configuration in chosen:
        find_device(configuration.device, configuration.precision, Processes())
        rule = rule_of(configuration.recipe)
        fewest = rule.K if isinstance(rule, SLTTK) else 1
        trial = replace(configuration, T=fewest, batch=SETTLING_SAMPLES, device="cpu")
        Iteration(trial)(epoch=1)


def table(rows: Sequence[TrainRow]) -> str:
    """The rows as text, each beside the yardstick of the same T where there is one.

    ``faster`` is the yardstick's time over this one's, ``memory`` this one's peak over the
    yardstick's. Where it was measured in both precisions, its fp32 is meant.
    """
    yardsticks: dict[int, TrainRow] = {}
    for row in rows:
        if row.method == YARDSTICK:
            yardsticks.setdefault(row.T, row)
    columns = ["method", "T", "precision", "s/iteration", "backward s", "peak MB", "resident MB"]
    if yardsticks:
        columns += ["faster", "memory"]
    lines = []
    for row in rows:
        line = [row.method, row.T, row.precision]
        line += [f"{row.seconds_per_iteration:.4g}", f"{row.backward_seconds_per_iteration:.4g}"]
        line += [f"{row.peak_mb_above_model:,.1f}", f"{row.resident_mb_above_model:,.1f}"]
        if beside := yardsticks.get(row.T):
            line.append(f"{beside.seconds_per_iteration / row.seconds_per_iteration:.2f}x")
            line.append(f"{row.peak_mb_above_model / beside.peak_mb_above_model:.2f}x")
        elif yardsticks:
            line += ["", ""]
        lines.append(line)
    first = rows[0]
    return (
        f"{first.network}, batch {first.batch}, on {first.device_name} ({first.device}), "
        f"{first.threads} threads\n{table_text(columns, lines)}"
    )


def _seconds(found: dict[str, Any]) -> float:
    return found["seconds_per_iteration"]
