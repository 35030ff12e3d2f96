"""NeuroBench's metrics in words, for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def neurobench_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the metrics.

    Args:
        found: as ``NeuroBench.as_dict`` gives them.
    """
    operations = found["synaptic_operations"]
    return [
        (
            "footprint",
            f"{found['footprint']:,} bytes in float32, {found['bit_footprint']:,.0f} at the "
            "chip's widths",
        ),
        ("connection sparsity", f"{found['connection_sparsity']:.4f}"),
        ("activation sparsity", f"{found['activation_sparsity']:.4f}"),
        ("effective MACs", f"{operations['Effective_MACs']:,.1f}"),
        ("effective ACs", f"{operations['Effective_ACs']:,.1f}"),
        ("dense operations", f"{operations['Dense']:,.1f}"),
        ("membrane updates", f"{found['membrane_updates']:,.1f}"),
    ]


def neurobench_text(found: Mapping[str, Any]) -> str:
    """The same as lines of text."""
    rows = (f"  {name:<20} {value}" for name, value in neurobench_rows(found))
    return "\n".join(("NeuroBench, as its harness 2.3.0 counts, per sample:", *rows))
