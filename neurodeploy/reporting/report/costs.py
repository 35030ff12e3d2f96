"""What a sample costs, as the report tables it: every estimate with how far off such ones were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurodeploy.mapping.readings import Quantity, checks_from, error_text
from neurodeploy.reporting.cost_text import input_events
from neurodeploy.reporting.report.deployed import in_nano
from neurodeploy.reporting.text import Table, facts


def costs(run: Mapping[str, Any]) -> Table:
    """What a sample costs: its events, its energy and its time, in units that fit the numbers.

    Args:
        run: a simulation with its estimate; one of an older version may lack what is newer.
    """
    estimate = run["estimate"]
    traffic = estimate["traffic"]
    return facts(
        [
            ("synaptic operations", f"{estimate['synaptic_ops']:,.0f}"),
            ("neuron updates", f"{estimate['neuron_updates']:,.0f} in {estimate['steps']} steps"),
            ("spikes", f"{estimate['spikes']:,.0f}, and {input_events(run)}"),
            (
                "messages",
                f"{traffic['between_cores']:,.0f} between cores, "
                f"{traffic['between_chips']:,.0f} of them between chips",
            ),
            (
                "hops",
                f"{traffic['hops_along_rows'] + traffic['hops_along_columns']:,.0f} from tile to "
                "tile",
            ),
            *_energy(estimate),
            *_ann(estimate),
            *_time(estimate),
            *_limit(estimate),
        ]
    )


MOST_BARS = 24
"""Populations with a bar of their own; of more, those that take most."""


def cost_shares(estimate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where energy and time go, each as bars with a title and a note.

    Empty for targets without figures, and in part for results of older versions.
    """
    found = []
    parts, populations = estimate.get("energy"), estimate.get("populations") or []
    if parts:
        low, high = (parts["updates"][end] for end in ("low", "high"))
        named = [
            ("synapses", _one(parts["synapses"])),
            ("updates of neurons", {"low": low, "high": high}),
            ("messages", _one(parts["spikes"])),
        ]
        note = "Bars are drawn to the higher end, with all neurons active."
        found.append(_bars("Energy by operation", named, "J", note))
    energies = [(p["population"], p["energy_nj"]) for p in populations if p.get("energy_nj")]
    if energies:
        note = "Synapses read and neurons updated on its cores, and the messages that it sends."
        found.append(_bars("Energy by population", energies, "J", note))
    limit = estimate.get("limit")
    if limit:
        terms = ("synapses", "neurons", "messages", "barrier")
        named = [(name, _one(limit[f"{name}_ns"])) for name in terms]
        note = f"On the core that others wait for, with part of {limit['population']}."
        found.append(_bars("Time of a step by operation", named, "s", note))
    times = [(p["population"], _one(p["step_ns"])) for p in populations if p.get("step_ns")]
    if times:
        note = "On its slowest core, without the barrier; the slowest of all sets the step."
        found.append(_bars("Time of a step by population", times, "s", note))
    return found


def _bars(
    title: str, named: Sequence[tuple[str, Mapping[str, float]]], unit: str, note: str
) -> dict[str, Any]:
    most = max((value["high"] for _, value in named), default=0) or 1
    if len(named) > MOST_BARS:
        note += f" The {MOST_BARS} of {len(named):,} populations that take most."
        named = sorted(named, key=lambda item: -item[1]["high"])[:MOST_BARS]
    bars = [
        {"name": name, "share": value["high"] / most, "value": in_nano(value, unit)}
        for name, value in named
    ]
    return {"title": title, "bars": bars, "note": note}


def _energy(estimate: Mapping[str, Any]) -> list[tuple[str, str]]:
    parts, energy = estimate.get("energy"), estimate.get("energy_nj")
    if not parts or not energy:
        return []
    synapses, spikes = (_one(parts[key]) for key in ("synapses", "spikes"))
    rows = [
        ("energy of synapses", in_nano(synapses, "J")),
        ("energy of updates", f"{in_nano(parts['updates'], 'J')}, all inactive to all active"),
        ("energy of messages", f"{in_nano(spikes, 'J')} on the chips' meshes"),
        ("energy", f"at least {in_nano(energy, 'J')}"),
        ("error of estimated energies", _error(estimate, "energy")),
    ]
    if estimate.get("static_nj"):
        power = {end: 1e6 * value for end, value in estimate["static_mw"].items()}
        rest = f"{in_nano(estimate['static_nj'], 'J')} in the time of a sample"
        taken = f"{in_nano(power, 'W')} were measured, so {rest}"
        rows.append(("static energy, not included", taken))
    return rows


def _ann(estimate: Mapping[str, Any]) -> list[tuple[str, str]]:
    macs = f"{estimate['macs']:,} multiply-accumulates"
    rows = [("the same as an ANN", f"{macs}, {in_nano(_one(estimate['ann_nj']), 'J')}")]
    if "ann" in estimate:
        rows = [("the same as an ANN", macs)]
    for cost in estimate.get("ann", ()):
        energy = in_nano(_one(cost["energy_nj"]), "J")
        rows.append((cost["name"], f"{energy}, {cost['kind']}: {cost['source']}"))
    if estimate.get("weight_bits", 8) < 8:
        bits = estimate["weight_bits"]
        rows.append(("bits", f"{bits} here; nothing below 8 is published of these"))
    return rows


def _time(estimate: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not estimate.get("sample_us"):
        return []
    sample, latency = (
        {end: 1000 * value for end, value in estimate[key].items()}
        for key in ("sample_us", "latency_us")
    )
    step = in_nano(estimate["step_ns"], "s")
    return [
        ("time of a step", f"at least {step}, of the slowest core and the barrier"),
        ("time of a sample", f"at least {in_nano(sample, 's')}"),
        ("latency", f"at least {in_nano(latency, 's')}, first input to last output"),
        ("error of estimated times", _error(estimate, "time")),
    ]


def _limit(estimate: Mapping[str, Any]) -> list[tuple[str, str]]:
    limit = estimate.get("limit")
    if not limit:
        return []
    times = ", ".join(
        f"{name} {in_nano(_one(limit[f'{name}_ns']), 's')}"
        for name in ("synapses", "neurons", "messages", "barrier")
    )
    place = f"core {limit['core']} of chip {limit['chip']}, which has {limit['population']}"
    return [
        ("a step waits for", f"{limit['what']} on {place}: {times}"),
        ("what would help", limit["advice"]),
    ]


def _error(estimate: Mapping[str, Any], quantity: Quantity) -> str:
    if "checks" not in estimate:
        return ""
    return error_text(checks_from(estimate["checks"]), quantity)


def _one(value: float) -> dict[str, float]:
    return {"low": value, "high": value}
