"""What engines are made from: the files of a deployment, or a network in memory."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import NET_FILE
from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, in_lines
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork

if TYPE_CHECKING:
    import nir


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
        from neurodeploy.interchange.nir.network_in import to_network
        from neurodeploy.interchange.nir.network_out import network_to_nir

        network = self.floats()
        graph = network_to_nir(network)
        written = {
            p.name: p.shape for p in to_network(graph, network.contract, network.name).populations
        }
        changed = [p.name for p in network.populations if written.get(p.name) != p.shape]
        if changed:
            raise UnsupportedError(
                f"{network.name}: engine norse runs NIR, which has population "
                f"{', '.join(map(repr, changed))} under another name or in another shape",
                fix=Text("use ", Setting("engine", "float")),
            )
        return graph, network

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
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="neurodeploy-"))
        path = Path(folder) / NET_FILE
        part.write(path)
        return path
