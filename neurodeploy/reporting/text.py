"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from neurodeploy.reporting.parity import ParityReport


def parity_text(report: ParityReport) -> str:
    """Counts per population, accuracies, the verdict and the first divergence."""
    a, b = report.engines
    lines = [f"{a} against {b}: {report.samples} samples, {report.compared:,} values compared"]
    for p in report.populations:
        agreement = "" if report.exact else f", spikes agree {p.spike_agreement:.4%}"
        lines.append(
            f"  {p.name:<16} {p.compared:>12,} compared {p.mismatches:>10,} mismatches, "
            f"max |dv| {p.max_v_difference:g}{agreement}"
        )
        if p.first_divergence:
            lines.append(f"    first: {p.first_divergence}")
    for engine, accuracy in (report.accuracies or {}).items():
        lines.append(f"Accuracy of {engine}: {accuracy:.2%}")
    lines.append(f"Same prediction on {report.agreeing_predictions} of {report.samples} samples")
    if report.exact:
        verdict = "DIFFER" if report.mismatches else "MATCH"
        lines.append(f"{verdict}: {report.mismatches:,} mismatches")
    if report.first_divergence:
        lines.append(
            f"First divergence: population {report.first_divergence.population!r}, "
            f"{report.first_divergence}"
        )
    return "\n".join(lines)


def overflow_text(wraps: int, saturations: int) -> str:
    """A remark on one population's overflow, empty without any."""
    if not wraps and not saturations:
        return ""
    return f"  ({wraps:,} wraps of u, {saturations:,} saturations of v)"


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
