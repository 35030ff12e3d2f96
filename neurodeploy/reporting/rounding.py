"""What rounding did to a deployment's weights, from the two networks that lie in it."""

from __future__ import annotations

from neurodeploy.artifacts.deployment import LEARNING, NIR_FILE, Deployment
from neurodeploy.quantization.error import ProjectionError, projection_errors


def rounding_errors(deployment: Deployment) -> tuple[ProjectionError, ...]:
    """Error of every projection; none for a network that came as integers or went on learning."""
    if not (deployment.path / NIR_FILE).is_file() or (deployment.path / LEARNING).is_file():
        return ()
    from neurodeploy.interchange.nir.file import read_nir
    from neurodeploy.interchange.nir.network_in import to_network

    network = deployment.network
    floats = to_network(read_nir(deployment.nir_file), network.contract, network.name)
    return projection_errors(floats, network)
