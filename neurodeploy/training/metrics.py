"""What is recorded of each epoch, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.artifacts.names import METRICS, TENSORBOARD
from neurodeploy.support.files import write_whole, written
from neurodeploy.training.event_file import EventFile


@dataclass(frozen=True)
class PartialEpoch:
    """What is known of an epoch that is under way.

    Attributes:
        batches: done so far.
        summed_loss: over the samples of these batches.
        right: how many of the samples were classified correctly; of values the sum of the samples'
            symmetric percentage errors.
        seconds: wall time.
        loss: mean over the samples of the last batch.
    """

    batches: int = 0
    summed_loss: float = 0.0
    right: float = 0
    seconds: float = 0.0
    loss: float = 0.0


class MetricsLog:
    """Appends epochs to ``metrics.jsonl`` and to TensorBoard files in a run folder."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        """Continue after ``history``: whatever an interrupted run wrote beyond it is dropped."""
        self._path = run / METRICS
        write_whole(self._path, "".join(map(_line, history)))
        self._board = EventFile(run / TENSORBOARD, len(history) + 1)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._board.close()

    def append(self, metrics: EpochMetrics) -> None:
        """Record one epoch.

        Raises:
            InputError: it cannot be written.
        """
        with written(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line(metrics))
        self._board.add(metrics.epoch, tagged(metrics))


def tagged(metrics: EpochMetrics) -> dict[str, float]:
    """The numbers of an epoch by tag: what is of one kind has one prefix, and one picture."""
    return {
        "loss/train": metrics.train_loss,
        "loss/validation": metrics.validation_loss,
        **{
            f"{metrics.quantity}/{part}": score
            for part, score in metrics.scores.items()
            if score is not None
        },
        "learning_rate": metrics.learning_rate,
        "seconds": metrics.seconds,
        **{f"firing_rate/{name}": rate for name, rate in metrics.firing_rates.items()},
        **{f"synaptic_operations/{n}": ops for n, ops in metrics.synaptic_operations.items()},
        "zero_weights": metrics.zero_weights,
        **{f"silent/{name}": share for name, share in metrics.silent.items()},
        **{f"saturated/{name}": share for name, share in metrics.saturated.items()},
    }


def _line(metrics: EpochMetrics) -> str:
    return json.dumps(metrics.to_table()) + "\n"
