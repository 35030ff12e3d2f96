"""How time and memory of mapping grow with the number of neurons."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.bench.large_networks import FEWEST, large_network
from neurodeploy.bench.process import answer, high_water_mb, run_alone
from neurodeploy.errors import CheckFailedError, InputError, Setting, Text
from neurodeploy.mapping import map_network
from neurodeploy.reporting.text import table_text
from neurodeploy.target import load_target

MOST = 2**31 - 1
"""Neurons of a generated network at most."""


@dataclass(frozen=True)
class GrowthRow:
    """One size's figures.

    Attributes:
        neurons, synapses: of the network, kernels written out.
        refused: why it does not fit the target; then it has no cores.
        violations: limits that do not hold.
        made_seconds: CPU time in which the network was generated.
        cpu_seconds, seconds: CPU and wall time of mapping, from integers to cores, with checks.
        peak_mb: highest resident memory of the process, the network included.
    """

    neurons: int
    synapses: int
    target: str
    cores: int
    chips: int
    violations: int
    made_seconds: float
    cpu_seconds: float
    seconds: float
    peak_mb: float
    refused: str = ""


@dataclass(frozen=True)
class Growth:
    """Fitted exponents k of cost = c neurons^k over several sizes.

    Attributes:
        time, memory: of CPU time and of peak memory.
        n_log_n: of n log n between the same sizes, the same way.
    """

    time: float
    memory: float
    n_log_n: float

    @property
    def bounded(self) -> bool:
        """Whether neither grows faster than n log n."""
        return max(self.time, self.memory) <= self.n_log_n


def bench_growth(sizes: Sequence[float], target: str) -> Iterator[GrowthRow]:
    """Map a generated network of each size, each in a process of its own.

    Args:
        sizes: numbers of neurons.
        target: built-in target or path of a TOML.

    Raises:
        InputError: a size is out of range, or the target cannot be read.
        SimulationError: a measurement failed.
    """
    load_target(target)
    for size in sizes:
        if not FEWEST <= size <= MOST:
            raise InputError(
                Text(
                    Setting("neurons", ",".join(f"{size:g}" for size in sizes)),
                    f": needs numbers from {FEWEST:,} to {MOST:,}",
                )
            )
    for size in sizes:
        what = f"{size:,.0f} neurons"
        yield GrowthRow(**run_alone(__name__, [str(int(size)), target], what))


def measure(neurons: int, target_name: str) -> GrowthRow:
    """Generate and map in this process."""
    target = load_target(target_name)
    started = time.process_time()
    network = large_network(neurons)
    made = time.process_time() - started
    sizes = [math.prod(p.shape) for p in network.populations if p.neuron is not None]
    found: dict[str, Any] = {"cores": 0, "chips": 0, "violations": 1}
    since, started = time.perf_counter(), time.process_time()
    try:
        mapping = map_network(network, target)
        violations = len(mapping.violations)
        found = {"cores": len(mapping.uses), "chips": mapping.chips, "violations": violations}
    except CheckFailedError as error:
        found["refused"] = str(error)
    return GrowthRow(
        neurons=sum(sizes),
        synapses=sum(projection.operator.connections for projection in network.projections),
        target=target.name,
        made_seconds=made,
        cpu_seconds=time.process_time() - started,
        seconds=time.perf_counter() - since,
        peak_mb=high_water_mb(),
        **found,
    )


def fitted(rows: Sequence[GrowthRow]) -> Growth | None:
    """Exponents over the sizes that were mapped; None of fewer than two."""
    mapped = [row for row in rows if not row.refused]
    if len({row.neurons for row in mapped}) < 2:
        return None
    neurons = np.array([row.neurons for row in mapped], np.float64)

    def exponent(cost: np.ndarray) -> float:
        return float(np.polyfit(np.log(neurons), np.log(cost), 1)[0])

    return Growth(
        time=exponent(np.array([row.cpu_seconds for row in mapped])),
        memory=exponent(np.array([row.peak_mb for row in mapped])),
        n_log_n=exponent(neurons * np.log(neurons)),
    )


def growth_text(rows: Sequence[GrowthRow]) -> str:
    """A table of sizes, why some were refused, and the exponents."""
    tables = [asdict(row) for row in rows]
    columns = [name for name in tables[0] if name != "refused"]
    lines = [table_text(columns, [[table[name] for name in columns] for table in tables])]
    lines += [row.refused for row in rows if row.refused]
    if found := fitted(rows):
        lines.append(
            f"cost grows as neurons^k: k = {found.time:.2f} of time, {found.memory:.2f} of memory; "
            f"of n log n {found.n_log_n:.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    answer(lambda: asdict(measure(int(sys.argv[1]), sys.argv[2])))
