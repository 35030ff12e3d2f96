"""Parity: two engines on the same samples, compared over every population, step and sample.

Between engines of integers s and all that neurons keep must be equal. Where floats take part,
spikes are compared, and of neurons that never spike or send real numbers the potentials: what is
read from those is the class, so they agree where the class does, and how far they are apart is told
in units of the float network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.network import Network, Population
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.reporting.causes import likely_cause, values_at
from neurodeploy.reporting.parity_report import (
    Disagreement,
    Divergence,
    ParityReport,
    PopulationParity,
    Quantity,
)
from neurodeploy.simulation.firing import input_names, spiking_names
from neurodeploy.simulation.reading import predictions_of, read
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace


class ParityComparison:
    """Compares traces batch by batch.

    Args:
        network: gives populations, and of integers what the likely causes depend on.
        engines: names of both.
        exact: whether all of u, v and s must agree; otherwise spikes are counted, and of neurons
            without any the potentials are measured.
    """

    def __init__(
        self, network: Network | QuantizedNetwork, engines: tuple[str, str], exact: bool
    ) -> None:
        self.network = network
        self.report = ParityReport(
            engines,
            exact,
            [PopulationParity(p.name) for p in network.populations],
            network.output,
            input_names(network),
            spiking_names(network),
        )

    def add(
        self,
        first: SpikeTrace,
        second: SpikeTrace,
        labels: np.ndarray | None,
        lengths: np.ndarray | None = None,
    ) -> None:
        """Compare one batch.

        Args:
            labels: (N,) classes or (N, K) values, where they are known.
            lengths: (N,) steps after which each sample is read; None for T of all. What
                happens is compared over all T.
        """
        report, values = self.report, self.network.contract.predicts_values
        predictions = [read(self.network, trace, lengths) for trace in (first, second)]
        apart = np.abs(predictions[0] - predictions[1]).reshape(len(predictions[0]), -1)
        differ = (apart != 0).any(axis=1)
        if values:
            most = max(report.max_value_difference or 0.0, float(apart.max(initial=0)))
            report.max_value_difference = most
        for parity in report.populations:
            self._compare(parity, first, second)
            # Values of floats differ in their last digits, which says nothing.
            read_out = parity.name == self.network.output and not values
            if read_out and parity.quantity == "potentials":
                parity.mismatches += int(differ.sum())
        if report.first_disagreement is None and differ.any():
            at = int(np.flatnonzero(differ)[0])
            output = int(np.flatnonzero(apart[at])[0])
            found = [predicted.reshape(len(differ), -1)[at, output] for predicted in predictions]
            report.first_disagreement = Disagreement(
                self.network.output, first.first + at, found[0].item(), found[1].item()
            )
        report.samples += len(differ)
        report.agreeing_predictions += int((~differ).sum())
        for engine, predicted in zip(report.engines, predictions, strict=True):
            found: Any = predictions_of(self.network, predicted, labels)
            before = report.predictions.get(engine)
            report.predictions[engine] = found if before is None else before.followed_by(found)
        if labels is not None and not values:
            report.accuracies = {
                engine: found.accuracy or 0.0 for engine, found in report.predictions.items()
            }

    def _compare(self, parity: PopulationParity, a: SpikeTrace, b: SpikeTrace) -> None:
        population = self.network.population(parity.name)
        left, right = a.populations[parity.name], b.populations[parity.name]
        parity.quantity = self._quantity(population, left, right)
        fired = (np.count_nonzero(left.s), np.count_nonzero(right.s))
        parity.spikes = (parity.spikes[0] + int(fired[0]), parity.spikes[1] + int(fired[1]))
        self._measure(parity, population, a, b)
        if parity.quantity == "nothing":
            return
        if parity.quantity == "potentials":
            parity.compared += left.s.size
            return
        differs = {}
        one, other = left.arrays, right.arrays
        for variable in one if self.report.exact else ("s",):
            if variable not in other:
                continue
            x, y = one[variable], other[variable]
            differs[variable] = (x != y).reshape(x.shape[0], x.shape[1], -1)
            parity.compared += x.size
        wrong = np.logical_or.reduce(list(differs.values()))
        spikes = differs["s"]
        parity.spikes_compared += spikes.size
        parity.spike_mismatches += int(spikes.sum())
        parity.mismatches += sum(int(d.sum()) for d in differs.values())
        by_step = np.sum([d.sum(axis=(0, 2)) for d in differs.values()], axis=0)
        before = parity.mismatches_by_step or [0] * len(by_step)
        parity.mismatches_by_step = [x + int(y) for x, y in zip(before, by_step, strict=True)]
        if parity.first_divergence is None and wrong.any():
            sample, step, flat = (int(i) for i in np.argwhere(wrong)[0])
            where = (sample, step, *(int(i) for i in np.unravel_index(flat, population.shape)))
            parity.first_divergence = Divergence(
                population=population.name,
                sample=a.first + sample,
                step=step,
                neuron=where[2:],
                variables=tuple(name for name, d in differs.items() if d[sample, step, flat]),
                first=values_at(left, where, self._unit(left, population)),
                second=values_at(right, where, self._unit(right, population)),
                cause=self._cause(population, a, b, where),
            )

    def _quantity(
        self,
        population: Population | QuantizedPopulation,
        left: PopulationTrace,
        right: PopulationTrace,
    ) -> Quantity:
        """What there is to compare of a population."""
        neuron = population.neuron
        # Real numbers are not equal to integers: of what a graded population sends, v is compared.
        measured = not self.report.exact and neuron is not None and neuron.message.graded
        if neuron is not None and (measured or not neuron.spiking):
            seen = [name for name in left.state if name in right.state]
            if not (seen if self.report.exact else "v" in seen):
                return "nothing"
            return "state" if self.report.exact else "potentials"
        return "state" if self.report.exact else "spikes"

    def _measure(
        self,
        parity: PopulationParity,
        population: Population | QuantizedPopulation,
        a: SpikeTrace,
        b: SpikeTrace,
    ) -> None:
        """How far apart v is, where both engines record it."""
        both = [trace.populations[parity.name] for trace in (a, b)]
        found = [r.v / self._unit(r, population) for r in both if r.v is not None]
        if len(found) < 2:
            return
        left, right = found
        # What is no number is as far away as can be.
        apart = np.nan_to_num(np.abs(left - right), nan=np.inf, posinf=np.inf)
        if apart.max(initial=0) > parity.max_v_difference:
            where = np.unravel_index(int(apart.argmax()), apart.shape)
            parity.max_v_difference = float(apart[where])
            parity.max_v_place = (a.first + int(where[0]), *(int(i) for i in where[1:]))
        low, high = parity.v_range or (np.inf, -np.inf)
        parity.v_range = (
            float(min(low, left.min(initial=low), right.min(initial=low))),
            float(max(high, left.max(initial=high), right.max(initial=high))),
        )

    def _cause(
        self,
        population: Population | QuantizedPopulation,
        one: SpikeTrace,
        other: SpikeTrace,
        where: tuple[int, ...],
    ) -> str:
        """Why integers differ; nothing is known of floats."""
        network = self.network
        if not self.report.exact or not isinstance(network, QuantizedNetwork):
            return ""
        return likely_cause(network, network.population(population.name), one, other, where)

    def _unit(self, record: PopulationTrace, population: Population | QuantizedPopulation) -> float:
        """What u and v are divided by to be comparable: 1 between exact engines."""
        floats = record.v is None or record.v.dtype == np.float64
        if self.report.exact or floats or not isinstance(population, QuantizedPopulation):
            return 1
        return population.state_unit
