"""What lies on the disk: runs and deployments, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import read_recipe, read_run, read_training
from neurodeploy.artifacts.manifest import read_manifest
from neurodeploy.artifacts.names import COMPLETE, DEPLOYMENTS, MANIFEST, RECIPE, RUNS, SUMMARY
from neurodeploy.artifacts.removal import removed
from neurodeploy.artifacts.results import read_results
from neurodeploy.errors import InputError, NeurodeployError


@dataclass(frozen=True)
class RunEntry:
    """A run in a list.

    Attributes:
        state: ``complete``, ``unfinished``, or ``damaged`` with ``reason``.
        recipe: its name.
        created: when it was finished, in ISO 8601.
        scores: as ``train`` prints them as JSON; empty without a result.
        megabytes: that its files take.
    """

    path: str
    state: str
    recipe: str = ""
    created: str = ""
    scores: Mapping[str, Any] | None = None
    epochs: int | None = None
    seconds: float | None = None
    megabytes: float = 0.0
    reason: str = ""

    @property
    def score_text(self) -> str:
        """The test score, for people to read."""
        scores = self.scores or {}
        if scores.get("test_accuracy") is not None:
            return f"{scores['test_accuracy']:.2%}"
        return f"sMAPE {scores['test_smape']:.3f}" if "test_smape" in scores else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {**asdict(self), "scores": dict(self.scores or {})}


@dataclass(frozen=True)
class DeploymentEntry:
    """A deployment in a list.

    Attributes:
        state: ``complete``, or ``damaged`` with ``reason``.
        source: what was exported.
        digest: of what it does; two equal exports have the same.
        neurons, cores: of the network, and that they take.
        accuracy: by engine, of the simulations that are kept with it.
        megabytes: that its files take.
    """

    path: str
    state: str
    target: str = ""
    source: str = ""
    created: str = ""
    digest: str = ""
    neurons: int | None = None
    cores: int | None = None
    accuracy: Mapping[str, float] | None = None
    megabytes: float = 0.0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {**asdict(self), "accuracy": dict(self.accuracy or {})}


def list_runs(folder: Path = RUNS) -> list[RunEntry]:
    """The runs of a folder, the oldest first; damaged ones too."""
    return [run_entry(path) for path in _entries(folder, RECIPE, COMPLETE)]


def list_deployments(folder: Path = DEPLOYMENTS) -> list[DeploymentEntry]:
    """The deployments of a folder, the oldest first; damaged ones too."""
    return [deployment_entry(path) for path in _entries(folder, MANIFEST)]


def run_entry(path: Path) -> RunEntry:
    """A run as a list has it."""
    size = _megabytes(path)
    try:
        if not (path / COMPLETE).is_file():
            return RunEntry(str(path), "unfinished", read_recipe(path).name, megabytes=size)
        created, found = str(read_run(path).get("created", "")), read_training(path)
    except NeurodeployError as error:
        return RunEntry(str(path), "damaged", megabytes=size, reason=str(error))
    return RunEntry(
        path=str(path),
        state="complete",
        recipe=found.recipe.name,
        created=created,
        scores=found.scores,
        epochs=found.epochs,
        seconds=found.seconds,
        megabytes=size,
    )


def deployment_entry(path: Path) -> DeploymentEntry:
    """A deployment as a list has it."""
    size = _megabytes(path)
    try:
        found = read_deployment(path)
    except NeurodeployError as error:
        return DeploymentEntry(str(path), "damaged", megabytes=size, reason=str(error))
    results, _ = read_results(found, SUMMARY)
    accuracy = {
        str(result.values.get("engine")): result.values["accuracy"]
        for result in reversed(results)
        if isinstance(result.values.get("accuracy"), float)
    }
    return DeploymentEntry(
        path=str(path),
        state="complete",
        target=found.target.name,
        source=found.source,
        created=found.created,
        digest=found.digest,
        neurons=sum(use.neurons for use in found.mapping.uses),
        cores=len(found.mapping.uses),
        accuracy=accuracy,
        megabytes=size,
    )


def show_run(path: Path) -> dict[str, Any]:
    """What a run says about itself: its entry, then its recipe, and of a finished one its epochs.

    Raises:
        InputError: not a run.
    """
    _check(path, "run", RECIPE, COMPLETE)
    entry = run_entry(path)
    if entry.state == "damaged":
        return {**entry.as_dict(), "recipe": None, "history": []}
    if entry.state == "unfinished":
        return {**entry.as_dict(), "recipe": read_recipe(path).as_dict(), "history": []}
    found = read_training(path)
    figures = {name: value for name, value in entry.as_dict().items() if name != "recipe"}
    return {
        **figures,
        "best_epoch": found.best_epoch,
        "warnings": list(found.warnings),
        "recipe": found.recipe.as_dict(),
        "history": list(found.history),
    }


def show_deployment(path: Path) -> dict[str, Any]:
    """What a deployment says about itself: its entry, its network and what made it.

    Raises:
        InputError: not a deployment.
    """
    _check(path, "deployment", MANIFEST)
    entry = deployment_entry(path)
    if entry.state == "damaged":
        return entry.as_dict()
    manifest = read_manifest(path)
    return {
        **entry.as_dict(),
        "network": manifest["network"],
        "versions": manifest["versions"],
        "files": manifest["files"],
    }


def remove_run(path: Path) -> None:
    """Take a run off the disk.

    Raises:
        InputError: as ``artifacts.removal.removed``.
    """
    removed(path, (RECIPE, COMPLETE), "training run")


def remove_deployment(path: Path) -> None:
    """Take a deployment and its results off the disk.

    Raises:
        InputError: as ``artifacts.removal.removed``.
    """
    removed(path, (MANIFEST,), "deployment")


def check_removable(path: Path, kind: str) -> None:
    """Refuse before anybody is asked what is no run, or no deployment.

    Raises:
        InputError: it is none.
    """
    _check(path, kind, *((RECIPE, COMPLETE) if kind == "run" else (MANIFEST,)))


def _check(path: Path, kind: str, *markers: str) -> None:
    if not any((path / marker).is_file() for marker in markers):
        raise InputError(f"{path}: not a {kind} (no {' or '.join(markers)})")


def _entries(folder: Path, *markers: str) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [
        (max(times), path)
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and (times := [m.stat().st_mtime_ns for name in markers if (m := path / name).is_file()])
    ]
    return [path for _, path in sorted(found)]


def _megabytes(path: Path) -> float:
    files = (entry for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink())
    return round(sum(entry.stat().st_size for entry in files) / 1e6, 2)
