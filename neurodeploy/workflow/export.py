"""Export: a NIR file, a .net or a network in memory onto a target, as a deployment directory.

Of a run, the deployed network is what its file says, never the module that was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from neurodeploy.artifacts.deployment import (
    Deployment,
    TrainingRecord,
    read_deployment,
    write_deployment,
)
from neurodeploy.artifacts.folders import NewFolder, newest_run, read_training
from neurodeploy.artifacts.names import DEPLOYMENTS, NIR_FILE, ONNX_FILE, REPORT
from neurodeploy.artifacts.simulations import read_activity
from neurodeploy.errors import (
    CheckFailedError,
    InputError,
    Setting,
    Text,
    UnsupportedError,
)
from neurodeploy.interchange.netx.file import NetReading
from neurodeploy.interchange.netx.layers import BIAS_EXPONENT, MESSAGE_EXPONENT
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizationPlan, QuantizedNetwork
from neurodeploy.ir.stated import Stated
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.mapping.mapping import check_fits
from neurodeploy.neurons.readout import sending_result
from neurodeploy.simulation.firing import firing_warnings, warnings_among
from neurodeploy.support.file_names import file_name
from neurodeploy.support.files import as_path
from neurodeploy.support.partial import temporary_folder
from neurodeploy.target import Target, load_target
from neurodeploy.workflow.exported import nir_file_of, self_contained, with_data
from neurodeploy.workflow.netx import NetxPart, netx_part, netx_target, read_net_network

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from neurodeploy.interchange.nir.importing import Imported
    from neurodeploy.interchange.onnx.network_out import Form
    from neurodeploy.mapping.placement import Activity
    from neurodeploy.quantization.scales import ScaleMethod
    from neurodeploy.workflow.quantization import QuantizationOptions


@dataclass(frozen=True, eq=False)
class ExportResult:
    """What export wrote.

    Attributes:
        netx: the part for lava-dl, and what its format cannot hold.
        warnings: layers that carried nothing in training or in calibration, and samples of the
            latter that the network hardly notices.
    """

    path: Path
    source: Path
    network: QuantizedNetwork
    mapping: CoreMapping
    report: Path
    netx: NetxPart
    warnings: tuple[str, ...]


def export(
    source: Path | str | None,
    target_name: str | Path,
    out: Path | str | None = None,
    *,
    activity: Path | str | None = None,
    balance: bool = False,
    netx: bool = False,
    onnx: Form | None = None,
    input_shape: Shape | None = None,
    layers: int | None = None,
    biases: bool = False,
    message_exponent: int | None = None,
    send_result: bool = False,
    stated: Stated | None = None,
    quantization: QuantizationOptions | None = None,
) -> ExportResult:
    """Quantise a NIR file for a target, or take the integers of a .net; map and write a deployment.

    Args:
        source: a training run, a ``.nir`` or ``.net`` file, or None for the newest in ``runs/``.
        target_name: built-in target or path of a TOML.
        out: the new directory; ``deployments/NAME-TARGET-NNN`` when None.
        activity: a simulated deployment of the same network, by whose spikes neurons are placed.
        balance: by these spikes, also cut populations further so that no core takes much longer
            than the others, onto cores that are left of the chips in use.
        netx: round to integers that lava-dl's .net holds, and insist on writing one.
        onnx: how the steps of the integers are to be written as plain ONNX, too; None for no file.
        input_shape, layers, biases, message_exponent: of a ``.net``, as in
            ``interchange.netx.file.NetReading``; lava-dl's own exponent when None.
        send_result: let the output send its v at the end of each sample, as a message.
        stated: semantics for a file that carries none, or instead of those it carries.
        quantization: width of weights and how scales are chosen.

    Raises:
        CheckFailedError: the network does not fit the target, or with ``netx`` a .net; everything
            that does not is listed.
        InputError, UnsupportedError: something cannot be read or expressed.
        MissingDependencyError: the package that writes ONNX is not installed.
    """
    from neurodeploy.interchange.nir.importing import import_nir_stated
    from neurodeploy.workflow.quantization import QuantizationOptions

    target = load_target(target_name)
    source = newest_run() if source is None else as_path(source, "export")
    out = None if out is None else as_path(out, "export")
    activity = None if activity is None else as_path(activity, "export")
    from_net = source.suffix == ".net"
    file, name = (source, source.stem) if from_net else nir_file_of(source)
    place = NewFolder(out, _default_folder(name, target))
    place.check()
    stated, quantization = stated or Stated(), quantization or QuantizationOptions()
    imported = None
    training = read_training(source) if source.is_dir() else None
    if from_net:
        reading = NetReading(
            input_shape,
            layers,
            biases,
            MESSAGE_EXPONENT if message_exponent is None else message_exponent,
        )
        quantized, part = _from_net(file, stated, quantization, reading)
    else:
        of_net = {
            "layers": layers,
            "biases": biases or None,
            "message_exponent": message_exponent,
        }
        for name, value in of_net.items():
            if value is not None:
                raise UnsupportedError(
                    Text(f"{file}: ", Setting(name), " is said of a .net, and this is none")
                )
        imported = import_nir_stated(file, stated, relays=target.relay_fan_in)
        imported = replace(imported, network=with_data(imported.network, training))
        quantized = _quantized(imported, file, target, quantization, netx)
        quantized = replace(quantized, notes=_numbered(imported.notes) | quantized.notes)
        part = netx_part(quantized)
    if send_result:
        quantized = sending_result(quantized)
        part = netx_part(quantized)
    shapes = {p.name: p.shape for p in quantized.populations}
    spikes = None if activity is None else read_activity(activity, shapes)
    mapping = _mapped(quantized, target, spikes, str(file), balance)
    if netx and part.missing:
        raise CheckFailedError(
            f"{file} does not fit a .net for lava-dl:\n  " + "\n  ".join(part.missing)
        )
    more = {} if onnx is None else _in_onnx(quantized, onnx)
    with self_contained(imported, file) as nir_file, place.made() as out:
        deployed = _written(
            out,
            quantized,
            mapping,
            target,
            part,
            nir_file,
            source=str(source),
            training=training,
            more=more,
        )
    warnings = _silent(deployed.network, training)
    return ExportResult(out, source, deployed.network, mapping, out / REPORT, part, warnings)


def deploy_network(
    network: Network | QuantizedNetwork,
    target: Target,
    out: Path | None = None,
    *,
    bits: int | None = None,
    scale: ScaleMethod | None = None,
    calibration: ArrayLike | None = None,
) -> Deployment:
    """Quantise and map a network in memory, and write its deployment.

    Args:
        network: in floats, or in integers that are taken as they are.
        out: the new directory; ``deployments/NAME-TARGET-NNN`` when None.
        bits, scale, calibration: as for ``workflow.quantization.quantized_on``.

    Raises:
        CheckFailedError: the network does not fit the target; everything that does not is listed.
        InputError, UnsupportedError: something cannot be used or expressed.
    """
    from neurodeploy.interchange.nir.file import write_nir
    from neurodeploy.interchange.nir.network_out import network_to_nir
    from neurodeploy.quantization.sigma_delta import is_sigma_delta
    from neurodeploy.workflow.quantization import quantized_on

    place = NewFolder(out, _default_folder(network.name, target))
    place.check()
    if isinstance(network, Network) and is_sigma_delta(network):
        # NIR has no such neurons: what is deployed are the integers alone.
        network, calibration = quantized_on(network, target, bits, scale, calibration), None
        bits = scale = None
    if isinstance(network, QuantizedNetwork):
        if any(choice is not None for choice in (bits, scale, calibration)):
            raise InputError(
                f"{network.name} is quantised already; give bits, scale and calibration for a "
                "network in floats"
            )
        mapping = _mapped(network, target, None, network.name)
        part = netx_part(network)
        with place.made() as out:
            return _written(out, network, mapping, target, part, None, source=network.name)
    graph = network_to_nir(network)
    quantized = quantized_on(network, target, bits, scale, calibration)
    mapping = _mapped(quantized, target, None, network.name)
    with temporary_folder() as folder, place.made() as out:
        file = folder / NIR_FILE
        write_nir(file, graph)
        part = netx_part(quantized)
        return _written(out, quantized, mapping, target, part, file, source=network.name)


def _default_folder(name: str, target: Target) -> Path:
    """The one that a number goes behind, in ``deployments/`` whatever the names in files are."""
    return DEPLOYMENTS / f"{file_name(name)}-{file_name(target.name)}"


def _mapped(
    network: QuantizedNetwork,
    target: Target,
    spikes: Activity | None,
    where: str,
    balance: bool = False,
) -> CoreMapping:
    """The network on the target's cores.

    Raises:
        CheckFailedError: it does not fit; every violation is listed.
    """
    mapping = map_network(network, target, spikes, balance=balance)
    check_fits(mapping.violations, where, target.name)
    return mapping


def _written(
    out: Path,
    network: QuantizedNetwork,
    mapping: CoreMapping,
    target: Target,
    part: NetxPart,
    nir_file: Path | None,
    *,
    source: str,
    training: TrainingRecord | None = None,
    more: Mapping[str, Callable[[Path], None]] = MappingProxyType({}),
) -> Deployment:
    """Write a deployment with its report and ``more`` files by name, and read it back."""
    from neurodeploy.reporting.report import write_report
    from neurodeploy.workflow.quantization import quantized_nir

    network, nir_files = quantized_nir(network, target.name)
    write_deployment(
        out,
        network,
        mapping,
        nir_file,
        target,
        source,
        training,
        netx=part.record,
        extra_files={**part.files, **nir_files, **more},
    )
    deployed = read_deployment(out)
    write_report(deployed)
    return deployed


def _in_onnx(network: QuantizedNetwork, form: Form) -> dict[str, Callable[[Path], None]]:
    """What writes the integers as plain ONNX, by the file's name."""
    from neurodeploy.interchange.onnx.network_out import onnx_bytes

    content = onnx_bytes(network, form)

    def write(to: Path) -> None:
        to.write_bytes(content)

    return {ONNX_FILE: write}


