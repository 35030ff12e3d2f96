"""Validate: the same samples through two engines, compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import Deployment, deployment_at
from neurodeploy.artifacts.names import PARITY, PARITY_MAP, REPORT
from neurodeploy.artifacts.results import write_result
from neurodeploy.errors import CheckFailedError, InputError, Setting, Text
from neurodeploy.farm import Farm, Place, plan
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.reporting.parity import ParityComparison, ParityReport
from neurodeploy.simulation.trace import SampleBatch, Samples
from neurodeploy.support.figures import ornament, write_picture
from neurodeploy.support.files import check_writable, make_folder
from neurodeploy.support.log import LOG
from neurodeploy.workflow.bar import Bar
from neurodeploy.workflow.device import engine_device, named_device
from neurodeploy.workflow.engines import (
    FLOAT_ENGINES,
    Engine,
    EngineSettings,
    batch_size,
    check_engine,
    make_engine,
)
from neurodeploy.workflow.memory import check_memory, default_pair
from neurodeploy.workflow.samples import check_samples, choose_samples
from neurodeploy.workflow.shards import Cut, ValidationWork, cut, load_for, packed


@dataclass(frozen=True)
class ValidationResult:
    """A comparison and the files that hold it.

    Attributes:
        digest: of the deployment, as it was compared.
        device: that the ``reference`` computed on, as torch names it.
        warnings: why not the first choice of an engine, what looks like a mistake in the samples or
            in what is said of them, and what makes the comparison worth less than it seems.
    """

    report: ParityReport
    summary: Path
    picture: Path
    page: Path
    digest: str
    device: str = "cpu"
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The comparison, of what, and what looks like a mistake, as JSON holds them."""
        found = {
            "digest": self.digest,
            "device": self.device,
            "warnings": list(self.warnings),
        }
        return {**self.report.as_dict(), **found}


