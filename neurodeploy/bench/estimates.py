"""Estimates held against chips: what whole networks took, beside what we estimate for them.

A network whose weights and input are at hand is simulated and estimated as any other. One of which
only sizes are published is estimated at a low and at a high rate of spikes, and its reading should
lie between. What a figure was fitted to tests nothing of what it sets, and is marked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from neurodeploy.bench.read_networks import READ_NETWORKS, ReadNetwork
from neurodeploy.errors import MissingDependencyError
from neurodeploy.mapping import map_network
from neurodeploy.mapping.estimate import Estimate, estimate
from neurodeploy.mapping.ranges import Range
from neurodeploy.mapping.readings import fitted_figures
from neurodeploy.reporting.text import table_text
from neurodeploy.target import Reading, Target, load_target

CHIPS = ("loihi1", "loihi2")
"""Targets with readings; systems of several chips have those of their chip."""


@dataclass(frozen=True)
class EstimateRow:
    """One quantity of one network.

    Attributes:
        network, chip: of the reading.
        quantity: with its unit.
        estimate: the geometric mean of ``low`` and ``high``.
        reading: what the chip took.
        ratio: of estimate to reading.
        low, high: the estimate's ends: all neurons inactive at the low rate to all active at the
            high one.
        known: ``network``, or ``sizes`` where the rates are assumed.
        fitted: figures that were fitted to this reading.
        assumed: what is not published.
    """

    network: str
    chip: str
    quantity: str
    estimate: float
    reading: float
    ratio: float
    low: float
    high: float
    known: str
    fitted: tuple[str, ...] = ()
    assumed: str = ""


@dataclass(frozen=True)
class Skipped:
    """A reading that nothing could be held against, and why."""

    network: str
    chip: str
    why: str


@dataclass(frozen=True)
class Estimates:
    """All that was held against chips."""

    rows: tuple[EstimateRow, ...]
    skipped: tuple[Skipped, ...] = field(default=())


def bench_estimates(targets: Iterable[str | Path] = CHIPS) -> Estimates:
    """Estimate every network that a target has a reading of.

    Args:
        targets: built-in ones or paths of a TOML.

    Raises:
        InputError: no such target.
    """
    rows: list[EstimateRow] = []
    skipped: list[Skipped] = []
    for target in map(load_target, targets):
        for reading in target.readings:
            make = READ_NETWORKS.get(reading.network)
            if make is None:
                skipped.append(Skipped(reading.network, target.name, "not published to rebuild"))
                continue
            try:
                rows += reading_rows(target, reading, make)
            except MissingDependencyError as error:
                skipped.append(Skipped(reading.network, target.name, str(error)))
    return Estimates(tuple(rows), tuple(skipped))


def reading_rows(
    target: Target, reading: Reading, make: Callable[[Target], ReadNetwork]
) -> list[EstimateRow]:
    """Every quantity of a reading that has an estimate.

    Raises:
        MissingDependencyError: the network is not at hand.
    """
    found = make(target)
    ends = [_estimated(found, number) for number in range(len(found.activity))]
    quantities: dict[str, tuple[Range, float]] = {}
    energies = [end.energy.total.scaled(1e-3) for end in ends if end.energy]
    if energies:
        quantities["dynamic energy (uJ)"] = _around(energies), reading.dynamic_uj
    steps = [end.step_ns.scaled(1e-3) for end in ends if end.step_ns]
    if steps:
        quantities["time of a step (us)"] = _around(steps), reading.step_us
    times = [end.sample_us for end in ends if end.sample_us]
    if energies and times and reading.total_uj and reading.static_mw:
        at_rest = [time.scaled(reading.static_mw * 1e-3) for time in times]
        total = [dynamic + rest for dynamic, rest in zip(energies, at_rest, strict=True)]
        quantities["energy in all (uJ)"] = _around(total), reading.total_uj
    energy, time = (fitted_figures(target, reading.network, which) for which in ("energy", "time"))
    fitted: Mapping[str, tuple[str, ...]] = {
        "dynamic energy (uJ)": energy,
        "time of a step (us)": time,
        # Power at rest is that of the same reading.
        "energy in all (uJ)": (*energy, *time, "power at rest"),
    }
    return [
        _row(target, reading, found, quantity, between, read, fitted.get(quantity, ()))
        for quantity, (between, read) in quantities.items()
    ]


def _estimated(found: ReadNetwork, number: int) -> Estimate:
    activity = found.activity[number]
    mapping = map_network(found.network, found.target, activity)
    return estimate(found.network, found.target, mapping, activity)


def _around(ranges: Iterable[Range]) -> Range:
    ends = list(ranges)
    return Range(min(end.low for end in ends), max(end.high for end in ends))


def _row(
    target: Target,
    reading: Reading,
    found: ReadNetwork,
    quantity: str,
    between: Range,
    read: float,
    fitted: tuple[str, ...],
) -> EstimateRow:
    middle = math.sqrt(between.low * between.high)
    return EstimateRow(
        network=reading.network,
        chip=target.name,
        quantity=quantity,
        estimate=middle,
        reading=read,
        ratio=middle / read,
        low=between.low,
        high=between.high,
        known=reading.known,
        fitted=fitted,
        assumed=found.assumed,
    )


def estimates_text(found: Estimates) -> str:
    """A table of estimates beside readings, and what was fitted, assumed and skipped."""
    columns = ("network", "chip", "quantity", "estimate", "low to high", "reading", "ratio", "is")
    rows = [
        (
            row.network,
            row.chip,
            row.quantity,
            f"{row.estimate:,.4g}",
            f"{row.low:,.4g} to {row.high:,.4g}",
            f"{row.reading:,.4g}",
            f"{row.ratio:.2f}",
            _kind(row),
        )
        for row in found.rows
    ]
    lines = [table_text(columns, rows)] if rows else []
    for row in found.rows:
        if row.fitted and row.known == "network":
            lines.append(
                f"fitted on {row.chip}: {', '.join(row.fitted)}, to {row.network}, whose "
                f"{row.quantity} is then not a prediction"
            )
    for network, assumed in dict.fromkeys((r.network, r.assumed) for r in found.rows if r.assumed):
        lines.append(f"bracket: {network} from its published sizes; assumed that {assumed}")
    lines += [f"skipped: {s.network} on {s.chip}: {s.why}" for s in found.skipped]
    return "\n".join(lines)


def _kind(row: EstimateRow) -> str:
    if row.known == "sizes":
        return "in the bracket" if row.low <= row.reading <= row.high else "outside the bracket"
    return "fitted" if row.fitted else "predicted"
