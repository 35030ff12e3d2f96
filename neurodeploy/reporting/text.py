"""Results as text: for a terminal, and as the tables that the report draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neurodeploy.artifacts.epochs import EpochMetrics
from neurodeploy.mapping.readings import Check, error_text
from neurodeploy.reporting.parity_report import ParityReport, PopulationParity
from neurodeploy.simulation.early_exit import EarlyExit
from neurodeploy.simulation.values import PredictedValues


def parity_text(report: ParityReport) -> str:
    """Counts per population, accuracies, the verdict and the first divergence."""
    a, b = report.engines
    lines = [f"{a} against {b}: {report.samples} samples, {report.compared:,} values compared"]
    for p in report.populations:
        lines.append(f"  {p.name:<16} {_population_text(p, report)}")
        if p.first_divergence:
            lines.append(f"    first: {p.first_divergence}")
    for engine, accuracy in (report.accuracies or {}).items():
        lines.append(f"Accuracy of {engine}: {accuracy:.2%}")
        lines.append(f"  {by_class_text(report.predictions[engine].summary())}")
    for engine, found in report.predictions.items():
        if isinstance(found, PredictedValues) and found.labels is not None:
            lines.append(f"{engine}: {value_text(found.summary())}")
    other = f"; first difference: {report.first_disagreement}" if report.first_disagreement else ""
    apart = report.max_value_difference
    if apart is not None and not report.exact:
        lines.append(f"Predicted values are at most {apart:.3g} apart{other}")
    else:
        lines.append(
            f"Same prediction on {report.agreeing_predictions} of {report.samples} samples{other}"
        )
    if report.exact:
        lines.append(f"{verdict(report)}: {report.mismatches:,} mismatches{_silence(report)}")
    elif report.silent:
        lines.append(f"SILENCE{_silence(report)}")
    if report.first_divergence:
        lines.append(
            f"First divergence: population {report.first_divergence.population!r}, "
            f"{report.first_divergence}"
        )
    return "\n".join(lines)


def spikes_text(events: float, values: float) -> str:
    """Events per sample, and what they carry when that is not 1 each."""
    if events == values:
        return f"{events:12,.1f} spikes per sample"
    return f"{events:12,.1f} events per sample, whose values sum to {values:,.1f}"


def verdict(report: ParityReport) -> str:
    """One word on engines that must be equal, or three where that means little."""
    if report.mismatches:
        return "DIFFER"
    return "MATCH of silence" if report.silent else "MATCH"


def _silence(report: ParityReport) -> str:
    if not report.silent:
        return ""
    return ", but no neuron spiked in either engine, so hardly anything was compared"


def _population_text(p: PopulationParity, report: ParityReport) -> str:
    if p.quantity == "nothing":
        return f"{'nothing':>12} compared"
    apart = f"max |dv| {p.max_v_difference:g}"
    if p.quantity != "potentials":
        agreement = "" if report.exact else f", spikes agree {p.spike_agreement:.4%}"
        return f"{p.compared:>12,} compared {p.mismatches:>10,} mismatches, {apart}{agreement}"
    if p.max_v_place is not None and p.v_range is not None:
        sample, step, *neuron = p.max_v_place
        low, high = p.v_range
        apart += f" at sample {sample}, step {step}, neuron {neuron}, of v from {low:g} to {high:g}"
    values = report.max_value_difference is not None
    read = f"{p.mismatches:,} samples classified differently, "
    read = read if p.name == report.output and not values else ""
    return f"{p.compared:>12,} v compared, {read}{apart}"


def overflow_text(wraps: int, saturations: int) -> str:
    """A remark on one population's overflow, empty without any."""
    if not wraps and not saturations:
        return ""
    return f"  ({wraps:,} wraps of u, {saturations:,} saturations of v)"


WORST = 5
"""Of more classes than twice this, a line of text names so many that do worst."""


