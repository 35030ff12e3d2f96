"""Simulate: a deployment on one engine, over as many samples as wanted."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from neurodeploy.artifacts.deployment import Deployment, deployment_at
from neurodeploy.artifacts.names import SUMMARY
from neurodeploy.artifacts.simulations import TraceFile
from neurodeploy.errors import (
    CheckFailedError,
    InputError,
    InterruptionError,
    Setting,
    Text,
    nearest,
)
from neurodeploy.farm import Farm, Place, plan
from neurodeploy.simulation.early_exit import EarlyReader
from neurodeploy.simulation.trace import Samples, SpikeTrace
from neurodeploy.support.files import as_path, check_writable
from neurodeploy.support.log import LOG
from neurodeploy.support.signals import signals_deferred
from neurodeploy.workflow.all_cores import workers_worthwhile
from neurodeploy.workflow.bar import Bar
from neurodeploy.workflow.device import engine_device, named_device
from neurodeploy.workflow.engines import (
    EngineSettings,
    OverflowCount,
    batch_size,
    check_engine,
    make_engine,
)
from neurodeploy.workflow.forecast import forecast_series, series_of
from neurodeploy.workflow.memory import check_memory, default_engine
from neurodeploy.workflow.outcome import Outcome
from neurodeploy.workflow.samples import check_samples, choose_samples
from neurodeploy.workflow.shards import Cut, SimulationWork, cut, load_for, packed
from neurodeploy.workflow.simulation_result import SimulationResult
from neurodeploy.workflow.tally import Tally
from neurodeploy.workflow.unfinished import Unfinished, identity

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
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "cpu",
    all_cores: bool = False,
    resume: bool = False,
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
        timeout: wall-clock limit in seconds for the Lava engines, on each worker.
        workers: processes of this machine that share the samples; the result is the same.
        scheduler: address of a Dask scheduler whose workers share them instead.
        device: that the ``reference`` computes on, as torch names it, in this process; ``auto`` for
            a GPU where there is one. The result is the same.
        all_cores: on the ``reference`` take as many workers as there is work for, where neither of
            these is given; see ``workflow.all_cores``. They are copies of this process.
        resume: go on with the simulation of these samples that was cut short; its counts are kept
            in the results while it runs.

    Raises:
        CheckFailedError: ``strict``, and something overflowed; or the device is not exact.
        InputError: there are no such metrics, or the engine does not record what they count, or the
            margin is not above 0; or there is nothing to resume; or there is no such device, or it
            does not go with the engine or the workers.
        InterruptionError: Ctrl-C; what was counted can be gone on from.
        UnsupportedError: ``forecast``, and the network predicts no series one value ahead.
        SimulationError: the engine failed, or would not fit into memory.
    """
    from neurodeploy.reporting.report import write_report

    check_metrics(metrics)
    if resume and trace is not None:
        raise InputError(
            Text(
                Setting("resume"),
                " continues from counts, which hold no trace; simulate again for ",
                Setting("trace"),
            )
        )
    named = () if engine_name is None else (engine_name,)
    where = engine_device(device, named, workers=workers, scheduler=scheduler)
    deployment = deployment_at(deployment, "simulate")
    if forecast:
        _ = series_of(deployment.network)
    reader = None if early_exit is None else EarlyReader(deployment.network, early_exit)
    if samples is None:
        samples = choose_samples(deployment.network)
    check_samples(samples, "simulate")
    neurons = {p.name: p.shape for p in deployment.network.populations if p.neuron}
    deployment.mapping.check_holds(neurons)
    place = plan(workers, scheduler)
    size = batch_size(deployment.network)
    at_once = min(size, samples.count)
    copies = 1 if place is None else place.workers
    said: list[str] = []
    state = trace_state or bool(metrics)
    if engine_name is None:
        engine_name, reason = default_engine(deployment.network, at_once, state=state)
        said += [] if reason is None else [reason]
    check_engine(engine_name)
    alone = workers is scheduler is where is trace is None
    if all_cores and alone and engine_name == "reference":
        place = plan(workers_worthwhile(deployment.network, samples, state=state), None)
        copies = 1 if place is None else place.workers
    pieces = None
    if place is not None:
        pieces = cut(
            *(samples, deployment.network, [engine_name], place.expected),
            whole_batches=bool(metrics),
        )
        said += pieces.too_many(place)
        load_for([engine_name])
        at_once, copies = min(pieces.batch, samples.count), min(copies, pieces.shards)
    if place is None or place.here:
        check_memory([engine_name], deployment.network, at_once, state=state, copies=copies)
    check_writable(deployment.results / engine_name / SUMMARY)
    settings = EngineSettings(at_once, state, timeout, where)
    tally = Tally(deployment.network, metrics, reader)
    file = None if trace is None else as_path(trace, "simulate")
    writer = None if file is None else TraceFile(file, samples.count)
    outcome = Outcome(deployment, samples, tally, named_device(where))
    results = deployment.results / engine_name
    asked = {"metrics": sorted(metrics), "early_exit": early_exit, "state": state}
    kept = Unfinished(results, identity(deployment, samples, engine_name, asked))
    bar = Bar(samples.count, engine_name, progress)
    LOG.info(f"Simulating {samples.count:,} samples ({samples.origin}) on {engine_name}")
    try:
        if resume:
            seconds_before = kept.resumed(tally)
            tally.labels = None if samples.labels is None else samples.labels[:1]
            bar.go_on(tally.activity.samples, seconds_before)
        start = tally.activity.samples
        if place is None or pieces is None:
            counted = _here(deployment, samples, engine_name, settings, tally, bar)
        else:
            work = SimulationWork(
                packed(deployment, [engine_name]),
                engine_name,
                settings,
                tuple(metrics),
                early_exit,
                traces=writer is not None,
                with_state=trace_state,
            )
            rest = replace(pieces, start=start)
            counted = _on_workers(place, work, rest, samples, tally, bar)
        with closing(counted):
            for records in counted:
                if writer is None:
                    kept.keep_now_and_then(tally, bar.seconds)
                    continue
                for record in records:
                    writer.add(record if trace_state else record.without_state())
        seconds = bar.seconds
        if writer:
            writer.finish(outcome.predictions())
    except BaseException as error:
        with signals_deferred():
            going_on = writer is None and kept.keep(tally, bar.seconds)
        if going_on and isinstance(error, KeyboardInterrupt):
            raise InterruptionError(
                f"interrupted after {tally.activity.samples:,} of {samples.count:,} samples",
                fix=Text("the same command with ", Setting("resume"), " continues"),
            ) from None
        raise
    finally:
        bar.close()
        if writer:
            writer.discard()
    foreseen = None
    if forecast:
        foreseen = forecast_series(deployment, engine_name, timeout=timeout, device=where)
    LOG.info("Writing results and report")
    result = outcome.result(engine_name, seconds, said, foreseen)
    kept.discard()
    write_report(deployment)
    if strict:
        check_strict(result.wraps, result.saturations)
    return result


