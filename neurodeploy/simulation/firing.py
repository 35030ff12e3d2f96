"""What firing rates say at a glance: layers that never spike, or nearly always do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.constant import is_constant

BUSY = 0.95
"""Spikes per neuron and step from which on a layer nearly always spikes: of what it is told it
passes on next to nothing."""

NOTE = "warning"
"""Where a deployment's notes keep warnings: under this word and a number."""


def firing_warnings(
    rates: Mapping[str, float], over: str, inputs: Collection[str] = ("input",)
) -> tuple[str, ...]:
    """Name layers that carry nothing, one sentence each.

    Args:
        rates: spikes per neuron and step by layer, in order; of an input the share of its values
            that are not 0. Layers that have no threshold are left out.
        over: what they were counted on, as in ``the 64 samples``.
        inputs: those of the names that are inputs.
    """
    found, silent = [], False
    for name, rate in rates.items():
        if name in inputs:
            if rate == 0:
                found.append(f"{name} is 0 throughout {over}; check the data and their levels")
        elif rate == 0:
            # What comes after a silent layer, or a silent input, is silent for that reason.
            advice = "; lower its threshold, or check the scale of what it is given"
            found.append(f"{name} never spiked on {over}" + advice * (not silent))
        elif rate >= BUSY:
            found.append(
                f"{name} nearly always spiked on {over}, {rate:.1%} of neurons and steps; raise "
                "its threshold, or check the scale of what it is given"
            )
        silent = silent or rate == 0
    return tuple(found)


def firing_rates(
    network: Network | QuantizedNetwork,
    activity: Mapping[str, np.ndarray],
    steps: float | None = None,
) -> dict[str, float]:
    """What ``firing_warnings`` takes, of the populations that can spike and of inputs.

    Args:
        activity: mean spikes per sample of every neuron, by population; a graded one counts once.
        steps: that a sample lasts in the mean; None for T.
    """
    shown = (*input_names(network), *spiking_names(network))
    steps = network.contract.steps if steps is None else steps
    return {name: float(activity[name].mean()) / steps for name in shown if name in activity}


def input_names(network: Network | QuantizedNetwork) -> tuple[str, ...]:
    """The populations that samples enter."""
    return tuple(population.name for population in network.inputs)


def spiking_names(network: Network | QuantizedNetwork) -> tuple[str, ...]:
    """Populations of neurons that spike, without constant sources, which always fire.

    Those that send graded values have nothing to be too busy or too quiet by.
    """
    return tuple(
        p.name
        for p in network.populations
        if p.neuron is not None
        and p.neuron.spiking
        and not p.neuron.message.graded
        and not is_constant(p)
    )


def as_notes(warnings: Iterable[str]) -> dict[str, str]:
    """Warnings as a deployment's notes."""
    return {f"{NOTE} {number}": text for number, text in enumerate(warnings, 1)}


def warnings_among(notes: Mapping[str, str]) -> tuple[str, ...]:
    """What ``as_notes`` has put into a deployment's notes."""
    return tuple(text for where, text in notes.items() if where.startswith(f"{NOTE} "))