def run_text(scores: Mapping[str, Any], best_epoch: int, epochs: int) -> str:
    """How good the weights of a run's best epoch are, in a line.

    Args:
        scores: of a run as its JSON holds them.
    """
    kept = f"with the weights of epoch {best_epoch} of {epochs}"
    if scores["test_accuracy"] is None:
        return (
            f"Test sMAPE {scores['test_smape']:.3f} {kept} "
            f"(validation {scores['validation_smape']:.3f})"
        )
    return (
        f"Test accuracy {scores['test_accuracy']:.2%} {kept} "
        f"(validation {scores['validation_accuracy']:.2%})"
    )


def value_text(summary: Mapping[str, Any]) -> str:
    """The errors of predicted values in a line; empty without targets.

    Args:
        summary: as ``PredictedValues.summary`` gives it.
    """
    if summary["smape"] is None:
        return ""
    return f"sMAPE {summary['smape']:.3f} (of 0 to 200), MSE {summary['mse']:.3g}"


def by_class_text(summary: Mapping[str, Any]) -> str:
    """Balanced accuracy and accuracy by class in a line, or errors of values; empty without labels.

    Args:
        summary: as ``Predictions.summary`` or ``PredictedValues.summary`` gives it.
    """
    if "smape" in summary:
        return value_text(summary)
    found = enumerate(summary["accuracy_by_class"])
    shares = {number: share for number, share in found if share is not None}
    if not shares:
        return ""
    listed, what = list(shares), "by class"
    if len(shares) > 2 * WORST:
        listed = sorted(shares, key=lambda number: shares[number])[:WORST]
        what = f"lowest of {len(shares)} classes"
    words = ", ".join(f"{number} {shares[number]:.1%}" for number in listed)
    lacking = len(summary["accuracy_by_class"]) - len(shares)
    return f"Balanced accuracy {summary['balanced_accuracy']:.2%}; {what}: {words}" + (
        f"; {lacking} without a sample" if lacking else ""
    )


DECODED = {
    "sum_v": "the sum of the output's potentials",
    "last_v": "the output's potential",
    "spike_count": "the count of the output's spikes",
}
"""What has a margin between its first and its second class."""


def early_exit_text(found: EarlyExit, checks: Sequence[Check]) -> str:
    """Accuracy, steps, operations and energy of samples that are read as soon as they are sure.

    Args:
        checks: how far off estimates were on this chip.
    """
    accuracy = "" if found.accuracy is None else f"accuracy {found.accuracy:.2%}, "
    steps = f"{found.mean_steps:,.2f} of {found.all_steps:,.2f} steps on average"
    lines = [
        f"Read early, once {DECODED[found.decode]} is {found.margin:g} above that of the second "
        f"class (in {found.unit}): {accuracy}{steps}, {found.agreement:.2%} of samples read as "
        "after all steps",
        f"  {found.synaptic_ops:,.0f} synaptic operations per sample, without what earlier layers "
        "have started by then",
    ]
    if found.energy_nj is not None:
        low, high = found.energy_nj["low"], found.energy_nj["high"]
        lines.append(f"  at least {low:,.1f} to {high:,.1f} nJ, estimated from the same steps")
        lines.append(f"    against the chip: {error_text(checks, 'energy')}")
    return "\n".join(lines)


def sparsity_text(metrics: EpochMetrics) -> str:
    """What the spikes of an epoch's validation samples cost, a line and one for each layer.

    Empty for epochs of which that was not recorded.
    """
    if not metrics.silent:
        return ""
    ops, lines = metrics.synaptic_operations, []
    if ops:
        lines.append(
            f"Per validation sample {sum(ops.values()):,.0f} synaptic operations: "
            + ", ".join(f"{name} {number:,.0f}" for name, number in ops.items())
        )
    for name, share in metrics.silent.items():
        lines.append(
            f"  {name:<16} {metrics.firing_rates[name]:.3f} spikes per neuron and step, "
            f"{share:.1%} of neurons silent, {metrics.saturated[name]:.1%} saturated"
        )
    if metrics.zero_weights > 0:
        lines.append(f"  {metrics.zero_weights:.1%} of all weights are zero")
    return "\n".join(lines)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns lined up, numbers to the right."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def _cell(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Table:
    """What the report draws as a table: headings and rows of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Two columns without headings; pairs without a value are left out."""
    return Table((), [pair for pair in pairs if pair[1]])