def _quantized(
    imported: Imported,
    file: Path,
    target: Target,
    quantization: QuantizationOptions,
    netx: bool,
) -> QuantizedNetwork:
    from neurodeploy.workflow.quantization import quantized

    network = imported.network
    if netx:
        # A .net has neither the exponents nor the biases of a plan made for a chip.
        return quantized(network, netx_target(target), quantization, None, BIAS_EXPONENT)
    plan = QuantizationPlan.within(imported.graph.metadata, f"{file} metadata")
    return quantized(network, target, quantization, plan)


def _from_net(
    file: Path,
    stated: Stated,
    quantization: QuantizationOptions,
    reading: NetReading,
) -> tuple[QuantizedNetwork, NetxPart]:
    for name, value in asdict(quantization).items():
        if value is not None:
            raise UnsupportedError(
                Text(f"{file}: ", Setting(name), " quantises, but a .net holds integers already"),
                fix="leave it out",
            )
    return read_net_network(file, stated, reading)


def _numbered(notes: list[str]) -> dict[str, str]:
    """What the import assumed and repaired, as the deployment's notes."""
    return {f"import {number}": note for number, note in enumerate(notes, 1)}


def _silent(network: QuantizedNetwork, training: TrainingRecord | None) -> tuple[str, ...]:
    """Layers that carried nothing in training, and in calibration."""
    found = warnings_among(network.notes)
    if training is None or not training.history:
        return found
    best = training.history[training.best_epoch - 1]
    over = f"the validation samples of epoch {training.best_epoch}"
    return (*firing_warnings(best.get("firing_rates", {}), over), *found)
