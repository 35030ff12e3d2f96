"""A ``.net`` of lava-dl as a network of integers: read, put under a contract, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurodeploy.errors import Setting, Text, UnsupportedError, in_lines
from neurodeploy.interchange.netx.layers import FlattenLayer, NetLayer
from neurodeploy.interchange.netx.network_in import input_shape, to_quantized
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.ir.contract import (
    EXPORT_DT,
    Comparison,
    Contract,
    Decode,
    Encoder,
    InputCode,
    Reset,
    Semantics,
)
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.stated import Stated

FIXED = {"reset": ("zero", "v = 0"), "comparison": (">", "v > threshold")}
"""What lava-dl's neurons do whatever is stated, and how that is said."""


@dataclass(frozen=True, eq=False)
class ImportedNet:
    """The integers of a ``.net``, and the layers that they were read from."""

    network: QuantizedNetwork
    layers: list[NetLayer]


def import_net(
    path: Path | str,
    *,
    input_shape: Shape | None = None,
    dt: float | None = None,
    reset: Reset | None = None,
    comparison: Comparison | None = None,
    steps: int | None = None,
    encoder: Encoder | None = None,
    levels: int | None = None,
    decode: Decode | None = None,
) -> ImportedNet:
    """Import a file under what is stated here; its integers stay as they are.

    Args:
        path: of a ``.net`` file.
        input_shape: shape of a sample, for a file that does not say.
        dt: seconds per step; 1e-4 when None. Integers do not depend on it.
        reset, comparison: ``zero`` and ``>``, as lava-dl's neurons have them, or None.
        steps: T, time steps per sample; needed.
        encoder: how samples become input; needed.
        levels: the largest integer of a sample; needed but for ``events``.
        decode: how the class is read; the number of spikes of an output that fires, else the sum
            of its potential, when None.

    Raises:
        InputError, UnsupportedError: the file, a layer, or what is stated about it.
    """
    stated = Stated(
        dt=dt,
        reset=reset,
        comparison=comparison,
        steps=steps,
        encoder=encoder,
        levels=levels,
        decode=decode,
    )
    return import_stated(Path(path), stated, input_shape)


def import_stated(path: Path, stated: Stated, shape: Shape | None) -> ImportedNet:
    """``import_net`` with all that is stated in one value.

    Raises:
        InputError, UnsupportedError: as ``import_net``.
    """
    layers = read_net(path)
    name = path.name
    contract = _contract(layers, stated, name)
    return ImportedNet(
        to_quantized(layers, input_shape(layers, shape, name), contract, name), layers
    )


def _contract(layers: list[NetLayer], stated: Stated, where: str) -> Contract:
    """What a ``.net`` leaves open is stated; the rest is lava-dl's own."""
    for name, (value, meaning) in FIXED.items():
        found = getattr(stated, name)
        if found not in (None, value):
            setting = Setting(name, found)
            raise UnsupportedError(
                Text(f"{where}: ", setting, f", but lava-dl's neurons have {meaning}")
            )
    encoders = "events for spikes over time, direct, rate or latency for static samples"
    hints = {"steps": "time steps per sample", "encoder": encoders}
    if stated.encoder not in (None, "events"):
        hints["levels"] = "the largest integer of a sample, 255 for images of 8 bits"
    missing = [
        Text("  ", Setting(name), f": {hint}")
        for name, hint in hints.items()
        if not getattr(stated, name)
    ]
    if missing:
        raise UnsupportedError(
            f"{where}: a .net does not say how samples enter",
            fix=Text("state\n", in_lines(missing)),
        )
    last = [layer for layer in layers if not isinstance(layer, FlattenLayer)][-1:]
    spikes = all(layer.neuron is None or layer.neuron.spikes for layer in last)
    decode = stated.decode or ("spike_count" if spikes else "sum_v")
    try:
        semantics = Semantics(EXPORT_DT if stated.dt is None else stated.dt, "zero", ">")
        code = InputCode(stated.encoder or "events", stated.levels or 1)
        return Contract(semantics, code, stated.steps or 0, decode)
    except ValueError as error:
        raise UnsupportedError(f"{where}: {error}") from None
