"""The engines a deployment can be simulated on; one line each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.errors import InputError, nearest
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import Overflow, SampleBatch, SpikeTrace

BATCH_BYTES = 32 * 2**20
"""Roughly how much the states of a batch may take; larger batches are no faster."""

MOST_SAMPLES = 256


class Engine(Protocol):
    """Anything that simulates batches of a network.

    ``run`` yields each batch with its trace, in their order, and takes the next batch only when
    it is asked for the next trace.
    """

    name: str
    overflow: Overflow

    def run(
        self, batches: Iterable[SampleBatch], *, state: bool = False
    ) -> Iterator[tuple[SampleBatch, SpikeTrace]]: ...
    def close(self) -> None: ...


def batch_size(network: QuantizedNetwork) -> int:
    """Samples per batch such that the largest population's states stay within ``BATCH_BYTES``."""
    largest = max(math.prod(population.shape) for population in network.populations)
    per_sample = 8 * largest * network.contract.steps
    return max(1, min(MOST_SAMPLES, BATCH_BYTES // per_sample))


def _reference(deployment: Deployment, state: bool, timeout: float | None) -> Engine:
    from neurodeploy.simulation.reference import ReferenceEngine

    return ReferenceEngine(deployment.network)


def _float(deployment: Deployment, state: bool, timeout: float | None) -> Engine:
    from neurodeploy.artifacts.float_network import float_network
    from neurodeploy.simulation.float_engine import FloatEngine

    return FloatEngine(float_network(deployment))


def _norse(deployment: Deployment, state: bool, timeout: float | None) -> Engine:
    from neurodeploy.interchange.nir.file import read_nir
    from neurodeploy.interchange.nir.subgraphs import unnested
    from neurodeploy.norse.engine import NorseEngine

    network = deployment.network
    shapes = {population.name: population.shape for population in network.populations}
    graph = unnested(read_nir(deployment.nir_file), network.name)
    return NorseEngine(graph, shapes, network.output, network.contract, network.name)


def _lava(deployment: Deployment, state: bool, timeout: float | None) -> Engine:
    from neurodeploy.lava.stock import LavaEngine

    capacity = batch_size(deployment.network)
    return LavaEngine(deployment.network, capacity=capacity, state=state, timeout=timeout)


def _lava_fused(deployment: Deployment, state: bool, timeout: float | None) -> Engine:
    from neurodeploy.lava.fused import FusedLavaEngine

    capacity = batch_size(deployment.network)
    return FusedLavaEngine(deployment.network, capacity=capacity, state=state, timeout=timeout)


def _netx(deployment: Deployment, state: bool, timeout: float | None) -> Engine:
    from neurodeploy.lava.netx import NetxEngine

    network = deployment.network
    capacity = batch_size(network)
    return NetxEngine(network, deployment.net_file, capacity=capacity, state=state, timeout=timeout)


LAVA_ENGINES = ("lava", "lava-fused", "netx")
"""Engines that run in Lava; overflow on them is counted by the reference."""

ENGINES: dict[str, Callable[[Deployment, bool, float | None], Engine]] = {
    "reference": _reference,
    "float": _float,
    "norse": _norse,
    "lava": _lava,
    "lava-fused": _lava_fused,
    "netx": _netx,
}


def make_engine(
    name: str, deployment: Deployment, *, state: bool = False, timeout: float | None = None
) -> Engine:
    """An engine by name.

    Args:
        state: whether u and v of every population will be asked for.
        timeout: wall-clock seconds for engines that run other processes.

    Raises:
        InputError: no engine of that name.
        MissingDependencyError: the engine needs Lava or Norse, which is not installed.
        UnsupportedError: the engine cannot express something in the network.
    """
    check_engine(name)
    return ENGINES[name](deployment, state, timeout)


def check_engine(name: str) -> None:
    """Refuse an engine that does not exist or cannot run here, before any work is done."""
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is not known{nearest(name, ENGINES)}")
    if name in LAVA_ENGINES:
        from neurodeploy.lava.compat import require_installed, require_lava_dl_installed

        (require_lava_dl_installed if name == "netx" else require_installed)()
    if name == "norse":
        from neurodeploy.norse.compat import require_installed

        require_installed()
