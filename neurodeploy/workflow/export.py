"""Export: a NIR file, a .net or a network in memory onto a target, as a deployment directory.

Of a run, the deployed network is what its file says, never the module that was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from neurodeploy.artifacts.deployment import (
    Deployment,
    TrainingRecord,
    read_deployment,
    write_deployment,
)
from neurodeploy.artifacts.folders import NewFolder
from neurodeploy.artifacts.names import NIR_FILE, ONNX_FILE, REPORT
from neurodeploy.errors import InputError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping
from neurodeploy.support.log import LOG
from neurodeploy.support.partial import temporary_folder
from neurodeploy.target import Target
from neurodeploy.workflow.export_plan import (
    ExportOptions,
    Plan,
    default_folder,
    mapped,
    plan_export,
    silent,
)
from neurodeploy.workflow.exported import self_contained
from neurodeploy.workflow.netx import NetxPart, netx_part

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Unpack

    from neurodeploy.interchange.onnx.network_out import Form
    from neurodeploy.quantization.scales import ScaleMethod


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
    onnx: Form | None = None,
    **options: Unpack[ExportOptions],
) -> ExportResult:
    """Quantise a NIR file for a target, or take the integers of a .net; map and write a deployment.

    Args:
        source, target_name, out, options: as of ``plan_export``.
        onnx: how the steps of the integers are to be written as plain ONNX, too; None for no file.

    Raises:
        CheckFailedError, InputError, UnsupportedError: as ``plan_export``.
        MissingDependencyError: the package that writes ONNX is not installed.
    """
    return write_export(plan_export(source, target_name, out, **options), onnx)


def write_export(plan: Plan, onnx: Form | None = None) -> ExportResult:
    """Write the deployment that was planned.

    Args:
        onnx: as of ``export``.
    """
    more = {} if onnx is None else _in_onnx(plan.network, onnx)
    LOG.info("Writing the deployment")
    with self_contained(plan.imported, plan.file) as nir_file, plan.place.made() as folder:
        deployed = _written(
            *(folder, plan.network, plan.mapping, plan.target, plan.netx, nir_file),
            source=str(plan.source),
            training=plan.training,
            more=more,
        )
    warnings = silent(deployed.network, plan.training)
    # What was read again has the words of the notes, and no longer knows what they name.
    said = plan.network.notes
    notes = {
        where: said[where] if said.get(where) == note else note
        for where, note in deployed.network.notes.items()
    }
    return ExportResult(
        *(folder, plan.source, replace(deployed.network, notes=notes), plan.mapping),
        folder / REPORT,
        *(plan.netx, warnings),
    )


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

    place = NewFolder(out, default_folder(network.name, target))
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
        mapping = mapped(network, target, None, network.name)
        part = netx_part(network)
        with place.made() as out:
            return _written(out, network, mapping, target, part, None, source=network.name)
    graph = network_to_nir(network)
    quantized = quantized_on(network, target, bits, scale, calibration)
    mapping = mapped(quantized, target, None, network.name)
    with temporary_folder() as folder, place.made() as out:
        file = folder / NIR_FILE
        write_nir(file, graph)
        part = netx_part(quantized)
        return _written(out, quantized, mapping, target, part, file, source=network.name)


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
