"""What an export would write: the network in integers, and its place on the target.

Of a run, the deployed network is what its file says, never the module that was trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from neurodeploy.artifacts.deployment import TrainingRecord
from neurodeploy.artifacts.folders import NewFolder, newest_run, read_training
from neurodeploy.artifacts.names import DEPLOYMENTS
from neurodeploy.artifacts.simulations import read_activity
from neurodeploy.errors import CheckFailedError, Setting, Text, UnsupportedError
from neurodeploy.farm import Place, plan
from neurodeploy.interchange.netx.file import NetReading
from neurodeploy.interchange.netx.layers import BIAS_EXPONENT, MESSAGE_EXPONENT
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizationPlan, QuantizedNetwork
from neurodeploy.ir.stated import Stated
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.mapping.mapping import check_fits
from neurodeploy.neurons.readout import sending_result
from neurodeploy.simulation.firing import firing_warnings, warnings_among
from neurodeploy.support.file_names import file_name
from neurodeploy.support.files import as_path
from neurodeploy.support.log import LOG
from neurodeploy.target import Target, load_target
from neurodeploy.workflow.exported import nir_file_of, with_data
from neurodeploy.workflow.netx import NetxPart, netx_part, netx_target, read_net_network

if TYPE_CHECKING:
    from neurodeploy.interchange.nir.importing import Imported
    from neurodeploy.mapping.placement import Activity
    from neurodeploy.workflow.quantization import QuantizationOptions


@dataclass(frozen=True, eq=False)
class Plan:
    """What an export would write.

    Attributes:
        source: the run or file.
        place: where the deployment would go.
        imported: what the file was read as; None of a .net.
        netx: as of ``ExportResult``.
    """

    source: Path
    file: Path
    place: NewFolder
    target: Target
    imported: Imported | None
    training: TrainingRecord | None
    network: QuantizedNetwork
    mapping: CoreMapping
    netx: NetxPart

    @property
    def warnings(self) -> tuple[str, ...]:
        """As of ``ExportResult``."""
        return silent(self.network, self.training)


class ExportOptions(TypedDict, total=False):
    """What may be said of an export; see ``plan_export``."""

    activity: Path | str | None
    balance: bool
    netx: bool
    input_shape: Shape | None
    layers: int | None
    biases: bool
    message_exponent: int | None
    send_result: bool
    stated: Stated | None
    quantization: QuantizationOptions | None
    workers: int | None
    scheduler: str | None


def plan_export(
    source: Path | str | None,
    target_name: str | Path,
    out: Path | str | None = None,
    *,
    activity: Path | str | None = None,
    balance: bool = False,
    netx: bool = False,
    input_shape: Shape | None = None,
    layers: int | None = None,
    biases: bool = False,
    message_exponent: int | None = None,
    send_result: bool = False,
    stated: Stated | None = None,
    quantization: QuantizationOptions | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Plan:
    """Quantise a NIR file for a target, or take the integers of a .net, and map it.

    Args:
        source: a training run, a ``.nir`` or ``.net`` file, or None for the newest in ``runs/``.
        target_name: built-in target or path of a TOML.
        out: the new directory; ``deployments/NAME-TARGET-NNN`` when None.
        activity: a simulated deployment of the same network, by whose spikes neurons are placed.
        balance: by these spikes, also cut populations further so that no core takes much longer
            than the others, onto cores that are left of the chips in use.
        netx: round to integers that lava-dl's .net holds, and insist on writing one.
        input_shape, layers, biases, message_exponent: of a ``.net``, as in
            ``interchange.netx.file.NetReading``; lava-dl's own exponent when None.
        send_result: let the output send its v at the end of each sample, as a message.
        stated: semantics for a file that carries none, or instead of those it carries.
        quantization: width of weights and how scales are chosen.
        workers: processes of this machine that share a calibration; the integers are the same.
        scheduler: address of a Dask scheduler whose workers share it instead.

    Raises:
        CheckFailedError: the network does not fit the target, or with ``netx`` a .net; everything
            that does not is listed.
        InputError, UnsupportedError: something cannot be read or expressed.
    """
    from neurodeploy.interchange.nir.importing import import_nir_stated
    from neurodeploy.workflow.quantization import QuantizationOptions

    target = load_target(target_name)
    source = newest_run() if source is None else as_path(source, "export")
    out = None if out is None else as_path(out, "export")
    activity = None if activity is None else as_path(activity, "export")
    from_net = source.suffix == ".net"
    file, name = (source, source.stem) if from_net else nir_file_of(source)
    place = NewFolder(out, default_folder(name, target))
    place.check()
    stated, quantization = stated or Stated(), quantization or QuantizationOptions()
    shared = plan(workers, scheduler)
    imported = None
    training = read_training(source) if source.is_dir() else None
    if from_net:
        if shared is not None:
            raise _quantises(file, shared.setting)
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
                    Text(f"{file}: ", Setting(name), " is for a .net, and this is another file")
                )
        imported = import_nir_stated(file, stated, relays=target.relay_fan_in)
        imported = replace(imported, network=with_data(imported.network, training))
        LOG.info(f"Quantising {source} for {target.name}")
        quantized = _quantized(imported, file, target, quantization, netx, shared)
        quantized = replace(quantized, notes=_numbered(imported.notes) | quantized.notes)
        part = netx_part(quantized)
    if send_result:
        quantized = sending_result(quantized)
        part = netx_part(quantized)
    shapes = {p.name: p.shape for p in quantized.populations}
    spikes = None if activity is None else read_activity(activity, shapes)
    LOG.info(f"Placing {len(quantized.populations)} populations on {target.name}")
    mapping = mapped(quantized, target, spikes, str(file), balance)
    if netx and part.missing:
        raise CheckFailedError(
            f"{file} does not fit a .net for lava-dl:\n  " + "\n  ".join(part.missing)
        )
    return Plan(source, file, place, target, imported, training, quantized, mapping, part)


def default_folder(name: str, target: Target) -> Path:
    """The one that a number goes behind, in ``deployments/`` whatever the names in files are."""
    return DEPLOYMENTS / f"{file_name(name)}-{file_name(target.name)}"


def mapped(
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


def _quantized(
    imported: Imported,
    file: Path,
    target: Target,
    quantization: QuantizationOptions,
    netx: bool,
    place: Place | None,
) -> QuantizedNetwork:
    from neurodeploy.workflow.quantization import quantized

    network = imported.network
    if netx:
        # A .net has neither the exponents nor the biases of a plan made for a chip.
        return quantized(network, netx_target(target), quantization, None, BIAS_EXPONENT, place)
    trained_for = QuantizationPlan.within(imported.graph.metadata, f"{file} metadata")
    return quantized(network, target, quantization, trained_for, place=place)


def _from_net(
    file: Path,
    stated: Stated,
    quantization: QuantizationOptions,
    reading: NetReading,
) -> tuple[QuantizedNetwork, NetxPart]:
    for name, value in asdict(quantization).items():
        if value is not None:
            raise _quantises(file, name)
    return read_net_network(file, stated, reading)


def _quantises(file: Path, name: str) -> UnsupportedError:
    """Said of an option that a file of integers has no use for."""
    return UnsupportedError(
        Text(f"{file}: ", Setting(name), " quantises, but a .net holds integers already"),
        fix="leave it out",
    )


def _numbered(notes: list[str]) -> dict[str, str]:
    """What the import assumed and repaired, as the deployment's notes."""
    return {f"import {number}": note for number, note in enumerate(notes, 1)}


def silent(network: QuantizedNetwork, training: TrainingRecord | None) -> tuple[str, ...]:
    """Layers that carried nothing in training, and in calibration."""
    found = warnings_among(network.notes)
    if training is None or not training.history:
        return found
    best = training.history[training.best_epoch - 1]
    over = f"the validation samples of epoch {training.best_epoch}"
    return (*firing_warnings(best.get("firing_rates", {}), over), *found)
