"""The table of what a sample costs, in units that fit the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from neurodeploy.reporting.report.table import Table, facts


def costs(estimate: Mapping[str, Any]) -> Table:
    """Events of a sample, its energy and its time."""
    traffic, energy = estimate["traffic"], estimate.get("energy_nj")
    parts = estimate.get("energy")
    rows = [
        ("synaptic operations", f"{estimate['synaptic_ops']:,.0f}"),
        ("neuron updates", f"{estimate['neuron_updates']:,.0f} in {estimate['steps']} steps"),
        ("spikes", f"{estimate['spikes']:,.0f}, and {estimate['input_spikes']:,.0f} of input"),
        (
            "messages",
            f"{traffic['between_cores']:,.0f} between cores, {traffic['between_chips']:,.0f} of "
            "them between chips",
        ),
        (
            "hops",
            f"{traffic['hops_along_rows'] + traffic['hops_along_columns']:,.0f} from tile to tile",
        ),
    ]
    if parts and energy:
        synapses, spikes = (
            {"low": parts[key], "high": parts[key]} for key in ("synapses", "spikes")
        )
        rows += [
            ("energy of synapses", in_nano(synapses, "J")),
            ("energy of updates", f"{in_nano(parts['updates'], 'J')}, all inactive to all active"),
            ("energy of messages", f"{in_nano(spikes, 'J')} on the chips' meshes"),
            ("energy", f"at least {in_nano(energy, 'J')}"),
        ]
    ann = {"low": estimate["ann_nj"], "high": estimate["ann_nj"]}
    rows.append(
        ("the same as an ANN", f"{estimate['macs']:,} multiply-accumulates, {in_nano(ann, 'J')}")
    )
    if estimate.get("sample_us"):
        sample, latency = (
            {end: 1000 * value for end, value in estimate[key].items()}
            for key in ("sample_us", "latency_us")
        )
        step = in_nano(estimate["step_ns"], "s")
        rows += [
            ("time of a step", f"at least {step}, of the slowest core and the barrier"),
            ("time of a sample", f"at least {in_nano(sample, 's')}"),
            ("latency", f"at least {in_nano(latency, 's')}, first input to last output"),
        ]
    return facts(rows)


def in_nano(found: Mapping[str, float], unit: str) -> str:
    """From ``low`` to ``high``, given in nano units, with three digits."""
    factor, prefix = next(
        ((1000.0**power, prefix) for power, prefix in ((3, ""), (2, "m"), (1, "\u00b5"))
         if found["high"] >= 1000.0**power),
        (1.0, "n"),
    )  # fmt: skip
    low, high = (_digits(found[end] / factor) for end in ("low", "high"))
    return f"{low} {prefix}{unit}" if low == high else f"{low} to {high} {prefix}{unit}"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    value = float(f"{value:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{min(decimals, 6)}f}"
