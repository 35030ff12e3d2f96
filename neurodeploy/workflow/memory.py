"""Whether engines fit into the memory there is, asked before they are built; which one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from neurodeploy.errors import Setting, SimulationError, Text
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.footprint import layerwise_bytes
from neurodeploy.support.memory import available_memory
from neurodeploy.workflow.engines import LAVA_ENGINES

STOCK_FIRST = ("lava", "lava-fused", "reference")
"""Engines of integers of which a default is the first that can run here, Lava's own first."""


def needed(name: str, network: Network | QuantizedNetwork, batch: int, *, state: bool) -> int:
    """Bytes that an engine takes on top of the network; 0 for one that is not estimated.

    Args:
        name: of the engine.
        batch: samples at a time.
        state: whether u and v of every population are asked for.
    """
    estimate = _ESTIMATES.get(name)
    return 0 if estimate is None else estimate(network, batch, state)


def check_memory(
    names: Sequence[str],
    network: Network | QuantizedNetwork,
    batch: int,
    *,
    state: bool,
    setting: str = "engine",
    copies: int = 1,
) -> None:
    """Refuse engines that would not fit into memory together, before any of them is built.

    Args:
        names: of the engines; with one of Lava the reference counts overflow.
        batch, state: as for ``needed``.
        setting: what the caller chose them by.
        copies: of all of them, on as many workers of this machine.

    Raises:
        SimulationError: with what they need, what is free and which would fit.
    """
    found = available_memory()
    need = _together(names, network, batch, state)
    if found is None or need * copies <= found:
        return
    free = found // copies
    largest = max(names, key=lambda name: needed(name, network, batch, state=state))
    alternatives = [
        [other if name == largest else name for name in names]
        for other in STOCK_FIRST
        if other not in names and isinstance(network, QuantizedNetwork) and _runs_here(other)
    ]
    fitting = (c for c in alternatives if _together(c, network, batch, state) <= free)
    chosen = next(fitting, None)
    raise SimulationError(
        f"{'engines' if len(names) > 1 else 'engine'} {' and '.join(names)} would need about "
        f"{_gigabytes(need)} of memory for {batch} sample{'s' * (batch > 1)} at a time, "
        f"{_gigabytes(free)} are free" + (f" for each of {copies} workers" if copies > 1 else ""),
        fix=Text("free some, or simulate on a machine with more")
        if chosen is None
        else Text(
            "use ",
            Setting(setting, ",".join(chosen)),
            f", about {_gigabytes(_together(chosen, network, batch, state))}",
        ),
    )


def default_engine(
    network: QuantizedNetwork, batch: int, *, state: bool, beside: Sequence[str] = ()
) -> tuple[str, str | None]:
    """The first of ``STOCK_FIRST`` that is installed and fits into memory, and why no earlier one.

    Args:
        batch, state: as for ``needed``.
        beside: engines that run at the same time, none of which is chosen again.

    Returns:
        The first of all, where none fits: then it is refused with figures. The reason is None
        where it is the first that is installed.
    """
    free = available_memory()
    choice = [name for name in STOCK_FIRST if name not in beside and _runs_here(name)]
    for name in choice:
        need = _together([*beside, name], network, batch, state)
        if free is None or need <= free:
            return name, _reason(name, choice[0], network, batch, state, free)
    return (choice or [STOCK_FIRST[0]])[0], None


def default_pair(
    network: Network | QuantizedNetwork, batch: int
) -> tuple[tuple[str, str], str | None]:
    """The reference, and the first engine in Lava that fits beside it, both with state; and why.

    Floats, which neither of them runs, are refused when the engines are made.
    """
    first = "reference"
    if not isinstance(network, QuantizedNetwork):
        return (first, STOCK_FIRST[0]), None
    second, reason = default_engine(network, batch, state=True, beside=[first])
    return (first, second), reason


def _reason(
    name: str,
    first: str,
    network: QuantizedNetwork,
    batch: int,
    state: bool,
    free: int | None,
) -> str | None:
    if name == STOCK_FIRST[0]:
        return None
    if not _runs_here(STOCK_FIRST[0]):
        return f"{name} was chosen: Lava is not installed"
    if name == first or free is None:
        return None
    need = _gigabytes(_together([first], network, batch, state))
    return (
        f"{name} was chosen: {first} would need about {need} of memory, {_gigabytes(free)} are free"
    )


def _together(
    names: Sequence[str], network: Network | QuantizedNetwork, batch: int, state: bool
) -> int:
    """Bytes of all engines, and of the reference where Lava's do not count their overflow."""
    counted = [] if "reference" in names or not set(names) & set(LAVA_ENGINES) else ["reference"]
    return sum(needed(name, network, batch, state=state) for name in names) + sum(
        needed(name, network, batch, state=False) for name in counted
    )


def _runs_here(name: str) -> bool:
    if name not in LAVA_ENGINES:
        return True
    from neurodeploy.lava.compat import lava_available

    return lava_available()


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"


def _reference(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    return layerwise_bytes(network, batch, state=state, number=4)


def _float(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    return layerwise_bytes(network, batch, state=state, number=8)


def _lava(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    from neurodeploy.lava.footprint import stock_bytes

    # Floats are refused when the engine is made.
    return stock_bytes(network, batch, state=state) if isinstance(network, QuantizedNetwork) else 0


def _lava_fused(network: Network | QuantizedNetwork, batch: int, state: bool) -> int:
    from neurodeploy.lava.footprint import fused_bytes

    return fused_bytes(network, batch, state=state) if isinstance(network, QuantizedNetwork) else 0


_ESTIMATES: dict[str, Callable[[Network | QuantizedNetwork, int, bool], int]] = {
    "reference": _reference,
    "float": _float,
    "lava": _lava,
    "lava-fused": _lava_fused,
}
