"""Ways of placing a network: how far messages travel with each, and what it takes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.names import MANIFEST
from neurodeploy.artifacts.simulations import read_activity
from neurodeploy.bench.configuration import bench_network
from neurodeploy.bench.paper_networks import paper_network
from neurodeploy.bench.process import answer, high_water_mb, run_to_its_end
from neurodeploy.errors import SimulationError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import map_network
from neurodeploy.mapping.estimate import estimate
from neurodeploy.mapping.placement import STRATEGIES
from neurodeploy.mapping.readings import error_text
from neurodeploy.quantization.post_training import quantize
from neurodeploy.reporting.cost_text import limit_text
from neurodeploy.reporting.text import table_text
from neurodeploy.target import load_target

RESNET = "resnet18"


@dataclass(frozen=True)
class MappingRow:
    """One strategy's figures.

    Attributes:
        measured: whether messages come from a simulation's spikes; else every neuron spikes once.
        between_cores, between_chips: messages in one sample.
        hops: steps from tile to tile that messages take within chips.
        violations: limits that do not hold; the same for every strategy.
        seconds: of mapping, from integers to cores.
        peak_mb: highest resident memory of the process until then.
        step_us: mean time of a step with these spikes, every neuron active; None where the target
            has no figures.
        step_error: how far off such estimates were on this chip.
        waits_for: what a step waits for and what would help, in words.
    """

    strategy: str
    network: str
    target: str
    cores: int
    chips: int
    measured: bool
    between_cores: float
    between_chips: float
    hops: float
    violations: int
    seconds: float
    peak_mb: float
    step_us: float | None
    step_error: str
    waits_for: str


def bench_mapping(network: str, target: str) -> Iterator[MappingRow]:
    """Map a network with every strategy, each in a process of its own.

    Args:
        network: a deployment that has been simulated, a name that ``bench_network`` knows, or
            ``resnet18``: the CIFAR network of the SLTT paper with random weights.
        target: built-in target or path of a TOML.

    Raises:
        InputError: one of them cannot be read.
        SimulationError: a measurement failed.
    """
    load_target(target)
    if not _is_deployment(network) and network != RESNET:
        bench_network(network, 1)
    for strategy in STRATEGIES:
        command = [sys.executable, "-m", "neurodeploy.bench.mapping", strategy, network, target]
        done = run_to_its_end(command)
        if done.returncode:
            raise SimulationError(f"bench of {strategy} failed: {done.stderr.strip()}")
        yield MappingRow(**json.loads(done.stdout.splitlines()[-1]))


def measure(strategy: str, name: str, target_name: str) -> MappingRow:
    """Map with one strategy in this process."""
    target = load_target(target_name)
    activity = None
    if _is_deployment(name):
        network = read_deployment(Path(name)).network
        activity = read_activity(Path(name), {p.name: p.shape for p in network.populations})
    else:
        float_network = paper_network(name, 6) if name == RESNET else bench_network(name, 1)
        network: QuantizedNetwork = quantize(float_network, target)
    started = time.perf_counter()
    mapping = map_network(network, target, activity, strategy)
    seconds = time.perf_counter() - started
    found = mapping.traffic
    if found is None:
        raise ValueError("a fresh mapping has its traffic")
    peak = high_water_mb()
    spikes = activity or {p.name: np.ones(p.shape) for p in network.populations}
    cost = estimate(network, target, mapping, spikes)
    return MappingRow(
        strategy=strategy,
        network=name,
        target=target.name,
        cores=len(mapping.uses),
        chips=mapping.chips,
        measured=found.measured,
        between_cores=found.between_cores,
        between_chips=found.between_chips,
        hops=found.hops_along_rows + found.hops_along_columns,
        violations=len(mapping.violations),
        seconds=seconds,
        peak_mb=peak,
        step_us=cost.step_ns and cost.step_ns.high / 1000,
        step_error=error_text(cost.checks, "time"),
        waits_for=limit_text(cost.limit) if cost.limit else "",
    )


def mapping_text(rows: Sequence[MappingRow]) -> str:
    """A table of strategies, what a step waits for with each, and how sure its time is."""
    tables = [asdict(row) for row in rows]
    columns = [name for name in tables[0] if name not in ("step_error", "waits_for")]
    lines = [table_text(columns, [[table[name] for name in columns] for table in tables])]
    lines += [f"{row.strategy}: {row.waits_for}" for row in rows if row.waits_for]
    errors = dict.fromkeys(row.step_error for row in rows if row.step_us is not None)
    return "\n".join([*lines, *(f"step_us against the chip: {error}" for error in errors)])


def _is_deployment(name: str) -> bool:
    return (Path(name) / MANIFEST).is_file()


if __name__ == "__main__":
    answer(lambda: asdict(measure(sys.argv[1], sys.argv[2], sys.argv[3])))
