"""The engines that a deployment, or a network in memory, is simulated on, and what makes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import NET_FILE
from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, in_lines, nearest
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import Overflow, SampleBatch, SpikeTrace
from neurodeploy.support.partial import temporary_folder
from neurodeploy.workflow.device import tell_device

if TYPE_CHECKING:
    import nir
    import torch


class EngineSource(Protocol):
    """What engines are made from; each asks for the form of the network that it runs."""

    def integers(self) -> QuantizedNetwork: ...
    def floats(self) -> Network: ...
    def graph(self) -> tuple[nir.NIRGraph, Network | QuantizedNetwork]: ...
    def net_file(self) -> Path: ...


@dataclass(frozen=True, eq=False)
class DeploymentSource:
    """Integers, floats and ``.net`` as they lie in the folder."""

    deployment: Deployment

    def integers(self) -> QuantizedNetwork:
        """The integers, for the reference and Lava."""
        return self.deployment.network

    def floats(self) -> Network:
        """The floats, for the float engine."""
        from neurodeploy.artifacts.deployment import float_network

        return float_network(self.deployment)

    def graph(self) -> tuple[nir.NIRGraph, QuantizedNetwork]:
        """The floats in NIR, and a network with the same populations."""
        from neurodeploy.interchange.nir.file import read_nir
        from neurodeploy.interchange.nir.plain_graph import unnested

        network = self.deployment.network
        if self.deployment.learned:
            return _in_nir(self.floats()), network
        return unnested(read_nir(self.deployment.nir_file), network.name), network

    def net_file(self) -> Path:
        """The integers as lava-dl reads them."""
        return self.deployment.net_file


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """One network, written where an engine reads files; ``stack`` removes them."""

    network: Network | QuantizedNetwork
    stack: ExitStack

    def integers(self) -> QuantizedNetwork:
        """The integers, for the reference and Lava."""
        if not isinstance(self.network, QuantizedNetwork):
            raise InputError(
                f"{self.network.name}: this network is in floats",
                fix=Text(
                    "quantise it for engines of integers, or use ", Setting("engine", "float")
                ),
            )
        return self.network

    def floats(self) -> Network:
        """The floats, for the float engine."""
        if not isinstance(self.network, Network):
            raise InputError(
                f"{self.network.name}: this network is in integers",
                fix="engines float and norse take the one that it was quantised from",
            )
        return self.network

    def graph(self) -> tuple[nir.NIRGraph, Network]:
        """The floats in NIR, and a network with the same populations."""
        network = self.floats()
        return _in_nir(network), network

    def net_file(self) -> Path:
        """The integers as lava-dl reads them."""
        from neurodeploy.workflow.netx import netx_part

        part = netx_part(self.integers())
        if part.write is None:
            raise UnsupportedError(
                Text(
                    f"{self.network.name} does not fit a .net for lava-dl:\n",
                    in_lines(Text("  ", reason) for reason in part.missing),
                )
            )
        path = self.stack.enter_context(temporary_folder()) / NET_FILE
        part.write(path)
        return path


def _in_nir(network: Network) -> nir.NIRGraph:
    """A float network as NIR with the same populations.

    Raises:
        UnsupportedError: NIR cannot say it, or only in other populations.
    """
    from neurodeploy.interchange.nir.network_in import stepped_as_written, to_network
    from neurodeploy.interchange.nir.network_out import network_to_nir

    graph = network_to_nir(network)
    contract = stepped_as_written(graph, network.contract, network.name)
    written = {p.name: p.shape for p in to_network(graph, contract, network.name).populations}
    changed = [p.name for p in network.populations if written.get(p.name) != p.shape]
    if changed:
        raise UnsupportedError(
            f"{network.name}: engine norse runs NIR, which has population "
            f"{', '.join(map(repr, changed))} under another name or in another shape",
            fix=Text("use ", Setting("engine", "float")),
        )
    return graph


BATCH_BYTES = 32 * 2**20
"""Roughly how much the states of a batch may take; larger batches are no faster."""

LONG_BATCH_BYTES = 2**28
"""How much it may be of samples so long that few of them are ``BATCH_BYTES`` already."""

NEURONS_AT_ONCE = 2**15
"""Neurons of all samples that a step should compute: of fewer, most time goes into starting it."""

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


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is going to be used.

    Attributes:
        capacity: most samples in a batch.
        state: whether u and v of every population will be asked for.
        timeout: wall-clock seconds for engines that run other processes, or None.
        device: that the ``reference`` computes on; None for the CPU.
    """

    capacity: int
    state: bool = False
    timeout: float | None = None
    device: torch.device | None = None


