"""What comparing two engines found: counts by population, and the first places that differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from neurodeploy.simulation.firing import firing_warnings
from neurodeploy.simulation.reading import AnyPredictions

Quantity = Literal["state", "spikes", "potentials", "nothing"]
"""What is compared: u, v and s as far as both engines record them; spikes alone; v alone, of
neurons that never spike; or nothing, of such neurons where v is not recorded."""


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


@dataclass(frozen=True)
class Disagreement:
    """The first sample that two engines put into different classes, or give different values.

    Attributes:
        population: that is read out; a class is the number of its neuron.
        first, second: the classes, or the first values that differ, in units of the data.
    """

    population: str
    sample: int
    first: float
    second: float

    def __str__(self) -> str:
        if isinstance(self.first, float):
            return f"sample {self.sample}, {self.first:g} against {self.second:g}"
        return f"sample {self.sample}, neuron {self.first} against {self.second}"


@dataclass
class PopulationParity:
    """Counts of one population over all samples.

    Attributes:
        quantity: what is compared of it.
        compared: values compared (of ``state`` u, v and s each count).
        mismatches: how many of them differ; of ``potentials`` in floats, how many samples have
            another class, of values none.
        spikes_compared: how many spikes (neuron-steps) were compared; none of ``potentials``.
        spike_mismatches: how many of the spikes differ.
        spikes: that there were in each engine; a graded one counts once.
        max_v_difference: largest abs difference of v, in units of v's integers (in float units
            when floats are involved).
        max_v_place: its sample, step and neuron; None while v is equal.
        v_range: smallest and largest v of both engines, in the same units; None without v.
        mismatches_by_step: (T,) counts, for the parity map; none of ``potentials``.
    """

    name: str
    quantity: Quantity = "state"
    compared: int = 0
    mismatches: int = 0
    spikes_compared: int = 0
    spike_mismatches: int = 0
    spikes: tuple[int, int] = (0, 0)
    max_v_difference: float = 0.0
    max_v_place: tuple[int, ...] | None = None
    v_range: tuple[float, float] | None = None
    mismatches_by_step: list[int] = field(default_factory=list)
    first_divergence: Divergence | None = None

    def join(self, following: PopulationParity) -> None:
        """Count what was counted of the samples that follow."""
        self.quantity = following.quantity
        self.compared += following.compared
        self.mismatches += following.mismatches
        self.spikes_compared += following.spikes_compared
        self.spike_mismatches += following.spike_mismatches
        self.spikes = (self.spikes[0] + following.spikes[0], self.spikes[1] + following.spikes[1])
        if following.max_v_difference > self.max_v_difference:
            self.max_v_difference = following.max_v_difference
            self.max_v_place = following.max_v_place
        if self.v_range is None or following.v_range is None:
            self.v_range = self.v_range or following.v_range
        else:
            (low, high), (lowest, highest) = self.v_range, following.v_range
            self.v_range = min(low, lowest), max(high, highest)
        own = self.mismatches_by_step or [0] * len(following.mismatches_by_step)
        theirs = following.mismatches_by_step or [0] * len(own)
        self.mismatches_by_step = [x + y for x, y in zip(own, theirs, strict=True)]
        self.first_divergence = self.first_divergence or following.first_divergence

    @property
    def spike_agreement(self) -> float:
        """Share of equal spikes; 1 where there are none to compare."""
        return 1 - self.spike_mismatches / max(self.spikes_compared, 1)


@dataclass
class ParityReport:
    """What comparing two engines found.

    Attributes:
        exact: both engines compute in integers and must agree bit for bit; otherwise at least one
            computes in floats.
        output: name of the population that is read out.
        inputs: names of the populations that are inputs.
        spiking: names of those whose neurons have a threshold.
        agreeing_predictions: samples for which both engines predict the same class, or values.
        first_disagreement: the first sample for which they do not.
        accuracies: by engine, or None without labels.
        predictions: by engine, the class or values of every sample beside what was to be found.
        max_value_difference: the largest between values that both predict, in units of the data;
            None where classes are told apart.
    """

    engines: tuple[str, str]
    exact: bool
    populations: list[PopulationParity]
    output: str = ""
    inputs: tuple[str, ...] = ()
    spiking: tuple[str, ...] = ()
    samples: int = 0
    agreeing_predictions: int = 0
    first_disagreement: Disagreement | None = None
    accuracies: dict[str, float] | None = None
    predictions: dict[str, AnyPredictions] = field(default_factory=dict)
    max_value_difference: float | None = None

    def join(self, following: ParityReport) -> None:
        """Count what was compared of the samples that follow, of the same engines."""
        for own, theirs in zip(self.populations, following.populations, strict=True):
            own.join(theirs)
        self.samples += following.samples
        self.agreeing_predictions += following.agreeing_predictions
        self.first_disagreement = self.first_disagreement or following.first_disagreement
        for engine, found in following.predictions.items():
            before: Any = self.predictions.get(engine)
            self.predictions[engine] = found if before is None else before.followed_by(found)
        if following.accuracies is not None:
            self.accuracies = {
                engine: found.accuracy or 0.0 for engine, found in self.predictions.items()
            }
        if following.max_value_difference is not None:
            most = max(self.max_value_difference or 0.0, following.max_value_difference)
            self.max_value_difference = most

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

    @property
    def untested(self) -> tuple[str, ...]:
        """Populations of which nothing can have differed, each with why: they were all zero in both
        engines, or nothing of them is recorded."""
        found = []
        for p in self.populations:
            if p.quantity == "nothing":
                found.append(f"{p.name} never spikes, and its v is not recorded")
            elif p.name in (*self.inputs, *self.spiking) and not any(p.spikes):
                found.append(f"{p.name} {'is 0' if p.name in self.inputs else 'never spiked'}")
        return tuple(found)

    @property
    def silent(self) -> bool:
        """Whether no neuron spiked in either engine, though some could."""
        spikes = {p.name: p.spikes for p in self.populations}
        return bool(self.spiking) and not any(any(spikes[name]) for name in self.spiking)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the comparison worth less than it seems."""
        rates = {
            p.name: max(p.spikes) / max(p.spikes_compared, 1)
            for p in self.populations
            if p.name in (*self.inputs, *self.spiking)
        }
        over = f"the {self.samples:,} samples"
        empty = [
            f"nothing of {p.name} was compared: it never spikes, and its v is not recorded"
            for p in self.populations
            if p.quantity == "nothing"
        ]
        return (*firing_warnings(rates, over, self.inputs), *empty)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        first, other = self.first_divergence, self.first_disagreement
        return {
            "engines": list(self.engines),
            "exact": self.exact,
            "samples": self.samples,
            "compared": self.compared,
            "mismatches": self.mismatches,
            "silent": self.silent,
            "warnings": list(self.warnings),
            "first_divergence": first and asdict(first),
            "agreeing_predictions": self.agreeing_predictions,
            "first_disagreement": other and asdict(other),
            "accuracies": self.accuracies,
            "predictions": {engine: p.as_dict() for engine, p in self.predictions.items()},
            **(
                {}
                if self.max_value_difference is None
                else {"max_value_difference": self.max_value_difference}
            ),
            "populations": [
                {**asdict(p), "spike_agreement": p.spike_agreement} for p in self.populations
            ],
        }
