"""Simulate: a deployment on one engine, over as many samples as wanted."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import ACTIVITY, RASTER, REPORT, SUMMARY
from neurodeploy.artifacts.simulations import ActivityCount, TraceFile, write_activity
from neurodeploy.errors import CheckFailedError, Setting, Text
from neurodeploy.mapping.estimate import Estimate, estimate
from neurodeploy.simulation.trace import Overflow, SampleBatch, Samples, SpikeTrace
from neurodeploy.support.files import write_json
from neurodeploy.workflow.engines import OverflowCount, batch_size, make_engine


@dataclass(frozen=True)
class SimulationResult:
    """What a simulation found.

    Attributes:
        accuracy: share of samples whose predicted class is the label, or None without labels.
        spikes_per_sample: mean number of spikes by population (sum of integers for graded input).
        wraps, saturations: arithmetic overflow by population; for the Lava engine, whose own
            processes do not report it, counted by the reference on the same samples.
        clipped_weights: by projection, from quantisation.
        estimate: what a sample costs on the chip, from the spikes of this simulation.
        raster: the picture, or None.
    """

    engine: str
    deployment: Path
    origin: str
    samples: int
    steps: int
    seconds: float
    accuracy: float | None
    spikes_per_sample: dict[str, float]
    wraps: dict[str, int]
    saturations: dict[str, int]
    clipped_weights: dict[str, int]
    estimate: Estimate
    raster: Path | None

    @property
    def report(self) -> Path:
        """The deployment's report, which tells of this simulation too."""
        return self.deployment / REPORT

    @property
    def samples_per_second(self) -> float:
        """Samples simulated per second of wall time, building the engine included."""
        return self.samples / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {
            **asdict(self),
            "deployment": str(self.deployment),
            "estimate": self.estimate.to_dict(),
            "raster": self.raster and str(self.raster),
            "report": str(self.report),
            "samples_per_second": self.samples_per_second,
            "total_spikes_per_sample": sum(self.spikes_per_sample.values()),
        }


def simulate(
    deployment: Deployment,
    samples: Samples,
    engine_name: str = "lava",
    *,
    trace: Path | None = None,
    trace_state: bool = False,
    strict: bool = False,
    timeout: float | None = None,
    progress: bool = True,
) -> SimulationResult:
    """Simulate samples and keep a summary and a raster in the deployment's ``results/``.

    Args:
        trace: also write what happened to this ``.npz``; see ``artifacts.simulations``.
        trace_state: u and v of every step as well.
        strict: any wrap or saturation is an error.
        timeout: wall-clock limit in seconds for the Lava engines.

    Raises:
        CheckFailedError: ``strict``, and something overflowed.
        SimulationError: the engine failed.
    """
    from tqdm import tqdm

    from neurodeploy.reporting.report import write_report

    engine = make_engine(engine_name, deployment, state=trace_state, timeout=timeout)
    tally = _Tally(deployment, samples)
    size = batch_size(deployment.network)
    overflow = OverflowCount(engine, deployment.network)
    writer = TraceFile(trace, samples.count) if trace else None
    started = time.perf_counter()
    spent_elsewhere = 0.0
    bar = tqdm(total=samples.count, desc=engine_name, unit="sample", disable=not progress)
    try:
        for batch, record in engine.run(samples.batches(size), state=trace_state):
            pause = time.perf_counter()
            tally.add(record, batch)
            if writer:
                writer.add(record)
            overflow.add(batch)
            bar.update(len(batch))
            spent_elsewhere += time.perf_counter() - pause
        seconds = time.perf_counter() - started - spent_elsewhere
        if writer:
            writer.finish()
    finally:
        bar.close()
        engine.close()
        if writer:
            writer.discard()
    result = tally.result(engine_name, seconds, overflow.found)
    write_report(deployment)
    if strict:
        check_strict(result.wraps, result.saturations)
    return result


class _Tally:
    """Sums over batches, and the first sample for the raster."""

    def __init__(self, deployment: Deployment, samples: Samples) -> None:
        self.deployment = deployment
        self.samples = samples
        self.spikes: dict[str, int] = {}
        self.activity = ActivityCount()
        self.correct = 0
        self.first: SpikeTrace | None = None
        self.label: int | None = None
        self.prediction = 0

    def add(self, trace: SpikeTrace, batch: SampleBatch) -> None:
        for name, record in trace.populations.items():
            self.spikes[name] = self.spikes.get(name, 0) + int(record.s.sum(dtype=np.int64))
        self.activity.add(trace)
        predictions = trace.predictions(self.deployment.network.contract.decode)
        if batch.labels is not None:
            self.correct += int((predictions == batch.labels).sum())
        if self.first is None:
            self.first = trace
            self.prediction = int(predictions[0])
            self.label = None if batch.labels is None else int(batch.labels[0])

    def result(self, engine: str, seconds: float, overflow: Overflow) -> SimulationResult:
        network, count = self.deployment.network, self.samples.count
        folder = self.deployment.results / engine
        folder.mkdir(parents=True, exist_ok=True)
        activity = self.activity.mean()
        write_activity(folder / ACTIVITY, activity)
        raster = folder / RASTER
        self._draw(raster, engine)
        result = SimulationResult(
            engine=engine,
            deployment=self.deployment.path,
            origin=self.samples.origin,
            samples=count,
            steps=network.contract.steps,
            seconds=seconds,
            accuracy=None if self.samples.labels is None else self.correct / count,
            spikes_per_sample={name: spikes / count for name, spikes in self.spikes.items()},
            wraps={name: c.wraps for name, c in overflow.populations.items()},
            saturations={name: c.saturations for name, c in overflow.populations.items()},
            clipped_weights={p.name: p.clipped for p in network.projections},
            estimate=estimate(network, self.deployment.target, self.deployment.mapping, activity),
            raster=raster,
        )
        write_json(folder / SUMMARY, result.as_dict())
        return result

    def _draw(self, path: Path, engine: str) -> None:
        from neurodeploy.reporting.pictures import raster, write_picture

        if self.first is None:
            return
        title = f"{self.deployment.path.name} on {engine}: {self.samples.origin}, sample 0"
        title += f", predicted {self.prediction}"
        if self.label is not None:
            title += f" (label {self.label})"
        write_picture(raster(self.first, title), path)


def check_strict(wraps: dict[str, int], saturations: dict[str, int]) -> None:
    """Refuse any overflow. Clipped weights are none: a search for scales chooses to clip.

    Raises:
        CheckFailedError: naming every population with its counts.
    """
    problems = [
        f"population {name!r}: {count:,} {what}"
        for counts, what in (
            (wraps, "wraps of u beyond 24 bits"),
            (saturations, "saturations of v at 24 bits"),
        )
        for name, count in counts.items()
        if count
    ]
    if problems:
        raise CheckFailedError(
            Text(Setting("strict"), ": arithmetic overflowed:\n  ", "\n  ".join(problems))
        )
