"""The network in floats that a deployment was made from."""

from __future__ import annotations

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import to_network
from neurodeploy.ir.network import Network


def float_network(deployment: Deployment) -> Network:
    """The network before quantisation, under the contract of the deployment.

    Raises:
        UnsupportedError: the deployment came as integers.
    """
    graph = read_nir(deployment.nir_file)
    return to_network(graph, deployment.network.contract, deployment.network.name)
