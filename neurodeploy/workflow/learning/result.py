"""What ``learn`` found, as data and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.names import LEARNING, LEARNING_CURVE
from neurodeploy.errors import Setting, Step, Text, in_lines
from neurodeploy.onchip.cost import LearningCost
from neurodeploy.onchip.learner import SENDING_BACK, LayerCounts, LearningOptions, rate_text
from neurodeploy.reporting.cost_text import between
from neurodeploy.reporting.text import overflow_text, table_text
from neurodeploy.workflow.learning.stages import Stage, retention, stages_text

KNOWN = 0.5
"""Accuracy on a class, before it is learnt, from which it is no new one."""


@dataclass(frozen=True)
class LearningResult:
    """What learning did.

    Attributes:
        deployment: the new one, or None when it was not written.
        source: the one that learnt.
        samples: learnt from.
        kept_after: samples after which the deployed weights are; 0 for those from before learning.
        judge: set whose accuracy decided that; None where it was the end of the stream.
        judge_before: accuracy on it before learning; None where nothing judged.
        judge_learnt: the best accuracy on it of weights measured on the way; likewise.
        measure: held-out set that the task is about; ``accuracy_before`` and ``accuracy_after`` are
            on it.
        accuracies_before, accuracies_after: of all held-out sets.
        accuracy_float: of the float network before quantisation, on the measure; for ``continue``.
        accuracy_ceiling: of SLTT, or of ``eprop`` where that learns, in floats after the same
            samples, or None.
        recovered: share of what was lost that came back: by drift against the upright test set, by
            quantisation against the float network; None where nothing was lost.
        updates: how often weights were updated.
        mismatches: weights and tags that differed from the reference's, over all updates together;
            None when the reference itself learnt.
        layers: events by projection, as the reference counted them.
        overflow: wraps of u and saturations of v, by population.
        cost: what it would take on the deployment's target.
        seconds: of learning on the engine, without measuring.
        warnings: what makes the deployment that learnt worth less than others.
        stages: accuracy on each class before and after each one that arrived, where they did so.
        replay: samples of known classes, or speakers, after each new one; None for other tasks.
    """

    deployment: Path | None
    source: Path
    task: str
    description: str
    engine: str
    options: LearningOptions
    samples: int
    kept_after: int
    judge: str | None
    judge_before: float | None
    judge_learnt: float | None
    measure: str
    accuracies_before: dict[str, float]
    accuracies_after: dict[str, float]
    accuracy_float: float | None
    accuracy_ceiling: float | None
    recovered: float | None
    updates: int
    mismatches: int | None
    layers: dict[str, LayerCounts]
    overflow: dict[str, tuple[int, int]]
    cost: LearningCost
    seconds: float
    warnings: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    replay: int | None = None

    @property
    def accuracy_before(self) -> float:
        """On the task's measure."""
        return self.accuracies_before[self.measure]

    @property
    def accuracy_after(self) -> float:
        """On the task's measure."""
        return self.accuracies_after[self.measure]

    @property
    def samples_per_second(self) -> float:
        """Samples learnt from per second on the engine."""
        return self.samples / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them and the new deployment keeps them."""
        table = asdict(self)
        table |= table.pop("options")
        return {
            **table,
            "source": str(self.source),
            "deployment": self.deployment and str(self.deployment),
            "accuracy_before": self.accuracy_before,
            "accuracy_after": self.accuracy_after,
            "samples_per_second": self.samples_per_second,
            "retention": [asdict(found) for found in retention(self.stages)] if self.stages else [],
        }

    def text(self) -> Text:
        """For people to read."""
        before, after, options = self.accuracies_before, self.accuracies_after, self.options
        feedback = f", {options.feedback} feedback" if options.rule in SENDING_BACK else ""
        lines: list[str] = [
            f"Engine {self.engine}: {options.rule} learnt from {self.description}",
            f"Rate {rate_text(options.rate)}, an update per {options.update}{feedback}, "
            f"{self.samples_per_second:,.1f} samples/s",
            table_text(
                ["held out", "before", "after"],
                [(name, f"{before[name]:.2%}", f"{after[name]:.2%}") for name in before],
            ),
        ]
        lines += [stages_text(self.stages)] if self.stages else []
        lines.append(self._kept())
        if self.accuracy_float is not None:
            lines.append(f"Float network, before quantisation: {self.accuracy_float:.2%}")
        if self.accuracy_ceiling is not None:
            lines.append(
                f"{'E-prop' if options.rule == 'eprop' else 'SLTT'} in floats, after the same "
                "samples: "
                f"{self.accuracy_ceiling:.2%} ({self.measure})"
            )
        if self.recovered is not None:
            lines.append(f"Recovered {self.recovered:.0%} of what was lost")
        if before.get("new", 0) > KNOWN:
            lines.append(
                Text(
                    "The new class was known before: leave it out of training with ",
                    Setting("data.exclude", "[CLASS]"),
                )
            )
        lines += [f"Warning: {warning}" for warning in self.warnings]
        lines += [*self._events(), *cost_text(self.cost), self._verdict()]
        if self.deployment is not None:
            lines.append(f"Wrote {self.deployment}/ ({LEARNING}, {LEARNING_CURVE})")
            lines.append(Text("Next: ", Step("simulate")))
        return in_lines(lines)

    def _kept(self) -> str:
        """Which weights the judge chose."""
        if self.judge is None or self.judge_before is None:
            return (
                f"Kept the final weights, after {self.kept_after:,} samples: none were set aside "
                "to choose by"
            )
        old, learnt = f"{self.judge_before:.2%}", f"{self.judge_learnt:.2%}"
        if not self.kept_after:
            return (
                f"Kept the old weights: accuracy {old} on the samples {self.judge}, the learnt "
                f"ones at best {learnt}"
            )
        return (
            f"Kept the weights after {self.kept_after:,} samples: accuracy {learnt} on the samples "
            f"{self.judge}, the old ones {old}"
        )

    def _events(self) -> list[str]:
        """Changes by layer, and whatever left its range."""
        lines = []
        for name, counts in self.layers.items():
            found = {
                "saturated": counts.saturated,
                "updates clipped": counts.clipped_updates,
                "errors clipped": counts.clipped_errors,
            }
            text = "".join(f", {count:,} {what}" for what, count in found.items() if count)
            lines.append(f"  {name:<16} {counts.updates:12,} changes of synapses{text}")
        for name, (wraps, saturations) in self.overflow.items():
            remark = overflow_text(wraps, saturations)
            if remark:
                lines.append(f"  {name}{remark}")
        return lines

    def _verdict(self) -> str:
        updates = f"over {self.updates:,} updates"
        if self.mismatches is None:
            return f"{self.updates:,} updates by the reference itself"
        if self.mismatches:
            return (
                f"MISMATCH: {self.mismatches:,} weights differ from the reference's {updates}; "
                "nothing was written"
            )
        return f"MATCH: 0 weights differ from the reference's {updates}"


def cost_text(cost: LearningCost) -> list[str]:
    """What learning would need on the chip, in a few lines."""
    lines = ["On the chip:"]
    lines += [f"  {c.what}: {c.means}; {c.detail}" for c in cost.circuits]
    lines.append(
        f"  {cost.learning_cores} cores instead of {cost.cores}, "
        f"{cost.learning_synapse_words:,} words of synapse memory instead of "
        f"{cost.synapse_words:,}"
        + (f", {cost.history_bits:,} bits of history" if cost.history_bits else "")
    )
    if cost.weights_sent:
        lines.append(f"  {cost.weights_sent:,.0f} weights sent to their copy per update")
    if cost.update_nj is not None and cost.energy_nj is not None:
        lines.append(
            f"  at least {between(asdict(cost.update_nj), 'nJ')} of dynamic energy per update; "
            f"{'; '.join(cost.sources)}"
        )
    if cost.update_us is not None:
        lines.append(
            f"  {between(asdict(cost.update_us), 'us')} of steps per update, without the change of "
            "the weights"
        )
    lines += [f"  does not fit: {violation}" for violation in cost.violations]
    return lines
