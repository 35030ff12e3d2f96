"""What a run leaves on disk and shows on the terminal while it trains."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from neurodeploy.recipe import TrainingRecipe
from neurodeploy.support.processes import Processes
from neurodeploy.training.checkpoint import TrainingState, save_best, save_state
from neurodeploy.training.metrics import MetricsLog


class Recorder:
    """Checkpoints, metrics and a progress bar of the main process; nothing of any other."""

    def __init__(
        self,
        run: Path,
        training: TrainingRecipe,
        batches: int,
        state: TrainingState | None,
        processes: Processes,
        progress: bool,
    ) -> None:
        """Continue after ``state``.

        Args:
            run: the run folder.
            training: epochs, and how often to save the state within one.
            batches: of an epoch.
            state: of an interrupted run, or None.
            processes: of which this is one.
            progress: show a bar on stderr where that is a terminal.
        """
        self._run = run
        self._training = training
        self._main = processes.is_main
        history = state.history if state else ()
        self._log = MetricsLog(run, history) if self._main else None
        if self._main and state and history:
            save_best(run, state)
        self._bar = tqdm(
            total=training.epochs * batches,
            initial=len(history) * batches + (state.partial.batches if state else 0),
            unit="batch",
            file=sys.stderr,
            disable=not (progress and self._main and sys.stderr.isatty()),
        )
        self._saved = time.monotonic()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:
            stack.enter_context(self._bar)
            if self._log:
                stack.enter_context(self._log)

    def begin_epoch(self, epoch: int) -> None:
        """Name the epoch that the next batches belong to."""
        self._bar.set_description(f"epoch {epoch}/{self._training.epochs}")

    def end_batch(self) -> bool:
        """Count a batch; True when it is time to ``save``."""
        self._bar.update()
        minutes = (time.monotonic() - self._saved) / 60
        return self._main and 0 < self._training.checkpoint_minutes <= minutes

    def save(self, state: TrainingState) -> None:
        """Put a state within an epoch on disk."""
        save_state(self._run, state)
        self._saved = time.monotonic()

    def end_epoch(self, state: TrainingState) -> None:
        """Put the epoch on disk, the checkpoint first: everything else can be rewritten from it."""
        metrics = state.history[-1]
        self._bar.set_postfix(validation=f"{100 * metrics.validation_accuracy:.2f} %")
        if self._log is None:
            return
        self.save(state)
        if state.best_is_now:
            save_best(self._run, state)
        self._log.append(metrics)
