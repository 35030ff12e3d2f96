"""Recipes: everything that defines a training run, read from TOML.

A recipe is found by name among the built-in ones (``models/*.toml``) or by path. Keys can be
overridden one by one (``training.epochs=5``). Nothing is guessed: an unknown key is refused.
"""

from neurodeploy.recipe.pruning import PruneBy, PruneOver, PruneRecipe
from neurodeploy.recipe.recipe import Recipe, builtin_recipes, load_recipe, recipe_from_dict
from neurodeploy.recipe.samples import AugmentationRecipe, DataRecipe, EncoderRecipe
from neurodeploy.recipe.training import (
    ClassWeights,
    LossOver,
    MseTarget,
    NeuronRecipe,
    Precision,
    QuantizeRecipe,
    TrainingRecipe,
)

__all__ = [
    "AugmentationRecipe",
    "ClassWeights",
    "DataRecipe",
    "EncoderRecipe",
    "LossOver",
    "MseTarget",
    "NeuronRecipe",
    "Precision",
    "PruneBy",
    "PruneOver",
    "PruneRecipe",
    "QuantizeRecipe",
    "Recipe",
    "TrainingRecipe",
    "builtin_recipes",
    "load_recipe",
    "recipe_from_dict",
]
