"""When spikes, errors and updates meet in a pipeline of learning layers.

With L layers, model step t of a sample that starts at Lava step b:

    b + t + l          population l integrates and spikes            l = 0 is the input
    b + t + L          the read-out makes its error
    b + t + 2L - l     the error of population l arrives at the synapses in front of it

Every synaptic process spends a step on what passes through it, forwards and backwards. So synapses
l, which met the spikes of step t at b + t + l - 1, have to remember them for 2L - 2l + 1 steps, and
neurons l their surrogate derivative for 2L - 2l.
"""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.onchip.options import UpdateTime


@dataclass(frozen=True)
class LearningTimetable:
    """Lava steps, which start at 1, of samples that learn.

    Attributes:
        steps: T.
        layers: L.
        update: with ``step`` the next model step waits for the update of the one before.
    """

    steps: int
    layers: int
    update: UpdateTime

    @property
    def round_trip(self) -> int:
        """Steps from a model step's input to the last error that it causes, both included."""
        return 2 * self.layers

    @property
    def stride(self) -> int:
        """Lava steps from one model step to the next."""
        return 1 if self.update == "sample" else self.round_trip

    @property
    def interval(self) -> int:
        """Lava steps from one sample's start to the next: the pipeline runs empty in between."""
        return (self.steps - 1) * self.stride + self.round_trip

    def spike_delay(self, layer: int) -> int:
        """Steps for which synapses 1..L remember a spike."""
        return 2 * (self.layers - layer) + 1

    def slope_delay(self, layer: int) -> int:
        """Steps for which neurons 1..L-1 remember their surrogate derivative."""
        return 2 * (self.layers - layer)

    def model_step(self, time_step: int, depth: int) -> tuple[int, int] | None:
        """The sample and model step that population ``depth`` computes, None while it waits."""
        since = time_step - 1 - depth
        if since < 0:
            return None
        sample, position = divmod(since, self.interval)
        step, idle = divmod(position, self.stride)
        return None if idle or step >= self.steps else (sample, step)

    def update_after(self, time_step: int) -> tuple[int, int] | None:
        """The sample and the number within it of the update that ends a time step, or None."""
        sample, position = divmod(time_step - 1, self.interval)
        if self.update == "sample":
            return (sample, 0) if position == self.interval - 1 else None
        step, place = divmod(position, self.stride)
        return (sample, step) if place == self.stride - 1 else None
