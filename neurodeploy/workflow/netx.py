"""lava-dl's .net in the steps a user takes: a network from one, and one in a deployment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from neurodeploy.artifacts.deployment import NET_FILE
from neurodeploy.errors import UnsupportedError
from neurodeploy.interchange.netx.layers import (
    BIAS_EXPONENT,
    NEVER_SPIKES,
    FlattenLayer,
    InputLayer,
    NetLayer,
    image_shape,
)
from neurodeploy.interchange.netx.network_in import input_shape, to_quantized
from neurodeploy.interchange.netx.network_out import to_layers
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.interchange.netx.write import write_net
from neurodeploy.ir.contract import EXPORT_DT, Contract, Decode, InputCode, Semantics
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.neuron_rules import worst_potential
from neurodeploy.target import Target

SCRIPT = "run_netx.py"


class Stated(Protocol):
    """What of ``export``'s options a ``.net`` leaves open, None where the user does not say."""

    @property
    def dt(self) -> float | None: ...
    @property
    def reset(self) -> str | None: ...
    @property
    def compare(self) -> str | None: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def encoder(self) -> str | None: ...
    @property
    def levels(self) -> int | None: ...
    @property
    def decode(self) -> Decode | None: ...


@dataclass(frozen=True, eq=False)
class NetxPart:
    """What a deployment holds for lava-dl.

    Attributes:
        write: writes the ``.net`` to a path, None when there is none.
        missing: why there is none, one reason each.
        roundable: whether ``netx`` of ``export`` would help against all of them.
        settings: how the ``.net`` is run; its format does not say.
    """

    write: Callable[[Path], None] | None
    missing: tuple[str, ...]
    settings: dict[str, Any]
    roundable: bool = False

    @property
    def files(self) -> dict[str, Callable[[Path], None]]:
        """By name, what writes a file to a path."""
        return {} if self.write is None else {NET_FILE: self.write, SCRIPT: _write_script}

    def to_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        file = None if self.write is None else NET_FILE
        return {"file": file, "missing": list(self.missing), "settings": self.settings}


def netx_target(target: Target) -> Target:
    """The target as far as lava-dl reaches: plain weights, bias exponent 6, no other neurons."""
    synapse, neuron = target.synapse, target.neuron
    return replace(
        target,
        synapse=replace(
            synapse,
            weight_exponent_min=replace(synapse.weight_exponent_min, value=0),
            weight_exponent_max=replace(synapse.weight_exponent_max, value=0),
        ),
        neuron=replace(
            neuron,
            bias_exponent_max=replace(neuron.bias_exponent_max, value=BIAS_EXPONENT),
            programmable=replace(neuron.programmable, value=False),
        ),
    )


def netx_part(network: QuantizedNetwork) -> NetxPart:
    """The ``.net`` of a quantised network, or why there is none."""
    exported = to_layers(network, _silent(network))
    if exported.missing:
        return NetxPart(None, exported.missing, {}, exported.roundable)

    def write(to: Path) -> None:
        write_net(to, exported.layers, network.contract.steps)

    return NetxPart(write, (), _settings(network, any(p.delay for p in network.projections)))


def given_netx_part(path: Path, network: QuantizedNetwork, layers: list[NetLayer]) -> NetxPart:
    """The ``.net`` that a network came from, as it is."""
    driven = isinstance(layers[0], InputLayer) and layers[0].neuron is not None
    rebuild = driven or any(p.delay for p in network.projections)

    def copy(to: Path) -> None:
        shutil.copyfile(path, to)

    return NetxPart(copy, (), _settings(network, rebuild))


def read_net_network(
    path: Path, options: Stated, shape: Shape | None
) -> tuple[QuantizedNetwork, NetxPart]:
    """The integers of a ``.net`` under what the user states about it.

    Args:
        shape: of a sample, where the file does not say.

    Raises:
        InputError, UnsupportedError: the file, a layer, or what is stated about it.
    """
    layers = read_net(path)
    name = path.name
    contract = _contract(layers, options, name)
    network = to_quantized(layers, input_shape(layers, shape, name), contract, name)
    return network, given_netx_part(path, network, layers)


def _contract(layers: list[NetLayer], options: Stated, where: str) -> Contract:
    """What a ``.net`` leaves open is stated by the user; the rest is lava-dl's own."""
    fixed = {"reset": ("zero", "v = 0"), "compare": ("gt", "v > threshold")}
    for name, (value, meaning) in fixed.items():
        if getattr(options, name) not in (None, value):
            raise UnsupportedError(
                f"{where}: --{name} {getattr(options, name)}, but lava-dl's neurons have {meaning}"
            )
    encoders = "events for spikes over time, direct, rate or latency for static samples"
    hints = {"steps": "time steps per sample", "encoder": encoders}
    if options.encoder not in (None, "events"):
        hints["levels"] = "the largest integer of a sample, 255 for images of 8 bits"
    missing = [f"  --{name}: {hint}" for name, hint in hints.items() if not getattr(options, name)]
    if missing:
        raise UnsupportedError(
            f"{where}: a .net does not say how samples enter; state\n" + "\n".join(missing)
        )
    last = [layer for layer in layers if not isinstance(layer, FlattenLayer)][-1:]
    spikes = all(layer.neuron is None or layer.neuron.spikes for layer in last)
    decode = options.decode or ("spike_count" if spikes else "sum_v")
    try:
        semantics = Semantics(EXPORT_DT if options.dt is None else options.dt, "zero", ">")
        encoder: Any = options.encoder
        code = InputCode(encoder, options.levels or 1)
        return Contract(semantics, code, options.steps or 0, decode)
    except ValueError as error:
        raise UnsupportedError(f"{where}: {error}") from None


def _silent(network: QuantizedNetwork) -> set[str]:
    """Populations without spikes that no input takes above the highest threshold of the chip."""
    found = set()
    for p in network.populations:
        if p.neuron is not None and p.neuron.threshold is None:
            worst = worst_potential(network, p.name)
            if worst is not None and worst <= NEVER_SPIKES - 1 << ACTIVATION_SHIFT:
                found.add(p.name)
    return found


def _settings(network: QuantizedNetwork, rebuild: bool) -> dict[str, Any]:
    """What the script needs to know."""
    (source,), contract = network.inputs, network.contract
    payload = contract.input_code.payload
    return {
        "steps": contract.steps,
        "decode": contract.decode,
        "input": source.name,
        "output": network.output,
        "sample_shape": list(source.shape),
        "input_shape": list(image_shape(source.shape)),
        "static": contract.input_code.encoder == "direct",
        "message_bits": 0 if payload == 1 else payload.bit_length(),
        "rebuild": rebuild,
    }


def _write_script(path: Path) -> None:
    path.write_text(
        (resources.files("neurodeploy.lava") / SCRIPT).read_text(encoding="utf-8"), encoding="utf-8"
    )
