"""What a run leaves of each epoch, and its deployments keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from neurodeploy.simulation.firing import firing_warnings


@dataclass(frozen=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``.

    Attributes:
        epoch: counted from 1.
        train_loss, train_accuracy: means over the epoch's batches, each before its update.
        validation_loss, validation_accuracy: after the epoch. Accuracies are None where values are
            predicted.
        learning_rate: of the whole epoch.
        seconds: wall time with validation.
        firing_rates: spikes per neuron and step of every layer of neurons on the validation
            samples, and of the input the share of values that are not 0; empty in older files.
        synaptic_operations: per validation sample, spikes times the synapses behind those neurons,
            by layer and for the input, as a chip counts them; empty in older files.
        silent: by layer, the share of neurons that spiked on no validation sample.
        saturated: by layer, the share that spiked at nine steps of ten, or more.
        zero_weights: the share of all weights that are exactly 0.
        train_smape, validation_smape: of values, their symmetric mean absolute percentage errors,
            0 to 200; else None.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    validation_loss: float
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    firing_rates: dict[str, float] = field(default_factory=dict)
    synaptic_operations: dict[str, float] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    saturated: dict[str, float] = field(default_factory=dict)
    zero_weights: float = 0.0
    train_smape: float | None = None
    validation_smape: float | None = None

    def __post_init__(self) -> None:
        if (self.validation_accuracy is None) == (self.validation_smape is None):
            raise ValueError("an epoch has a validation_accuracy or a validation_smape")

    @property
    def quantity(self) -> str:
        """What is scored: ``accuracy`` or ``smape``."""
        return "smape" if self.validation_accuracy is None else "accuracy"

    @property
    def scores(self) -> dict[str, float | None]:
        """Of the quantity, in training and in validation."""
        return {part: getattr(self, f"{part}_{self.quantity}") for part in ("train", "validation")}

    @property
    def validation_text(self) -> str:
        """The score in validation, for people to read."""
        if self.validation_smape is not None:
            return f"sMAPE {self.validation_smape:.3f}"
        return f"{100 * (self.validation_accuracy or 0.0):.2f} %"

    def to_table(self) -> dict[str, Any]:
        """As a line of the file holds it: errors of values only where there are some."""
        newer = () if self.quantity == "smape" else ("train_smape", "validation_smape")
        return {key: value for key, value in asdict(self).items() if key not in newer}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Layers that never spiked, or nearly always did."""
        over = f"the validation samples of epoch {self.epoch}"
        return firing_warnings(self.firing_rates, over)

    def better_than(self, other: EpochMetrics) -> bool:
        """Higher validation accuracy, or lower error of values; of equal ones, lower loss."""
        return self._merit > other._merit

    @property
    def _merit(self) -> tuple[float, float]:
        if self.validation_smape is not None:
            return -self.validation_smape, -self.validation_loss
        return self.validation_accuracy or 0.0, -self.validation_loss
