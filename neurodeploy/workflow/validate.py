"""Validate: the same samples through two engines, compared bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import tee
from pathlib import Path

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import PARITY, PARITY_MAP
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.reporting.parity import ParityComparison, ParityReport
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.files import write_json
from neurodeploy.workflow.engines import batch_size, check_engine, make_engine

FLOAT_ENGINES = ("float", "norse")
"""Engines of the float network: compared with integers they show what quantisation changes, with
each other what rounding does, so neither pair has to agree bit for bit."""


@dataclass(frozen=True)
class ValidationResult:
    """A comparison and the files that hold it."""

    report: ParityReport
    summary: Path
    picture: Path
    page: Path


def validate(
    deployment: Deployment,
    samples: Samples,
    engines: tuple[str, str] = ("reference", "lava"),
    *,
    timeout: float | None = None,
    progress: bool = True,
) -> ValidationResult:
    """Compare every population, step and sample of two engines.

    Args:
        timeout: wall-clock limit in seconds for the Lava engines.

    Raises:
        InputError: the same engine twice, or one that does not exist.
        SimulationError: an engine failed.
    """
    from tqdm import tqdm

    from neurodeploy.reporting.activity_pictures import parity_map
    from neurodeploy.reporting.picture import write_picture
    from neurodeploy.reporting.report import write_report

    if len(engines) != 2 or engines[0] == engines[1]:
        raise InputError(
            Text(Setting("engines", ",".join(engines)), ": give two different engines")
        )
    for name in engines:
        check_engine(name)
    exact = not any(name in FLOAT_ENGINES for name in engines)
    comparison = ParityComparison(deployment.network, engines, exact=exact)
    size = batch_size(deployment.network)
    both = [make_engine(name, deployment, state=True, timeout=timeout) for name in engines]
    bar = tqdm(
        total=samples.count,
        desc=" against ".join(engines),
        unit="sample",
        disable=not progress,
    )
    try:
        # Both engines are given the very same batches, each encoded once.
        runs = [
            engine.run(batches, state=True)
            for engine, batches in zip(both, tee(samples.batches(size)), strict=True)
        ]
        for (batch, first), (_, second) in zip(*runs, strict=True):
            comparison.add(first, second, batch.labels)
            bar.update(len(batch))
    finally:
        bar.close()
        for engine in both:
            engine.close()
    report = comparison.report
    folder = deployment.results / f"{engines[0]}-{engines[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PARITY, report.as_dict())
    write_picture(parity_map(report), folder / PARITY_MAP)
    page = write_report(deployment)
    return ValidationResult(report, folder / PARITY, folder / PARITY_MAP, page)
