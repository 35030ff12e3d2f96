"""Networks that chips were read on, as far as they can be had or made again from what is published.

Weights and a sample of two of them are among the tests that lava-dl installs. Of the others sizes
and connectivity are published, but neither weights nor spikes: they are made with weights that do
not matter, and every population spikes at a low or at a high rate.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import sparse

from neurodeploy.api import import_net, simulate
from neurodeploy.artifacts.names import NET_FILE
from neurodeploy.errors import MissingDependencyError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.mapping.placement import Activity
from neurodeploy.target import Target

LAVA_DL_TESTS = Path("tests", "lava", "lib", "dl", "netx", "gts")
"""Where lava-dl installs them, below a folder of packages."""

RATES = 0.01, 0.1
"""Share of the neurons, and inputs, that spike in a step where nobody published it."""


@dataclass(frozen=True)
class ReadNetwork:
    """A network that a chip was read on, ready to be estimated.

    Attributes:
        activity: mean spikes per sample of every neuron, by population: once where a sample is at
            hand, else for a low and for a high rate.
        target: the chip, with the cores as full as they were then where that is published.
        assumed: what is not published, in words; empty without any.
    """

    network: QuantizedNetwork
    activity: Sequence[Activity]
    target: Target
    assumed: str = ""


def pilotnet_lif(target: Target) -> ReadNetwork:
    """PilotNet LIF on the image that lava-dl tests it with, 16 steps, as on the chip."""
    folder = tests_of_lava_dl() / "pilotnet_lif"
    network = import_net(folder / NET_FILE, biases=True, steps=16)
    # lava-dl has images as (x, y, channel).
    image = np.load(folder / "image.npy").transpose(2, 1, 0)
    return ReadNetwork(network, [_simulated(network, image)], target)


def n_tidigits(target: Target) -> ReadNetwork:
    """N-TIDIGITS on the recording that lava-dl tests it with; averaging its output took no core."""
    folder = tests_of_lava_dl() / "ntidigits"
    events = np.load(folder / "input.npy").T.astype(np.int64)
    network = import_net(folder / "ntidigits.net", layers=5, steps=len(events), encoder="events")
    recording = events.reshape(len(events), *network.inputs[0].shape)
    return ReadNetwork(network, [_simulated(network, recording)], target)


def braille(target: Target) -> ReadNetwork:
    """The recurrent network for Braille, 10 neurons a core as on the chip."""
    full = replace(target.core.neurons, value=min(10, target.core.neurons.value))
    network = _recurrent("Braille RSNN", (48, 450, 28), (1.0, 1.0, 1.0), 270)
    spread = replace(target, core=replace(target.core, neurons=full))
    return ReadNetwork(network, _between_rates(network, 450), spread, _assumed())


def sequential_mnist(target: Target) -> ReadNetwork:
    """The LSNN for sequential MNIST, whose 100 adaptive neurons take two compartments each.

    The second one is a neuron here that has no synapses and counts in updates alone.
    """
    network = _recurrent(
        "sequential MNIST LSNN", (80, 240, 10), (0.222, 0.183, 0.352), 840, silent=100
    )
    return ReadNetwork(network, _between_rates(network, 240), target, _assumed())


READ_NETWORKS: dict[str, Callable[[Target], ReadNetwork]] = {
    "PilotNet LIF": pilotnet_lif,
    "N-TIDIGITS": n_tidigits,
    "Braille RSNN": braille,
    "sequential MNIST LSNN": sequential_mnist,
}
"""By the name that a target's reading has."""


def tests_of_lava_dl() -> Path:
    """The folder with the networks that lava-dl tests itself with.

    Raises:
        MissingDependencyError: there is none.
    """
    for place in sys.path:
        if (Path(place) / LAVA_DL_TESTS).is_dir():
            return Path(place) / LAVA_DL_TESTS
    raise MissingDependencyError(
        "the networks that lava-dl tests itself with are not installed; they come with lava-dl"
    )


def _simulated(network: QuantizedNetwork, sample: np.ndarray) -> Activity:
    trace = simulate(network, sample[None])
    return {
        name: np.count_nonzero(record.s, axis=(0, 1)).astype(np.float64)
        for name, record in trace.populations.items()
    }


def _assumed() -> str:
    low, high = (f"{100 * rate:g}" for rate in RATES)
    return f"{low} to {high} % of neurons and inputs spike in a step"


def _between_rates(network: QuantizedNetwork, neurons: int) -> list[Activity]:
    """Every neuron at one rate, but for compartments of the population beyond its neurons."""
    found = []
    for rate in RATES:
        spikes = {
            p.name: np.full(p.shape, rate * network.contract.steps) for p in network.populations
        }
        spikes["recurrent"][neurons:] = 0
        found.append(spikes)
    return found


def _recurrent(
    name: str,
    sizes: tuple[int, int, int],
    connected: tuple[float, float, float],
    steps: int,
    silent: int = 0,
) -> QuantizedNetwork:
    """Input, a population that leads to itself, and an output.

    Args:
        connected: share of possible synapses from the input, from the population to itself and to
            the output.
        silent: compartments of the population beyond its neurons, without synapses.
    """
    neuron = QuantizedNeuron(
        "LIF", *(np.array([n]) for n in (4096, 2048, 0, 0, 100)), reset="zero", comparison=">"
    )
    rng = np.random.default_rng(0)
    joined = {"input": sizes[0], "recurrent": sizes[1], "output": sizes[2]}
    shapes = {**joined, "recurrent": sizes[1] + silent}
    populations = [
        QuantizedPopulation(key, (size,), None if key == "input" else neuron, 1.0)
        for key, size in shapes.items()
    ]
    pairs = (("input", "recurrent"), ("recurrent", "recurrent"), ("recurrent", "output"))
    projections = []
    for (source, target), share in zip(pairs, connected, strict=True):
        weights = np.zeros((shapes[target], shapes[source]), np.int64)
        size = joined[target] * joined[source]
        there = rng.permutation(size).reshape(joined[target], joined[source]) < share * size
        weights[: joined[target], : joined[source]] = 2 * there
        operator = SparseMatrix.from_matrix(
            sparse.csr_matrix(weights), (shapes[source],), (shapes[target],)
        )
        projections.append(
            QuantizedProjection(
                f"{source} to {target}",
                source,
                target,
                operator,
                WeightFormat(8, "mixed"),
                exponent=0,
                payload=1,
                delay=int(source == target),
            )
        )
    contract = Contract(Semantics(1e-3, "zero", ">"), InputCode("events"), steps, "spike_count")
    return QuantizedNetwork(name, tuple(populations), tuple(projections), "output", contract)
