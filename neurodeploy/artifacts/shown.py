"""A few samples of a simulation in full, kept small, for the report to show neuron by neuron.

Spikes are kept of as many neurons of each population as fit, states of fewer, all evenly spread. A
file of safetensors holds, with P the name of a population and X that of a state such as u or v,

    samples      (K,) numbers of the samples in their data set
    cores        (K, T, C) spikes of the neurons of each core; (K, 1, C) summed where that is much
    P.neurons    (n,) indices of the flattened population whose spikes are there
    P.s          (K, T, n) spikes, or the integers sent
    P.traced     (m,) those whose states are there, among the n
    P.state.X    (K, T, m)

and in its metadata which engine the states are from, or why there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from neurodeploy.support.files import written_whole
from neurodeploy.support.tensors import checked, read_tensors

STATE = ".state."


@dataclass(frozen=True, eq=False)
class ShownPopulation:
    """One population; arrays as in the file.

    Attributes:
        states: by name, in the order that they are computed in.
    """

    neurons: np.ndarray
    s: np.ndarray
    traced: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    states: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ShownSamples:
    """Some samples of a simulation.

    Attributes:
        cores: counts in the order of the mapping's placements; there with the states.
        states_of: the engine that the states are from; empty where there are none.
        missing: why there are none; empty where there are.
    """

    samples: np.ndarray
    populations: Mapping[str, ShownPopulation]
    cores: np.ndarray | None = None
    states_of: str = ""
    missing: str = ""


def write_shown(path: Path, shown: ShownSamples) -> None:
    """Write what ``read_shown`` reads.

    Raises:
        InputError: it cannot be written.
    """
    arrays = {"samples": shown.samples}
    arrays |= {} if shown.cores is None else {"cores": shown.cores}
    for name, found in shown.populations.items():
        arrays |= {f"{name}.neurons": found.neurons, f"{name}.s": found.s}
        arrays[f"{name}.traced"] = found.traced
        arrays |= {f"{name}{STATE}{what}": values for what, values in found.states.items()}
    about = {"states_of": shown.states_of, "missing": shown.missing}
    content = save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, about)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def read_shown(path: Path, names: list[str]) -> ShownSamples:
    """The samples in a file.

    Args:
        names: of the populations, of which some may be missing there.

    Raises:
        InputError: it cannot be read.
        ValueError: it holds something else.
    """
    arrays, about = read_tensors(path)
    samples = checked(arrays, "samples", "i")
    cores = checked(arrays, "cores", "i") if "cores" in arrays else None
    populations = {}
    for name in names:
        if f"{name}.s" not in arrays:
            continue
        s = checked(arrays, f"{name}.s", "iuf")
        lead, prefix = s.shape[:2], f"{name}{STATE}"
        traced = checked(arrays, f"{name}.traced", "i")
        states = {
            key.removeprefix(prefix): checked(arrays, key, "if", (*lead, len(traced)))
            for key in sorted(arrays)
            if key.startswith(prefix)
        }
        neurons = checked(arrays, f"{name}.neurons", "i", s.shape[2:])
        if len(lead) != 2 or lead[0] != len(samples):
            raise ValueError(f"tensor '{name}.s' has shape {s.shape}")
        populations[name] = ShownPopulation(neurons, s, traced, states)
    return ShownSamples(
        samples, populations, cores, about.get("states_of", ""), about.get("missing", "")
    )
