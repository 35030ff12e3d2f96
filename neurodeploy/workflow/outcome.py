"""From the counts of a simulation to its result and the files that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import ACTIVITY, PREDICTIONS, RASTER, SHOWN, SUMMARY
from neurodeploy.artifacts.results import write_result
from neurodeploy.artifacts.shown import write_shown
from neurodeploy.artifacts.simulations import write_activity
from neurodeploy.mapping.estimate import estimate
from neurodeploy.simulation.early_exit import EarlyExit, Exits
from neurodeploy.simulation.firing import firing_rates, firing_warnings, input_names
from neurodeploy.simulation.reading import AnyPredictions, predictions_of
from neurodeploy.simulation.trace import Samples
from neurodeploy.simulation.values import PredictedValues, numbers
from neurodeploy.support.figures import ornament, write_picture
from neurodeploy.support.files import make_folder, write_whole
from neurodeploy.workflow.simulation_result import SimulationResult
from neurodeploy.workflow.tally import Tally


class Outcome:
    """What comes of a simulation once it is counted.

    Args:
        tally: its counts, which may still grow.
        device: that the engine computes on, as torch names it.
    """

    def __init__(self, deployment: Deployment, samples: Samples, tally: Tally, device: str) -> None:
        self.deployment = deployment
        self.samples = samples
        self.tally = tally
        self.device = device

    def predictions(self) -> AnyPredictions:
        """The classes or values of all samples so far."""
        found = np.concatenate(self.tally.found) if self.tally.found else np.zeros(0, np.int64)
        return predictions_of(self.deployment.network, found, self.samples.labels)

    def result(
        self,
        engine: str,
        seconds: float,
        said: Sequence[str] = (),
        foreseen: PredictedValues | None = None,
    ) -> SimulationResult:
        """The result of all samples, written into the deployment's ``results/`` with its raster.

        Args:
            seconds: that the simulation took.
            said: warnings from before.
            foreseen: of a series, where a forecast was asked for.
        """
        network, count = self.deployment.network, self.samples.count
        predictions = self.predictions()
        folder = self.deployment.results / engine
        make_folder(folder)
        tally, overflow = self.tally, self.tally.overflow
        activity = tally.activity.mean()
        write_activity(folder / ACTIVITY, activity)
        rates = firing_rates(network, activity, self.samples.mean_steps)
        over = f"{count:,} samples ({self.samples.origin})"
        raster = folder / RASTER
        result = SimulationResult(
            engine=engine,
            deployment=self.deployment.path,
            origin=self.samples.origin,
            samples=count,
            steps=network.contract.steps,
            seconds=seconds,
            accuracy=predictions.accuracy,
            predictions=predictions,
            spikes_per_sample={name: events / count for name, events in tally.events.items()},
            values_per_sample={name: values / count for name, values in tally.values.items()},
            wraps={name: c.wraps for name, c in overflow.populations.items()},
            saturations={name: c.saturations for name, c in overflow.populations.items()},
            clipped_weights={p.name: p.clipped for p in network.projections},
            estimate=estimate(network, self.deployment.target, self.deployment.mapping, activity),
            raster=raster,
            firing_rates=rates,
            digest=self.deployment.digest,
            device=self.device,
            warnings=(
                *self.deployment.warnings,
                *said,
                *self.samples.warnings,
                *firing_warnings(rates, over, input_names(network)),
                *predictions.warnings(),
            ),
            forecast=foreseen,
            metrics={"neurobench": tally.neurobench.result(self.deployment.target)}
            if tally.neurobench
            else {},
            early_exit=self.early_exit(predictions),
        )
        write_whole(folder / PREDICTIONS, predictions.rows())
        summary, files = result.as_dict(), (ACTIVITY, PREDICTIONS)
        write_result(folder / SUMMARY, summary, self.deployment, files)
        with ornament(folder / SHOWN):
            write_shown(folder / SHOWN, tally.shown.finish(self.deployment, engine))
            files = (*files, SHOWN)
            write_result(folder / SUMMARY, summary, self.deployment, files)
        with ornament(raster):
            self._draw(raster, engine)
            drawn = (*files, raster.name, raster.with_suffix(".svg").name)
            write_result(folder / SUMMARY, summary, self.deployment, drawn)
        return result

    def early_exit(self, predictions: AnyPredictions) -> EarlyExit | None:
        """What early exit makes of the samples so far, beside their classes after all steps."""
        reader = self.tally.reader
        if reader is None:
            return None
        network, labels = self.deployment.network, self.samples.labels
        found = Exits.joined(self.tally.exits)
        spikes = self.tally.until_exit.mean()
        cost = estimate(network, self.deployment.target, self.deployment.mapping, spikes)
        mean_steps, energy = float(found.steps.mean()), None
        if cost.energy is not None:
            # Guard steps come after a sample however long it was.
            used = cost.steps - network.contract.steps + mean_steps
            energy = replace(cost.energy, updates=cost.energy.updates.scaled(used / cost.steps))
        return EarlyExit(
            margin=reader.margin,
            unit=reader.unit,
            decode=reader.decode,
            accuracy=None if labels is None else float((found.classes == labels).mean()),
            agreement=float((found.classes == predictions.predicted).mean()),
            mean_steps=mean_steps,
            all_steps=self.samples.mean_steps,
            steps=tuple(found.steps.tolist()),
            predicted=tuple(found.classes.tolist()),
            synaptic_ops=cost.synaptic_ops,
            energy_nj=energy and asdict(energy.total),
        )

    def _draw(self, path: Path, engine: str) -> None:
        from neurodeploy.reporting.pictures import raster

        tally = self.tally
        if tally.first is None:
            return
        title = f"{self.deployment.path.name} on {engine}: {self.samples.origin}, sample 0"
        title += f", predicted {_text(tally.found[0])}"
        if tally.labels is not None:
            title += f" (label {_text(tally.labels)})"
        write_picture(raster(tally.first, title), path)


def _text(found: np.ndarray) -> str:
    """The class or the values of the first sample."""
    return str(int(found[0])) if found.ndim == 1 else numbers(found[0])