def batch_size(network: Network | QuantizedNetwork) -> int:
    """Samples per batch such that the largest population's states stay within bounds.

    They are ``BATCH_BYTES``, and ``LONG_BATCH_BYTES`` where a step would have too little to do.
    """
    largest = max(math.prod(population.shape) for population in network.populations)
    per_sample = 8 * largest * network.contract.steps
    busy = min(NEURONS_AT_ONCE // largest, LONG_BATCH_BYTES // per_sample)
    return max(1, min(MOST_SAMPLES, max(busy, BATCH_BYTES // per_sample)))


def _reference(source: EngineSource, settings: EngineSettings) -> Engine:
    from neurodeploy.simulation.engines import ReferenceEngine

    network = source.integers()
    if settings.device is not None:
        tell_device(network, settings.device)
    return ReferenceEngine(network, settings.device)


def _float(source: EngineSource, settings: EngineSettings) -> Engine:
    from neurodeploy.simulation.engines import FloatEngine

    return FloatEngine(source.floats())


def _norse(source: EngineSource, settings: EngineSettings) -> Engine:
    from neurodeploy.interchange.nir.network_in import stepped_as_written
    from neurodeploy.norse.engine import NorseEngine

    graph, network = source.graph()
    shapes = {population.name: population.shape for population in network.populations}
    contract = stepped_as_written(graph, network.contract, network.name)
    return NorseEngine(graph, shapes, network.output, contract, network.name)


def _lava(source: EngineSource, settings: EngineSettings) -> Engine:
    from neurodeploy.lava.stock import LavaEngine

    return LavaEngine(source.integers(), **_in_lava(settings))


def _lava_fused(source: EngineSource, settings: EngineSettings) -> Engine:
    from neurodeploy.lava.fused import FusedLavaEngine

    return FusedLavaEngine(source.integers(), **_in_lava(settings))


def _netx(source: EngineSource, settings: EngineSettings) -> Engine:
    from neurodeploy.lava.netx import NetxEngine

    return NetxEngine(source.integers(), source.net_file(), **_in_lava(settings))


def _in_lava(settings: EngineSettings) -> dict[str, Any]:
    return {
        "capacity": settings.capacity,
        "state": settings.state,
        "timeout": settings.timeout,
    }


LAVA_ENGINES = ("lava", "lava-fused", "netx")
"""Engines that run in Lava; overflow on them is counted by the reference."""

FLOAT_ENGINES = ("float", "norse")
"""Engines of the float network: compared with integers they show what quantisation changes, with
each other what rounding does, so neither pair has to agree bit for bit."""

ENGINES: dict[str, Callable[[EngineSource, EngineSettings], Engine]] = {
    "reference": _reference,
    "float": _float,
    "norse": _norse,
    "lava": _lava,
    "lava-fused": _lava_fused,
    "netx": _netx,
}


def engine_remarks(names: Iterable[str], deployment: Deployment) -> list[str]:
    """What has to be said of the networks that engines run: floats that no integers came from."""
    if not deployment.learned:
        return []
    return [
        f"Engine {name}: the learnt integers divided by their scales, not the network before "
        "quantisation"
        for name in names
        if name in FLOAT_ENGINES
    ]


def make_engine(
    name: str,
    deployment: Deployment,
    *,
    state: bool = False,
    timeout: float | None = None,
    device: torch.device | None = None,
) -> Engine:
    """An engine by name, for what lies in a deployment.

    Args:
        state: whether u and v of every population will be asked for.
        timeout: wall-clock seconds for engines that run other processes.
        device: that the ``reference`` computes on, as ``workflow.device`` gives it.

    Raises:
        CheckFailedError: that device is not exact.
        InputError: no engine of that name.
        MissingDependencyError: the engine needs Lava or Norse, which is not installed.
        UnsupportedError: the engine cannot express something in the network.
    """
    check_engine(name)
    settings = EngineSettings(batch_size(deployment.network), state, timeout, device)
    return ENGINES[name](DeploymentSource(deployment), settings)


@contextmanager
def network_engine(
    name: str, network: Network | QuantizedNetwork, settings: EngineSettings
) -> Iterator[Engine]:
    """An engine by name, for a network in memory; closed at the end.

    Raises:
        InputError: no engine of that name, or one for the other kind of network.
        MissingDependencyError, UnsupportedError: as ``make_engine``.
    """
    check_engine(name)
    with ExitStack() as stack:
        engine = ENGINES[name](NetworkSource(network, stack), settings)
        stack.callback(engine.close)
        yield engine


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


class OverflowCount:
    """Wraps and saturations of what an engine simulates.

    Lava's processes do not report theirs; the reference, which is equal to them, counts those on
    the same batches.
    """

    def __init__(self, engine: Engine, network: Network | QuantizedNetwork) -> None:
        self._again = None
        if engine.name in LAVA_ENGINES and isinstance(network, QuantizedNetwork):
            from neurodeploy.simulation.engines import ReferenceEngine

            self._again = ReferenceEngine(network)
        self.found = engine.overflow if self._again is None else self._again.overflow

    def add(self, batch: SampleBatch) -> None:
        """Count a batch that the engine has simulated."""
        if self._again is not None:
            for _ in self._again.run([batch]):
                pass