def validate(
    deployment: Deployment | Path | str,
    samples: Samples | None = None,
    engines: tuple[str, str] | None = None,
    *,
    timeout: float | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> ValidationResult:
    """Compare every population, step and sample of two engines.

    Args:
        deployment: or its path.
        samples: as ``workflow.samples.choose_samples`` gives them; when None, those of the test
            part of the data set that the deployment names, at most 64.
        engines: when None ``reference`` and ``lava``, or where that does not fit into memory
            ``lava-fused``, which ``warnings`` then say.
        timeout: wall-clock limit in seconds for the Lava engines, on each worker.
        workers: processes of this machine that share the samples; the result is the same.
        scheduler: address of a Dask scheduler whose workers share them instead.
        device: that the ``reference`` computes on, as torch names it, in this process; ``auto`` for
            a GPU where there is one.

    Raises:
        CheckFailedError: the device is not exact.
        InputError: the same engine twice, or one that does not exist; there is no such device, or
            it does not go with the engines or the workers.
        SimulationError: an engine failed, or both would not fit into memory.
    """
    from neurodeploy.reporting.pictures import parity_map
    from neurodeploy.reporting.report import write_report

    named = ("reference",) if engines is None else engines
    where = engine_device(device, named, workers=workers, scheduler=scheduler)
    deployment = deployment_at(deployment, "validate")
    if samples is None:
        samples = choose_samples(deployment.network, default_count=64)
    check_samples(samples, "validate")
    place = plan(workers, scheduler)
    network, size = deployment.network, batch_size(deployment.network)
    at_once, copies = min(size, samples.count), 1
    said: list[str] = []
    if engines is None:
        engines, reason = default_pair(network, at_once)
        said += [] if reason is None else [reason]
    check_pair(engines)
    pieces = None
    if place is not None:
        pieces = cut(samples, network, engines, place.expected)
        said += pieces.too_many(place)
        load_for(engines)
        at_once, copies = min(pieces.batch, samples.count), min(place.workers, pieces.shards)
    if place is None or place.here:
        check_memory(engines, network, at_once, state=True, setting="engines", copies=copies)
    folder = deployment.results / f"{engines[0]}-{engines[1]}"
    check_writable(folder / PARITY)
    settings = EngineSettings(at_once, True, timeout, where)
    bar = Bar(samples.count, " against ".join(engines), progress)
    LOG.info(f"Comparing {' with '.join(engines)} on {samples.count:,} samples ({samples.origin})")
    try:
        if place is None or pieces is None:
            report = _compared_here(deployment, engines, settings, samples.batches(size), bar)
        else:
            work = ValidationWork(packed(deployment, engines), engines, settings)
            report = _compared_on_workers(place, work, pieces, samples, bar)
    finally:
        bar.close()
    LOG.info("Writing results and report")
    make_folder(folder)
    doubts = (warning for found in report.predictions.values() for warning in found.warnings())
    chosen = (*deployment.warnings, *said)
    warnings = (*chosen, *samples.warnings, *report.warnings, *dict.fromkeys(doubts))
    picture = folder / PARITY_MAP
    result = ValidationResult(
        *(report, folder / PARITY, picture, deployment.path / REPORT, deployment.digest),
        *(named_device(where), warnings),
    )
    write_result(result.summary, result.as_dict(), deployment)
    with ornament(picture):
        write_picture(parity_map(report), picture)
        drawn = (picture.name, picture.with_suffix(".svg").name)
        write_result(result.summary, result.as_dict(), deployment, drawn)
    write_report(deployment)
    return result


def _compared_here(
    deployment: Deployment,
    engines: tuple[str, str],
    settings: EngineSettings,
    batches: Iterable[SampleBatch],
    bar: Bar,
) -> ParityReport:
    """Compare in this process."""
    made = {"state": True, "timeout": settings.timeout, "device": settings.device}
    with ExitStack() as held:
        pair = [make_engine(name, deployment, **made) for name in engines]
        for engine in pair:
            held.callback(engine.close)
        return compare(deployment.network, (pair[0], pair[1]), batches, bar.update)


def _compared_on_workers(
    place: Place, work: ValidationWork, pieces: Cut, samples: Samples, bar: Bar
) -> ParityReport:
    """Compare on workers, and put their reports together in the order of the samples."""
    report = work.comparison().report
    with Farm(place, work, pieces.shards, pieces.of(samples)) as farm:
        for part in farm.in_order(
            pieces.firsts(), pieces.name, lambda one: bar.update(one.samples)
        ):
            report.join(part)
    return report


def check_pair(engines: tuple[str, str]) -> None:
    """Refuse what is not two engines that exist, differ and can run here.

    Raises:
        InputError, MissingDependencyError: with what to do instead.
    """
    if len(engines) != 2 or engines[0] == engines[1]:
        raise InputError(
            Text(Setting("engines", ",".join(engines)), ": give two different engines")
        )
    for name in engines:
        check_engine(name)


def check_strict(report: ParityReport) -> None:
    """Refuse a comparison in which a population was silent: nothing behind it was put to a test.

    Raises:
        CheckFailedError: naming every one.
    """
    if report.untested:
        raise CheckFailedError(
            Text(
                Setting("strict"),
                f": on {report.samples:,} samples, ",
                ", ".join(report.untested),
                "; populations behind it were compared only while silent",
            )
        )


def compare(
    network: Network | QuantizedNetwork,
    engines: tuple[Engine, Engine],
    batches: Iterable[SampleBatch],
    done: Callable[[int], object] = lambda samples: None,
) -> ParityReport:
    """Compare two engines, with state, on the same batches.

    Args:
        network: what both simulate; of one in integers and one in floats, the integers.
        batches: each is made only once, and given to both.
        done: told the samples of a batch when it has been compared.
    """
    names = (engines[0].name, engines[1].name)
    exact = not any(name in FLOAT_ENGINES for name in names)
    comparison = ParityComparison(network, names, exact=exact)
    runs = [
        engine.run(same, state=True) for engine, same in zip(engines, tee(batches), strict=True)
    ]
    for (batch, first), (_, second) in zip(*runs, strict=True):
        comparison.add(first, second, batch.labels, batch.lengths)
        done(len(batch))
    return comparison.report
