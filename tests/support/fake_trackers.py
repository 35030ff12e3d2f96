"""MLflow and Weights & Biases as far as trainings call them; anything else is an AttributeError."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest


@dataclass
class KeptRun:
    """One run as a service has it.

    Attributes:
        rows: step and value of every logged tag, in order.
        statuses: every state that it was in.
        finished: what was logged beside epochs.
    """

    name: str
    group: str
    params: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    statuses: list[str] = field(default_factory=list)
    finished: dict[str, float] = field(default_factory=dict)

    def add(self, tag: str, step: int, value: float) -> None:
        self.rows.setdefault(tag, []).append((step, value))


@dataclass
class Service:
    """What was sent.

    Attributes:
        runs: by identity.
        broken: what every call for an epoch or a beginning raises, if anything.
    """

    runs: dict[str, KeptRun] = field(default_factory=dict)
    broken: Exception | None = None

    def called(self) -> None:
        if self.broken is not None:
            raise self.broken

    @property
    def only(self) -> KeptRun:
        (run,) = self.runs.values()
        return run


class _Metric(NamedTuple):
    key: str
    value: float
    timestamp: int
    step: int


class _Param(NamedTuple):
    key: str
    value: str


def fake_mlflow(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Put a module in MLflow's place."""
    service = Service()
    experiments: dict[str, str] = {}

    class Client:
        def get_experiment_by_name(self, name: str) -> Any:
            found = experiments.get(name)
            return found and SimpleNamespace(experiment_id=found)

        def create_experiment(self, name: str) -> str:
            return experiments.setdefault(name, f"experiment {name}")

        def create_run(self, experiment_id: str, *, run_name: str) -> Any:
            service.called()
            identity = f"run{len(service.runs)}"
            service.runs[identity] = KeptRun(run_name, experiment_id, statuses=["RUNNING"])
            return SimpleNamespace(info=SimpleNamespace(run_id=identity))

        def update_run(self, run_id: str, *, status: str) -> None:
            service.runs[run_id].statuses.append(status)

        def log_batch(self, run_id: str, *, metrics: Any = (), params: Any = ()) -> None:
            service.called()
            run = service.runs[run_id]
            run.params.update({param.key: param.value for param in params})
            for metric in metrics:
                assert metric.timestamp > 1.7e12, "milliseconds"
                run.add(metric.key, metric.step, metric.value)

        def set_terminated(self, run_id: str, *, status: str) -> None:
            print("View run at http://localhost")
            service.runs[run_id].statuses.append(status)

    module, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    module.__dict__.update(MlflowClient=Client, MlflowException=RuntimeError, entities=entities)
    entities.__dict__.update(Metric=_Metric, Param=_Param)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return service


def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Put a module in Weights & Biases' place."""
    service = Service()

    class Run:
        def __init__(self, identity: str) -> None:
            self.id = identity
            self.summary = service.runs[identity].finished

        def log(self, values: dict[str, float], *, step: int, commit: bool) -> None:
            service.called()
            assert commit
            for tag, value in values.items():
                service.runs[self.id].add(tag, step, value)

        def finish(self, *, exit_code: int) -> None:
            service.runs[self.id].statuses.append(f"exit {exit_code}")

    def init(
        *,
        project: str,
        name: str,
        config: dict[str, Any],
        id: str | None,
        resume: str,
        reinit: str,
    ) -> Run:
        service.called()
        assert (resume, reinit) == ("allow", "create_new")
        identity = id or f"run{len(service.runs)}"
        run = service.runs.setdefault(identity, KeptRun(name, project, config))
        run.statuses.append("RUNNING")
        return Run(identity)

    module = ModuleType("wandb")
    module.__dict__.update(init=init)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return service
