"""lava-dl's .net in the steps a user takes: a network from one, and one in a deployment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import NetxRecord
from neurodeploy.artifacts.names import NET_FILE, NETX_SCRIPT
from neurodeploy.interchange.netx.changes import message_exponent
from neurodeploy.interchange.netx.file import (
    ImportedNet,
    NetReading,
    import_net_stated,
    write_net,
)
from neurodeploy.interchange.netx.layers import (
    BIAS_EXPONENT,
    NEVER_SPIKES,
    InputLayer,
    NetChanges,
    image_shape,
)
from neurodeploy.interchange.netx.network_out import to_layers
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.ir.stated import Stated
from neurodeploy.mapping.neuron_rules import worst_potential
from neurodeploy.target import Target


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
        return {} if self.write is None else {NET_FILE: self.write, NETX_SCRIPT: _write_script}

    @property
    def record(self) -> NetxRecord:
        """As the manifest holds it."""
        return NetxRecord(None if self.write is None else NET_FILE, self.missing, self.settings)


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
    if network.contract.predicts_values:
        reason = "outputs are values, but what runs a .net classifies"
        return NetxPart(None, (reason,), {})
    exported = to_layers(network, _silent(network))
    if exported.missing:
        return NetxPart(None, exported.missing, {}, exported.roundable)

    def write(to: Path) -> None:
        write_net(to, exported.layers, network.contract.steps)

    return NetxPart(write, (), _settings(network, any(p.delay for p in network.projections)))


def given_netx_part(path: Path, imported: ImportedNet) -> NetxPart:
    """The ``.net`` that a network came from, as it is or as far as it was read."""
    network, layers = imported.network, imported.layers
    driven = isinstance(layers[0], InputLayer) and layers[0].neuron is not None
    changes = any(isinstance(getattr(layer, "neuron", None), NetChanges) for layer in layers)
    rebuild = driven or changes or any(p.delay for p in network.projections)

    def copy(to: Path) -> None:
        if imported.unchanged:
            shutil.copyfile(path, to)
        else:
            write_net(to, layers, network.contract.steps)

    return NetxPart(copy, (), _settings(network, rebuild))


def read_net_network(
    path: Path, stated: Stated, reading: NetReading
) -> tuple[QuantizedNetwork, NetxPart]:
    """The integers of a ``.net`` under what is stated about it, and the file as it is.

    Raises:
        InputError, UnsupportedError: the file, a layer, or what is stated about it.
    """
    imported = import_net_stated(path, stated, reading)
    return imported.network, given_netx_part(path, imported)


def _silent(network: QuantizedNetwork) -> set[str]:
    """Populations without spikes that no input takes above the highest threshold of the chip."""
    found = set()
    for p in network.populations:
        if p.neuron is not None and not p.neuron.spiking:
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
        "biases": contract.input_code.biases,
        "offset": contract.input_code.offset,
        "levels": contract.input_code.levels,
        "message_bits": 0 if payload == 1 else payload.bit_length(),
        "rebuild": rebuild,
        "message_exponent": message_exponent(network),
    }


def _write_script(path: Path) -> None:
    path.write_text(
        (resources.files("neurodeploy.lava") / NETX_SCRIPT).read_text(encoding="utf-8"),
        encoding="utf-8",
    )