def _here(
    deployment: Deployment,
    samples: Samples,
    engine_name: str,
    settings: EngineSettings,
    tally: Tally,
    bar: Bar,
) -> Generator[tuple[SpikeTrace, ...], None, None]:
    """Simulate in this process what is not counted yet; yields batch by batch what was counted."""
    how = {"state": settings.state, "timeout": settings.timeout, "device": settings.device}
    engine = make_engine(engine_name, deployment, **how)
    try:
        overflow = OverflowCount(engine, deployment.network)
        overflow.found.join(tally.overflow)
        bar.start()
        start = tally.activity.samples
        batches = samples.batches(batch_size(deployment.network), start)
        for batch, record in engine.run(batches, state=settings.state):
            overflow.add(batch)
            # Counts are those of whole batches, whatever interrupts.
            with signals_deferred():
                tally.add(record, batch)
                tally.overflow = overflow.found.copy()
                bar.update(len(batch))
            yield (record,)
        tally.overflow = overflow.found
    finally:
        engine.close()


def _on_workers(
    place: Place, work: SimulationWork, pieces: Cut, samples: Samples, tally: Tally, bar: Bar
) -> Generator[tuple[SpikeTrace, ...], None, None]:
    """Simulate on workers; yields traces, where these are wanted, in the order of the samples."""
    bar.start()
    with Farm(place, work, pieces.shards, pieces.of(samples)) as farm:
        for done in farm.in_order(
            pieces.firsts(), pieces.name, lambda one: bar.update(one.tally.activity.samples)
        ):
            with signals_deferred():
                tally.join(done.tally)
            yield done.traces


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
