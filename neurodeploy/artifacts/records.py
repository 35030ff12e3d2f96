"""What a deployment remembers of where it came from: its training, and its part for lava-dl."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from neurodeploy.recipe import Recipe


@dataclass(frozen=True)
class TrainingRecord:
    """A finished training run.

    Attributes:
        recipe: what was trained, and how.
        test_accuracy, validation_accuracy: of the best epoch, 0 to 1.
        best_epoch: counted from 1.
        epochs: how many were trained.
        seconds: that they took.
        history: the metrics of each epoch, as the run's log holds them.
    """

    recipe: Recipe
    test_accuracy: float
    validation_accuracy: float
    best_epoch: int
    epochs: int
    seconds: float
    history: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)


@dataclass(frozen=True)
class NetxRecord:
    """The part of a deployment that is for lava-dl.

    Attributes:
        file: name of the ``.net``, None when there is none.
        missing: why there is none, one reason each.
        settings: how the ``.net`` is run; its format does not say.
    """

    file: str | None = None
    missing: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)
