"""What is for networks that tell classes apart refuses those that predict values."""

from __future__ import annotations

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork


def check_tells_classes(network: Network | QuantizedNetwork, what: str) -> None:
    """Refuse a network whose outputs are values.

    Args:
        what: cannot use it.

    Raises:
        UnsupportedError: they are.
    """
    if network.contract.predicts_values:
        raise UnsupportedError(
            f"{what} counts right classes, but the outputs of this network are values (task = "
            '"regression")'
        )
