"""A recipe as a whole, read from TOML."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.recipe.pruning import PruneRecipe
from neurodeploy.recipe.samples import AugmentationRecipe, DataRecipe, EncoderRecipe
from neurodeploy.recipe.training import NeuronRecipe, QuantizeRecipe, TrainingRecipe
from neurodeploy.support.reading import read_json, read_toml, toml_value
from neurodeploy.support.schema import build, builtin_names, find_toml
from neurodeploy.support.seals import SEAL

PACKAGE = "neurodeploy.models"


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        name: names the run folder; that of the file when not stated.
        description: what it is, in one line.
        data: which samples.
        neuron: the hidden neurons.
        training: the loop.
        network: its ``family``, and the options of that family; or a ``.nir`` file in the
            family's place, and what is to be said of it (``training.imported``).
        rule: its ``name``, and the options of that rule.
        encoder: how samples become input.
        augmentation: random changes of training samples.
        quantize: training on the integers of a target.
        prune: weights that are taken out.
        regularisers: by name, the options of each price on spikes (``sparsity.REGULARISERS``).
        seed: seed of every random draw.
    """

    name: str
    description: str
    data: DataRecipe
    neuron: NeuronRecipe
    training: TrainingRecipe
    network: dict[str, Any]
    rule: dict[str, Any] = field(default_factory=lambda: {"name": "sltt"})
    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    quantize: QuantizeRecipe = field(default_factory=QuantizeRecipe)
    seed: int = 0
    regularisers: dict[str, dict[str, Any]] = field(default_factory=dict)
    prune: PruneRecipe = field(default_factory=PruneRecipe)

    def __post_init__(self) -> None:
        if not isinstance(self.network.get("family"), str):
            raise ValueError("[network] needs a 'family', for example family = \"conv\"")
        if not isinstance(self.rule.get("name"), str):
            raise ValueError("[rule] needs a 'name', for example name = \"sltt\"")
        if self.quantize.bits and self.quantize.first_epoch > self.training.epochs:
            raise ValueError(
                f"[quantize] first_epoch = {self.quantize.first_epoch} comes after the last of "
                f"{self.training.epochs} epochs"
            )
        if self.prune.share and self.pruning_epochs[1] > self.training.epochs:
            raise ValueError(
                f"[prune] is done in epoch {self.pruning_epochs[1]}, after the last of "
                f"{self.training.epochs} epochs"
            )

    @property
    def first_epoch_to_keep(self) -> int:
        """The first epoch whose weights may be the result, counted from 1."""
        first = self.first_integer_epoch if self.quantize.bits else 1
        return max(first, self.pruning_epochs[1]) if self.prune.share else first

    @property
    def pruning_epochs(self) -> tuple[int, int]:
        """The first and the last epoch that begin with fewer weights, counted from 1."""
        return self.prune.epochs_of(self.training.epochs, self._begins_trained)

    def pruned_share_in(self, epoch: int) -> float:
        """The share of weights, or channels, that is zero in an epoch, counted from 1."""
        return self.prune.share_in(epoch, self.training.epochs, self._begins_trained)

    @property
    def _begins_trained(self) -> bool:
        return bool(self.training.start_from) or self.network["family"].endswith(".nir")

    @property
    def first_integer_epoch(self) -> int:
        """The first epoch on integers of a recipe that has some, counted from 1."""
        from_file = self.network["family"].endswith(".nir")
        return self.quantize.first_epoch_of(self.training, from_file)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dict, as JSON and TOML can hold it."""
        return dataclasses.asdict(self)


def builtin_recipes() -> dict[str, Recipe]:
    """All recipes that ship with the package, by name."""
    return {name: load_recipe(name) for name in builtin_names(PACKAGE)}


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by built-in name or path, with ``key=value`` overrides applied.

    Args:
        source: the path is of a TOML file, or of the ``recipe.json`` of a run.

    Raises:
        InputError: no such recipe, malformed TOML, unknown key or bad value.
    """
    path = recipe_file(source)
    table = _of_a_run(path) if path.suffix == ".json" else read_toml(path)
    for override in overrides:
        _apply_override(table, override)
    table.setdefault("name", path.stem)
    return build(Recipe, table, path.name)


def recipe_file(source: str | Path) -> Path:
    """The file of a recipe, by built-in name or path.

    Raises:
        InputError: no such recipe.
    """
    if str(source).endswith(".json"):
        if not (path := Path(source)).is_file():
            raise InputError(f"recipe {str(source)!r}: no such file")
        return path
    return find_toml(source, PACKAGE, "recipe")


def _of_a_run(path: Path) -> dict[str, Any]:
    """The table of a run's recipe; sealed or changed, it is a recipe for a new run."""
    table = read_json(path)
    table.pop(SEAL, None)
    return table


def recipe_from_dict(table: dict[str, Any], where: str) -> Recipe:
    """Rebuild a recipe that ``Recipe.as_dict`` wrote, for example from a run directory."""
    return build(Recipe, table, where)


def _apply_override(table: dict[str, Any], override: str) -> None:
    """Set ``a.b=value`` in nested tables; the value is read as TOML, else taken as a string."""
    given = Setting("overrides", repr(override))
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise InputError(Text(given, ": expected KEY=VALUE, for example training.epochs=5"))
    value = toml_value(text, f"override {dotted}")
    *parents, last = dotted.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise InputError(Text(given, f": {parent!r} is a value, not a table"))
    table[last] = value
