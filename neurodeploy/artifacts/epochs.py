"""What a run leaves of each epoch, and its deployments keep."""

from __future__ import annotations

from dataclasses import dataclass, field

from neurodeploy.simulation.firing import firing_warnings


@dataclass(frozen=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        train_loss, train_accuracy: means over the epoch's batches, each before its update.
        validation_loss, validation_accuracy: after the epoch.
        learning_rate: of the whole epoch.
        seconds: wall time with validation.
        firing_rates: spikes per neuron and step of every layer of neurons on the validation
            samples, and of the input the share of values that are not 0; empty in older files.
        synaptic_operations: per validation sample, spikes times the synapses behind those neurons,
            by layer and for the input, as a chip counts them; empty in older files.
        silent: by layer, the share of neurons that spiked on no validation sample.
        saturated: by layer, the share that spiked at nine steps of ten, or more.
        zero_weights: the share of all weights that are exactly 0.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    firing_rates: dict[str, float] = field(default_factory=dict)
    synaptic_operations: dict[str, float] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    saturated: dict[str, float] = field(default_factory=dict)
    zero_weights: float = 0.0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Layers that never spiked, or nearly always did."""
        over = f"the validation samples of epoch {self.epoch}"
        return firing_warnings(self.firing_rates, over)

    def better_than(self, other: EpochMetrics) -> bool:
        """Higher validation accuracy; with equal accuracy, lower validation loss."""
        mine = (self.validation_accuracy, -self.validation_loss)
        return mine > (other.validation_accuracy, -other.validation_loss)
