"""Parity: two engines on the same samples, compared over every population, step and sample."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, STATE_LIMIT
from neurodeploy.ir.network import Network, Population
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.simulation.predictions import Predictions
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace

VARIABLES = ("u", "v", "s")


@dataclass(frozen=True)
class Divergence:
    """The first place where two engines differ.

    Attributes:
        neuron: index into the population's array.
        first, second: u, v and s of both engines there, as far as each records them.
        cause: the likely reason, or an empty string when it cannot be told.
    """

    population: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    variables: tuple[str, ...]
    first: dict[str, float]
    second: dict[str, float]
    cause: str

    def __str__(self) -> str:
        values = "; ".join(
            f"{name} = {self.first[name]:g} against {self.second[name]:g}"
            for name in self.first
            if name in self.second
        )
        cause = f"; likely cause: {self.cause}" if self.cause else ""
        return (
            f"sample {self.sample}, step {self.step}, neuron {list(self.neuron)}: {values}{cause}"
        )


@dataclass
class PopulationParity:
    """Counts of one population over all samples.

    Attributes:
        compared: values compared (u, v and s each count; only s when floats are involved).
        mismatches: how many of them differ.
        spike_mismatches: how many of the spikes differ.
        spikes_compared: how many spikes (neuron-steps) were compared.
        max_v_difference: largest abs difference of v, in units of v's integers (in float units
            when floats are involved).
        mismatches_by_step: (T,) counts, for the parity map.
    """

    name: str
    compared: int = 0
    mismatches: int = 0
    spikes_compared: int = 0
    spike_mismatches: int = 0
    max_v_difference: float = 0.0
    mismatches_by_step: list[int] = field(default_factory=list)
    first_divergence: Divergence | None = None

    @property
    def spike_agreement(self) -> float:
        """Share of equal spikes."""
        return 1 - self.spike_mismatches / max(self.spikes_compared, 1)


@dataclass
class ParityReport:
    """What comparing two engines found.

    Attributes:
        exact: both engines compute in integers and must agree bit for bit; otherwise at least one
            computes in floats and only spikes are compared.
        accuracies: by engine, or None without labels.
        agreeing_predictions: samples for which both engines predict the same class.
        predictions: by engine, the class of every sample beside its label.
    """

    engines: tuple[str, str]
    exact: bool
    populations: list[PopulationParity]
    samples: int = 0
    agreeing_predictions: int = 0
    accuracies: dict[str, float] | None = None
    predictions: dict[str, Predictions] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """Values compared over all populations."""
        return sum(p.compared for p in self.populations)

    @property
    def mismatches(self) -> int:
        """Values that differ over all populations."""
        return sum(p.mismatches for p in self.populations)

    @property
    def first_divergence(self) -> Divergence | None:
        """The earliest one: by sample, then step, then order of computation."""
        found = [p.first_divergence for p in self.populations if p.first_divergence]
        return min(found, key=lambda d: (d.sample, d.step), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        first = self.first_divergence
        return {
            "engines": list(self.engines),
            "exact": self.exact,
            "samples": self.samples,
            "compared": self.compared,
            "mismatches": self.mismatches,
            "first_divergence": first and asdict(first),
            "agreeing_predictions": self.agreeing_predictions,
            "accuracies": self.accuracies,
            "predictions": {engine: p.as_dict() for engine, p in self.predictions.items()},
            "populations": [
                {**asdict(p), "spike_agreement": p.spike_agreement} for p in self.populations
            ],
        }


class ParityComparison:
    """Compares traces batch by batch.

    Args:
        network: gives populations, and of integers what the likely causes depend on.
        engines: names of both.
        exact: whether all of u, v and s must agree; otherwise only s is counted.
    """

    def __init__(
        self, network: Network | QuantizedNetwork, engines: tuple[str, str], exact: bool
    ) -> None:
        self.network = network
        names = [p.name for p in network.populations]
        self.report = ParityReport(engines, exact, [PopulationParity(name) for name in names])
        self.classes = math.prod(network.population(network.output).shape)

    def add(self, first: SpikeTrace, second: SpikeTrace, labels: np.ndarray | None) -> None:
        """Compare one batch."""
        report, decode = self.report, self.network.contract.decode
        for parity in report.populations:
            self._compare(parity, first, second)
        predictions = [trace.predictions(decode) for trace in (first, second)]
        report.samples += len(predictions[0])
        report.agreeing_predictions += int((predictions[0] == predictions[1]).sum())
        for engine, predicted in zip(report.engines, predictions, strict=True):
            found = Predictions(predicted, labels, self.classes)
            before = report.predictions.get(engine)
            report.predictions[engine] = found if before is None else before.followed_by(found)
        if labels is not None:
            report.accuracies = {
                engine: found.accuracy or 0.0 for engine, found in report.predictions.items()
            }

    def _compare(self, parity: PopulationParity, a: SpikeTrace, b: SpikeTrace) -> None:
        population = self.network.population(parity.name)
        left, right = a.populations[parity.name], b.populations[parity.name]
        differs = {}
        for variable in VARIABLES if self.report.exact else ("s",):
            x, y = getattr(left, variable), getattr(right, variable)
            if x is None or y is None:
                continue
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
        if left.v is not None and right.v is not None:
            difference = np.abs(self._v(a, population) - self._v(b, population)).max(initial=0)
            parity.max_v_difference = max(parity.max_v_difference, float(difference))
        if parity.first_divergence is None and wrong.any():
            sample, step, flat = (int(i) for i in np.argwhere(wrong)[0])
            where = (sample, step, *(int(i) for i in np.unravel_index(flat, population.shape)))
            parity.first_divergence = Divergence(
                population=population.name,
                sample=a.first + sample,
                step=step,
                neuron=where[2:],
                variables=tuple(name for name, d in differs.items() if d[sample, step, flat]),
                first=_values(left, where, self._unit(left, population)),
                second=_values(right, where, self._unit(right, population)),
                cause=self._cause(population, a, b, where),
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

    def _v(self, trace: SpikeTrace, population: Population | QuantizedPopulation) -> np.ndarray:
        """v in integers when both engines are exact, else in units of the float network."""
        v = trace.populations[population.name].v
        if v is None:
            raise ValueError(f"v of {population.name!r} was not recorded")
        return v / self._unit(trace.populations[population.name], population)

    def _unit(self, record: PopulationTrace, population: Population | QuantizedPopulation) -> float:
        """What u and v are divided by to be comparable: 1 between exact engines."""
        floats = record.v is None or record.v.dtype == np.float64
        if self.report.exact or floats or not isinstance(population, QuantizedPopulation):
            return 1
        return population.scale * 2**ACTIVATION_SHIFT


def _values(record: PopulationTrace, where: tuple[int, ...], unit: float = 1) -> dict[str, float]:
    found = {name: getattr(record, name) for name in VARIABLES}
    values = {name: array[where].item() for name, array in found.items() if array is not None}
    if unit != 1:
        values |= {name: values[name] / unit for name in ("u", "v") if name in values}
    return values


def likely_cause(
    network: QuantizedNetwork,
    population: QuantizedPopulation,
    one: SpikeTrace,
    other: SpikeTrace,
    where: tuple[int, ...],
) -> str:
    """Name why two integer engines differ first at ``where`` = (sample, step, *neuron).

    Looks for: a shift by one step; where u differs, its wrap, the spikes that it is made of and
    clipped weights; where u agrees, a saturated v, a spike at exactly the threshold and a different
    reset. Empty when none of them explains it.
    """
    if population.neuron is None:
        return "the engines were given different input"
    left, right = one.populations[population.name], other.populations[population.name]
    # What enters a neuron shows a shift best: spikes alone are late for other reasons as well.
    driven = left.u is not None and right.u is not None
    first, second = (left.u, right.u) if driven else (left.s, right.s)
    if first is not None and second is not None and _shifted(first[where[0]], second[where[0]]):
        return "one-step shift"
    a, b = _values(left, where), _values(right, where)
    if not driven or "v" not in a or "v" not in b:
        return ""
    if a["u"] == b["u"]:
        if a["v"] != b["v"] and STATE_LIMIT - 1 in (abs(a["v"]), abs(b["v"])):
            return "saturation of v at 24 bits"
        return _threshold_or_reset(population, a, b, where[2:])
    if (a["u"] - b["u"]) % (2 * STATE_LIMIT) == 0:
        return "wrap of u at 24 bits"
    return _different_drive(network, population, one, other, where)


def _different_drive(
    network: QuantizedNetwork,
    population: QuantizedPopulation,
    one: SpikeTrace,
    other: SpikeTrace,
    where: tuple[int, ...],
) -> str:
    """Different spikes or different weights, since the currents differ."""
    incoming = [p for p in network.projections if p.target == population.name]
    different = []
    for p in incoming:
        steps = slice(0, max(where[1] + 1 - p.delay, 0))
        left, right = (trace.populations[p.source].s[where[0], steps] for trace in (one, other))
        if (left != right).any():
            different.append(repr(p.source))
    if different:
        return f"the spikes of {', '.join(dict.fromkeys(different))} differ"
    clipped = [p.name for p in incoming if p.clipped]
    return f"weights clipped in {', '.join(clipped)}" if clipped else ""


def _threshold_or_reset(
    population: QuantizedPopulation, a: dict[str, float], b: dict[str, float], neuron: tuple
) -> str:
    """The same current, but different spikes or a different potential after them."""
    if population.neuron is None or population.neuron.threshold is None:
        return ""
    full = np.broadcast_to(population.neuron.threshold, population.shape)
    threshold = int(full[neuron]) << ACTIVATION_SHIFT
    if a["s"] != b["s"]:
        unfired = a if b["s"] else b
        return "threshold tie (> against >=)" if unfired["v"] == threshold else ""
    if a["s"] and abs(a["v"] - b["v"]) > 0 and 0 in (a["v"], b["v"]):
        return "reset mode (zero against subtract)"
    return ""


def _shifted(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether one sample's values are the other's one step later, and not trivially so."""
    if left.shape[0] < 3 or not left.any() or not right.any() or (left == right).all():
        return False
    return bool((left[:-1] == right[1:]).all() or (left[1:] == right[:-1]).all())
