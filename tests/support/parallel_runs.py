"""What several processes train, and one process for comparison."""

from __future__ import annotations

import dataclasses
from typing import Any

from neurodeploy.recipe import DataRecipe, EncoderRecipe, NeuronRecipe, Recipe, TrainingRecipe

BATCH = 100
CASES: dict[str, dict[str, Any]] = {
    "sltt": {},
    "sltt-k": {"rule": {"name": "sltt-k", "K": 2}, "encoder": EncoderRecipe("rate")},
    "online": {"rule": {"name": "sltt", "update": "step"}},
    "in pieces": {"training": {"accumulate": 3}, "encoder": EncoderRecipe("rate")},
}
"""What two processes train, and one process in whole batches; nothing in it has batch norm."""

RESUMED = "resumed"
COMMAND = ["train", "digits_mlp", "--set", "training.epochs=2", "--json"]


def make_recipe(**changes: Any) -> Recipe:
    """A small MLP in float64, with batches that neither 2 nor 6 divides."""
    training = {
        "steps": 3,
        "epochs": 2,
        "batch_size": BATCH,
        "learning_rate": 0.1,
        "optimizer": "sgd",
        "precision": "fp64",
        **changes.pop("training", {}),
    }
    recipe = Recipe(
        name="small",
        description="for tests",
        data=DataRecipe("digits"),
        neuron=NeuronRecipe(2.0),
        training=TrainingRecipe(**training),
        network={"family": "mlp", "hidden": [24]},
    )
    return dataclasses.replace(recipe, **changes)
