"""What is for networks that tell classes apart refuses those that predict values."""

from __future__ import annotations

from neurodeploy.data import OF_VALUES
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.recipe import Recipe


def check_tells_classes(found: Network | QuantizedNetwork | Recipe, what: str) -> None:
    """Refuse a network, or a recipe of one, whose outputs are values.

    Args:
        what: cannot use it.

    Raises:
        UnsupportedError: they are.
    """
    if isinstance(found, Recipe):
        of_values, whose = found.data.name in OF_VALUES, f"recipe {found.name}"
    else:
        of_values, whose = found.contract.predicts_values, "this network"
    if of_values:
        raise UnsupportedError(
            f"{what} counts right classes, but the outputs of {whose} are values (task = "
            '"regression")'
        )
