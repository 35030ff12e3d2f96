"""Simulate: a deployment on one engine, over as many samples as wanted."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from neurodeploy.artifacts.deployment import Deployment, deployment_at
from neurodeploy.artifacts.names import ACTIVITY, PREDICTIONS, RASTER, SUMMARY
from neurodeploy.artifacts.results import write_result
from neurodeploy.artifacts.simulations import ActivityCount, TraceFile, write_activity
from neurodeploy.errors import CheckFailedError, InputError, Setting, Text, nearest
from neurodeploy.mapping.estimate import estimate
from neurodeploy.simulation.early_exit import EarlyExit, EarlyReader, Exits
from neurodeploy.simulation.firing import firing_rates, firing_warnings, input_names
from neurodeploy.simulation.neurobench import NeuroBenchCount
from neurodeploy.simulation.reading import AnyPredictions, predictions_of, read
from neurodeploy.simulation.trace import Overflow, SampleBatch, Samples, SpikeTrace
from neurodeploy.simulation.values import PredictedValues, numbers
from neurodeploy.support.figures import ornament, write_picture
from neurodeploy.support.files import as_path, check_writable, make_folder, write_whole
from neurodeploy.workflow.engines import OverflowCount, batch_size, make_engine
from neurodeploy.workflow.forecast import forecast_series, series_of
from neurodeploy.workflow.memory import check_memory, default_engine
from neurodeploy.workflow.samples import check_samples, choose_samples
from neurodeploy.workflow.simulation_result import SimulationResult

METRICS = ("neurobench",)
"""Sets of metrics that can be asked for beside what is always counted."""


def simulate(
    deployment: Deployment | Path | str,
    samples: Samples | None = None,
    engine_name: str | None = None,
    *,
    trace: Path | str | None = None,
    trace_state: bool = False,
    strict: bool = False,
    metrics: Collection[str] = (),
    forecast: bool = False,
    early_exit: float | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> SimulationResult:
    """Simulate samples and keep a summary and a raster in the deployment's ``results/``.

    Args:
        deployment: or its path.
        samples: as ``workflow.samples.choose_samples`` gives them; when None, those of the test
            part of the data set that the deployment names.
        engine_name: which one; when None ``lava``, or where that is not installed or does not fit
            into memory what ``workflow.memory.default_engine`` finds, which ``warnings`` then say.
        trace: also write what happened to this ``.npz``; see ``artifacts.simulations``.
        trace_state: u and v of every step as well.
        strict: any wrap or saturation is an error.
        metrics: names of ``METRICS``; u and v are recorded for them, which takes memory and, in
            Lava, time.
        forecast: also predict the test part of a series from the network's own predictions.
        early_exit: also read each class as soon as it is sure, by this margin between the first and
            the second; see ``simulation.early_exit``.
        timeout: wall-clock limit in seconds for the Lava engines.

    Raises:
        CheckFailedError: ``strict``, and something overflowed.
        InputError: there are no such metrics, or the engine does not record what they count, or the
            margin is not above 0.
        UnsupportedError: ``forecast``, and the network predicts no series one value ahead.
        SimulationError: the engine failed, or would not fit into memory.
    """
    from tqdm import tqdm

    from neurodeploy.reporting.report import write_report

    check_metrics(metrics)
    deployment = deployment_at(deployment, "simulate")
    if forecast:
        _ = series_of(deployment.network)
    reader = None if early_exit is None else EarlyReader(deployment.network, early_exit)
    if samples is None:
        samples = choose_samples(deployment.network)
    check_samples(samples, "simulate")
    neurons = {p.name: p.shape for p in deployment.network.populations if p.neuron}
    deployment.mapping.check_holds(neurons)
    size = batch_size(deployment.network)
    at_once = min(size, samples.count)
    reason, state = None, trace_state or bool(metrics)
    if engine_name is None:
        engine_name, reason = default_engine(deployment.network, at_once, state=state)
    check_memory([engine_name], deployment.network, at_once, state=state)
    check_writable(deployment.results / engine_name / SUMMARY)
    engine = make_engine(engine_name, deployment, state=state, timeout=timeout)
    tally = _Tally(deployment, samples, metrics, reader)
    overflow = OverflowCount(engine, deployment.network)
    file = None if trace is None else as_path(trace, "simulate")
    writer = None if file is None else TraceFile(file, samples.count)
    started = time.perf_counter()
    spent_elsewhere = 0.0
    bar = tqdm(total=samples.count, desc=engine_name, unit="sample", disable=not progress)
    try:
        for batch, record in engine.run(samples.batches(size), state=state):
            pause = time.perf_counter()
            tally.add(record, batch)
            if writer:
                writer.add(record if trace_state else record.without_state())
            overflow.add(batch)
            bar.update(len(batch))
            spent_elsewhere += time.perf_counter() - pause
        seconds = time.perf_counter() - started - spent_elsewhere
        if writer:
            writer.finish(tally.predictions())
    finally:
        bar.close()
        engine.close()
        if writer:
            writer.discard()
    foreseen = forecast_series(deployment, engine_name, timeout=timeout) if forecast else None
    result = tally.result(engine_name, seconds, overflow.found, reason, foreseen)
    write_report(deployment)
    if strict:
        check_strict(result.wraps, result.saturations)
    return result


class _Tally:
    """Sums over batches, and the first sample for the raster."""

    def __init__(
        self,
        deployment: Deployment,
        samples: Samples,
        metrics: Collection[str] = (),
        reader: EarlyReader | None = None,
    ) -> None:
        self.deployment = deployment
        network = deployment.network
        self.neurobench = NeuroBenchCount(network) if "neurobench" in metrics else None
        self.samples = samples
        self.reader = reader
        self.exits: list[Exits] = []
        self.until_exit = ActivityCount()
        self.events: dict[str, int] = {}
        self.values: dict[str, int] = {}
        self.activity = ActivityCount()
        self.found: list[np.ndarray] = []
        self.first: SpikeTrace | None = None
        self.labels: np.ndarray | None = None

    def add(self, trace: SpikeTrace, batch: SampleBatch) -> None:
        until_end = trace.until(batch.lengths)
        for name, record in until_end.populations.items():
            self.events[name] = self.events.get(name, 0) + record.events
            self.values[name] = self.values.get(name, 0) + int(record.s.sum(dtype=np.int64))
        self.activity.add(until_end)
        if self.reader:
            self.exits.append(self.reader.read(trace, batch.lengths))
            self.until_exit.add(trace.until(self.exits[-1].steps))
        if self.neurobench:
            self.neurobench.add(trace.populations, batch.lengths)
        self.found.append(read(self.deployment.network, trace, batch.lengths))
        if self.first is None:
            self.first, self.labels = trace, batch.labels

    def predictions(self) -> AnyPredictions:
        """The classes or values of all samples so far."""
        found = np.concatenate(self.found) if self.found else np.zeros(0, np.int64)
        return predictions_of(self.deployment.network, found, self.samples.labels)

    def result(
        self,
        engine: str,
        seconds: float,
        overflow: Overflow,
        reason: str | None,
        foreseen: PredictedValues | None = None,
    ) -> SimulationResult:
        network, count = self.deployment.network, self.samples.count
        predictions = self.predictions()
        folder = self.deployment.results / engine
        make_folder(folder)
        activity = self.activity.mean()
        write_activity(folder / ACTIVITY, activity)
        rates = firing_rates(network, activity, self.samples.mean_steps)
        over = f"{count:,} samples ({self.samples.origin})"
        raster = folder / RASTER
        result = SimulationResult(
            engine=engine,
            deployment=self.deployment.path,
            origin=self.samples.origin,
            samples=count,
            steps=network.contract.steps,
            seconds=seconds,
            accuracy=predictions.accuracy,
            predictions=predictions,
            spikes_per_sample={name: events / count for name, events in self.events.items()},
            values_per_sample={name: values / count for name, values in self.values.items()},
            wraps={name: c.wraps for name, c in overflow.populations.items()},
            saturations={name: c.saturations for name, c in overflow.populations.items()},
            clipped_weights={p.name: p.clipped for p in network.projections},
            estimate=estimate(network, self.deployment.target, self.deployment.mapping, activity),
            raster=raster,
            firing_rates=rates,
            digest=self.deployment.digest,
            warnings=(
                *self.deployment.warnings,
                *([] if reason is None else [reason]),
                *self.samples.warnings,
                *firing_warnings(rates, over, input_names(network)),
                *predictions.warnings(),
            ),
            forecast=foreseen,
            metrics={"neurobench": self.neurobench.result(self.deployment.target)}
            if self.neurobench
            else {},
            early_exit=self.early_exit(predictions),
        )
        write_whole(folder / PREDICTIONS, predictions.rows())
        summary, files = result.as_dict(), (ACTIVITY, PREDICTIONS)
        write_result(folder / SUMMARY, summary, self.deployment, files)
        with ornament(raster):
            self._draw(raster, engine)
            drawn = (*files, raster.name, raster.with_suffix(".svg").name)
            write_result(folder / SUMMARY, summary, self.deployment, drawn)
        return result

    def early_exit(self, predictions: AnyPredictions) -> EarlyExit | None:
        """What early exit makes of the samples so far, beside their classes after all steps."""
        if self.reader is None:
            return None
        network, labels = self.deployment.network, self.samples.labels
        found = Exits.joined(self.exits)
        cost = estimate(
            network, self.deployment.target, self.deployment.mapping, self.until_exit.mean()
        )
        mean_steps, energy = float(found.steps.mean()), None
        if cost.energy is not None:
            # Guard steps come after a sample however long it was.
            used = cost.steps - network.contract.steps + mean_steps
            energy = replace(cost.energy, updates=cost.energy.updates.scaled(used / cost.steps))
        return EarlyExit(
            margin=self.reader.margin,
            unit=self.reader.unit,
            decode=self.reader.decode,
            accuracy=None if labels is None else float((found.classes == labels).mean()),
            agreement=float((found.classes == predictions.predicted).mean()),
            mean_steps=mean_steps,
            all_steps=self.samples.mean_steps,
            steps=tuple(found.steps.tolist()),
            predicted=tuple(found.classes.tolist()),
            energy_nj=energy and asdict(energy.total),
        )

    def _draw(self, path: Path, engine: str) -> None:
        from neurodeploy.reporting.pictures import raster

        if self.first is None:
            return
        title = f"{self.deployment.path.name} on {engine}: {self.samples.origin}, sample 0"
        title += f", predicted {_text(self.found[0])}"
        if self.labels is not None:
            title += f" (label {_text(self.labels)})"
        write_picture(raster(self.first, title), path)


def _text(found: np.ndarray) -> str:
    """The class or the values of the first sample."""
    return str(int(found[0])) if found.ndim == 1 else numbers(found[0])


def check_metrics(names: Collection[str]) -> None:
    """Refuse metrics that there are not.

    Raises:
        InputError: naming the first of them.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(
                Text(Setting("metrics", name), f": no such metrics{nearest(name, METRICS)}")
            )


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
