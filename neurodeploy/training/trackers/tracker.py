"""What a training says to a service that keeps many of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from neurodeploy.recipe import Recipe

Ending = Literal["finished", "stopped", "failed"]
"""How a training ended: ``stopped`` can be gone on with, ``failed`` has diverged."""


class Tracker(Protocol):
    """One training in one service.

    Making one imports the service's package, and raises ImportError where that is absent. The
    methods raise whatever the package does; ``Tracking`` makes a message or a warning of it.
    """

    def start(self, run: Path, recipe: Recipe, known: str | None) -> str:
        """Begin a training, or go on with one.

        Args:
            run: its folder, by whose name people find it.
            recipe: kept by the service with the training.
            known: what this returned when the training began; None for a new one.

        Returns:
            What the service knows the training by.
        """
        ...

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Record one epoch, counted from 1: values by tag, as in TensorBoard."""
        ...

    def finish(self, summary: Mapping[str, float], ended: Ending) -> None:
        """Say how the training ended, with what came of it: empty unless it has finished."""
        ...


def flat(recipe: Recipe) -> dict[str, object]:
    """Every key of a recipe under its dotted name, as in ``training.epochs``."""
    found: dict[str, object] = {}
    tables: list[tuple[str, Mapping[str, object]]] = [("", recipe.as_dict())]
    for prefix, table in tables:
        for key, value in table.items():
            if isinstance(value, Mapping):
                tables.append((f"{prefix}{key}.", value))
            else:
                found[f"{prefix}{key}"] = value
    return found
