"""When spikes and errors meet in Lava's own learning process.

``LearningDense`` sends the activation of a spike one step after it, so an error answers the spikes
of the step before. With epochs of two steps both fall into the same epoch:

    step 2n + 1    the spikes of a model step arrive at LearningDense
    step 2n + 2    their activation reaches the read-out, which sends y1 at once; learning
"""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.onchip.loihi_rule import EPOCH, DeltaPlan


@dataclass(frozen=True)
class DeltaTimetable:
    """Lava steps, which start at 1.

    Attributes:
        steps: T.
        epochs: from one sample's start to the next.
        by_sample: whether weights change in the last of these epochs only.
    """

    steps: int
    epochs: int
    by_sample: bool

    @staticmethod
    def of(plan: DeltaPlan) -> DeltaTimetable:
        """The times of a plan."""
        return DeltaTimetable(plan.steps, plan.epochs, plan.decimation is not None)

    @property
    def interval(self) -> int:
        """Lava steps from one sample's start to the next."""
        return EPOCH * self.epochs

    def spikes_at(self, time_step: int) -> tuple[int, int] | None:
        """The sample and model step whose spikes are sent, or None."""
        return self._at(time_step, 1)

    def error_at(self, time_step: int) -> tuple[int, int] | None:
        """The sample and model step whose error is made, or None."""
        return self._at(time_step, 2)

    def update_after(self, time_step: int) -> tuple[int, int] | None:
        """The sample and the number within it of the update that ends a time step, or None."""
        sample, position = divmod(time_step - 1, self.interval)
        epoch, place = divmod(position, EPOCH)
        if place != EPOCH - 1:
            return None
        if self.by_sample:
            return (sample, 0) if epoch == self.epochs - 1 else None
        return sample, epoch

    def _at(self, time_step: int, place: int) -> tuple[int, int] | None:
        sample, position = divmod(time_step - 1, self.interval)
        step, found = divmod(position, EPOCH)
        return (sample, step) if found == place - 1 and step < self.steps else None
