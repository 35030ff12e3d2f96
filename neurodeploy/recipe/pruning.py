"""What a recipe says of weights that are taken out while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PruneBy = Literal["weight", "channel"]
PruneOver = Literal["layer", "network"]


@dataclass(frozen=True)
class PruneRecipe:
    """Weights that become zero and stay zero; none by default. See ``docs/training.md``.

    Attributes:
        share: share of the weights, or channels, that are zero at the end; from 0 to below 1.
        by: single weights of the smallest magnitude, or whole output channels (neurons of a fully
            connected layer) of the smallest mean magnitude, with all that only they feed.
        over: whether each ``layer`` loses this share, or the ``network`` in one ranking.
        schedule: ``gradual`` removes more at the beginning of each epoch from the first to the
            last, share (1 - (1 - k/n)^3) at the k-th of n (Zhu and Gupta 2017); ``once`` removes
            all at the beginning of the first.
        first_epoch: counted from 1. 0 is the first epoch of the second quarter, or the very first
            one when the run starts from trained weights.
        last_epoch: counted from 1. 0 is the last epoch of the third quarter.
        spare: names of layers that lose nothing.
    """

    share: float = 0.0
    by: PruneBy = "weight"
    over: PruneOver = "layer"
    schedule: Literal["gradual", "once"] = "gradual"
    first_epoch: int = 0
    last_epoch: int = 0
    spare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share is from 0 to below 1, found {self.share:g}")
        for name in ("first_epoch", "last_epoch"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is counted from 1, or 0, found {getattr(self, name)}")
        if self.first_epoch > self.last_epoch > 0:
            raise ValueError(
                f"first_epoch = {self.first_epoch} comes after last_epoch = {self.last_epoch}"
            )
        if self.schedule == "once" and self.last_epoch:
            raise ValueError("last_epoch is for a gradual schedule; once is in the first_epoch")

    def epochs_of(self, epochs: int, trained: bool) -> tuple[int, int]:
        """The first and the last epoch that begin with fewer weights than the one before.

        Args:
            epochs: of the training.
            trained: whether the network comes with weights.
        """
        first = self.first_epoch or (1 if trained else epochs // 4 + 1)
        if self.schedule == "once":
            return first, first
        return first, max(first, self.last_epoch or 3 * epochs // 4)

    def share_in(self, epoch: int, epochs: int, trained: bool) -> float:
        """The share that is zero in an epoch."""
        first, last = self.epochs_of(epochs, trained)
        if epoch < first:
            return 0.0
        done = min(1.0, (epoch - first + 1) / (last - first + 1))
        return self.share * (1 - (1 - done) ** 3)
