"""Training runs that take a second, and how two of them are told apart."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from neurodeploy.recipe import DataRecipe, NeuronRecipe, Recipe, TrainingRecipe

EPOCHS = 4


def make_recipe(**changes: Any) -> Recipe:
    """A small MLP with batch norm: it learns in a second and has buffers to restore."""
    training = {
        "steps": 3,
        "epochs": EPOCHS,
        "batch_size": 128,
        "learning_rate": 0.01,
        "threads": 1,
        "warmup_epochs": 1,
        **changes.pop("training", {}),
    }
    recipe = Recipe(
        name="small",
        description="for tests",
        data=DataRecipe("digits"),
        neuron=NeuronRecipe(2.0),
        training=TrainingRecipe(**training),
        network={"family": "mlp", "hidden": [24], "batch_norm": True},
    )
    return dataclasses.replace(recipe, **changes)


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl without the wall time, the only entry that may differ."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert row.pop("seconds") > 0
    return rows


def summary_of(run: Path) -> dict[str, Any]:
    """run.json without what tells the time."""
    summary = json.loads((run / "run.json").read_text())
    del summary["created"], summary["seconds"], summary["sha256"]["metrics.jsonl"], summary["seal"]
    return summary


def assert_same_run(run: Path, other: Path) -> None:
    """Same metrics, result, weights and network, bit for bit."""
    assert metrics_of(run) == metrics_of(other)
    assert summary_of(run) == summary_of(other)
    for name in ("best.safetensors", "last.safetensors"):
        weights = safetensors.numpy.load_file(run / name)
        others = safetensors.numpy.load_file(other / name)
        assert weights.keys() == others.keys()
        for key, value in weights.items():
            np.testing.assert_array_equal(value, others[key])
