"""What a simulation found, as ``results/`` and the command line tell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.names import REPORT, RESULTS, SUMMARY
from neurodeploy.mapping.estimate import Estimate
from neurodeploy.simulation.early_exit import EarlyExit
from neurodeploy.simulation.neurobench import NeuroBench
from neurodeploy.simulation.reading import AnyPredictions
from neurodeploy.simulation.values import PredictedValues


@dataclass(frozen=True)
class SimulationResult:
    """What a simulation found.

    Attributes:
        accuracy: share of samples whose predicted class is the label, or None without labels and
            where values are predicted.
        predictions: the class of every sample beside its label, or its values beside those that
            were to come.
        spikes_per_sample: mean number of events by population: spikes, and of an input the values
            that are not 0.
        values_per_sample: mean sum of what these events carry; of spikes, their number.
        firing_rates: spikes per neuron and step of every population with a threshold, and of
            inputs the share of values that are not 0.
        wraps, saturations: arithmetic overflow by population; for the Lava engine, whose own
            processes do not report it, counted by the reference on the same samples.
        clipped_weights: by projection, from quantisation.
        estimate: what a sample costs on the chip, from the spikes of this simulation.
        raster: the picture, or None.
        digest: of the deployment, as it was simulated.
        device: that the engine computed on, as torch names it.
        warnings: why not the first choice of an engine, and what looks like a mistake in the
            samples or in what is said of them.
        metrics: those that were asked for, by the name of their set.
        forecast: of a series, where it was asked for.
        early_exit: what reading classes as soon as they are sure makes of the same samples; None
            where nobody asked.
    """

    engine: str
    deployment: Path
    origin: str
    samples: int
    steps: int
    seconds: float
    accuracy: float | None
    predictions: AnyPredictions
    spikes_per_sample: dict[str, float]
    values_per_sample: dict[str, float]
    wraps: dict[str, int]
    saturations: dict[str, int]
    clipped_weights: dict[str, int]
    estimate: Estimate
    raster: Path | None
    firing_rates: dict[str, float]
    digest: str
    device: str = "cpu"
    warnings: tuple[str, ...] = ()
    metrics: dict[str, NeuroBench] = field(default_factory=dict)
    forecast: PredictedValues | None = None
    early_exit: EarlyExit | None = None

    @property
    def summary(self) -> Path:
        """This result as JSON."""
        return self.deployment / RESULTS / self.engine / SUMMARY

    @property
    def report(self) -> Path:
        """The deployment's report, which tells of this simulation too."""
        return self.deployment / REPORT

    @property
    def samples_per_second(self) -> float:
        """Samples simulated per second of wall time, building the engine included."""
        return self.samples / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them; of predicted values also their errors."""
        found = self.predictions
        values = isinstance(found, PredictedValues)
        return {
            **asdict(self),
            **({"smape": found.smape, "mse": found.mse} if values else {}),
            "forecast": self.forecast and self.forecast.as_dict(),
            "predictions": self.predictions.as_dict(),
            "deployment": str(self.deployment),
            "estimate": self.estimate.to_dict(),
            "early_exit": self.early_exit and self.early_exit.as_dict(),
            "metrics": {name: found.as_dict() for name, found in self.metrics.items()},
            "raster": self.raster and str(self.raster),
            "report": str(self.report),
            "samples_per_second": self.samples_per_second,
            "total_spikes_per_sample": sum(self.spikes_per_sample.values()),
        }
