"""Whether an engine fits into the memory there is, asked before it is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neurodeploy.errors import Setting, SimulationError, Text
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.footprint import layerwise_bytes
from neurodeploy.support.memory import available_memory


def needed(name: str, network: Network | QuantizedNetwork, batch: int, *, state: bool) -> int:
    """Bytes that an engine takes on top of the network; 0 for one that nobody has measured.

    Args:
        name: of the engine.
        batch: samples at a time.
        state: whether u and v of every population are asked for.
    """
    estimate = _ESTIMATES.get(name)
    return 0 if estimate is None else estimate(network, batch, state)


def _reference(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    return layerwise_bytes(network, batch, state=state, number=4)


def _float(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    return layerwise_bytes(network, batch, state=state, number=8)


def _lava(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    from neurodeploy.lava.footprint import stock_bytes

    return stock_bytes(network, batch, state=state)


def _lava_fused(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    from neurodeploy.lava.footprint import fused_bytes

    return fused_bytes(network, batch, state=state)


_ESTIMATES: dict[str, Callable[[Network | QuantizedNetwork, int, bool], int]] = {
    "reference": _reference,
    "float": _float,
    "lava": _lava,
    "lava-fused": _lava_fused,
}
