"""What a sample costs as text: no figure without how far off such figures were on the chip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurodeploy.mapping.estimate import Estimate
from neurodeploy.mapping.readings import error_text
from neurodeploy.mapping.step import StepLimit


def estimate_text(estimate: Estimate) -> str:
    """What a sample costs on the chip, how sure that is, what it waits for, and an ANN's cost."""
    found, table = estimate.traffic, estimate.to_dict()
    lines = [
        f"Per sample on the chip: {estimate.synaptic_ops:,.0f} synaptic operations, "
        f"{estimate.neuron_updates:,.0f} neuron updates, {estimate.spikes:,.0f} spikes, "
        f"{estimate.input_spikes:,.0f} input events, "
        f"{found.between_cores:,.0f} messages between cores"
    ]
    if estimate.graded:
        lines.append(
            f"  of the spikes {estimate.graded:,.0f} carry integers, each counted as one message: "
            "no cost of their width is published"
        )
    if estimate.energy:
        total = estimate.energy.total
        lines += [
            f"  at least {total.low:,.1f} to {total.high:,.1f} nJ of dynamic energy",
            f"    against the chip: {error_text(estimate.checks, 'energy')}",
        ]
        if estimate.static_nj and estimate.static_mw:
            lines.append("    " + rest_text(table))
    lines += ["  " + line for line in ann_lines(table)]
    if estimate.sample_us and estimate.latency_us:
        lines += [
            f"  at least {estimate.sample_us.low:,.1f} to {estimate.sample_us.high:,.1f} us per "
            f"sample, latency {estimate.latency_us.low:,.1f} to {estimate.latency_us.high:,.1f} us",
            f"    against the chip: {error_text(estimate.checks, 'time')}",
        ]
    if estimate.limit:
        lines.append("  " + limit_text(estimate.limit))
    lines += [f"  {source}" for source in estimate.sources]
    return "\n".join(lines)


def input_events(run: Mapping[str, Any]) -> str:
    """Events of the input in a simulation: spikes, or the values that are not 0, with their sum.

    Args:
        run: its summary, with an estimate.
    """
    text = f"{run['estimate']['input_spikes']:,.1f} events of input"
    events, values = run.get("spikes_per_sample", {}), run.get("values_per_sample", {})
    graded = sum(value for name, value in values.items() if value != events.get(name))
    return f"{text}, whose values sum to {graded:,.1f}" if graded else text


def limit_text(limit: StepLimit) -> str:
    """What a step waits for, with the times, and what would help."""
    times = ", ".join(
        f"{name} {value / 1000:,.2f}"
        for name, value in (
            ("synapses", limit.synapses_ns),
            ("neurons", limit.neurons_ns),
            ("messages", limit.messages_ns),
            ("barrier", limit.barrier_ns),
        )
    )
    return (
        f"a step waits for {limit.what} on core {limit.core} of chip {limit.chip}, which has "
        f"{limit.population!r} (us: {times}); to speed it up, {limit.advice}"
    )


def rest_text(estimate: Mapping[str, Any]) -> str:
    """What the chips take at rest beside an estimate, which has none of it."""
    power, energy = estimate["static_mw"], estimate["static_nj"]
    return (
        f"not included: static power, measured as {between(power, 'mW')} on whole networks, so "
        f"{between(energy, 'nJ')} in the time of a sample if nothing else uses the chip"
    )


def ann_lines(estimate: Mapping[str, Any]) -> list[str]:
    """The same network as an ANN, on every kind of hardware, a source a line."""
    bits = estimate["weight_bits"]
    narrower = f", of {bits} bits here; nothing below 8 is published" if bits < 8 else ""
    lines = [f"as an ANN, {estimate['macs']:,} multiply-accumulates{narrower}:"]
    listed: dict[str, list[str]] = {}
    for cost in estimate["ann"]:
        where = f"{cost['kind']}: {cost['source']}"
        listed.setdefault(where, []).append(f"{cost['name']} {cost['energy_nj']:,.1f} nJ")
    return lines + [f"  {', '.join(costs)} ({where})" for where, costs in listed.items()]


def between(ends: Mapping[str, float], unit: str) -> str:
    """From ``low`` to ``high``, with three digits; one number where both read alike."""
    low, high = (
        f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"
        for value in (ends["low"], ends["high"])
    )
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
