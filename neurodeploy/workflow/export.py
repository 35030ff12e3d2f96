"""Export: a NIR file or a .net onto a target, as a deployment directory.

The deployed network is what the file says, never the module that was trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neurodeploy.contract import Contract, Decode, InputCode, Integrator, Semantics
from neurodeploy.deployment import NIR_FILE, read_deployment, write_deployment
from neurodeploy.errors import CheckFailedError, UnsupportedError
from neurodeploy.files import check_new_folder, next_free, sha256
from neurodeploy.interchange.net_layers import BIAS_EXPONENT
from neurodeploy.mapping import Mapping, map_network
from neurodeploy.operators import Shape
from neurodeploy.quantized import QuantizedNetwork
from neurodeploy.target import Target, load_target
from neurodeploy.workflow.activity import read_activity
from neurodeploy.workflow.locate import DEPLOYMENTS, newest_run, read_run, read_training
from neurodeploy.workflow.netx import NetxPart, netx_part, netx_target, read_net_network


@dataclass(frozen=True)
class ContractOptions:
    """Choices the user states for a file that does not carry them; None where not stated."""

    dt: float | None = None
    reset: str | None = None
    compare: str | None = None
    integrator: Integrator | None = None
    steps: int | None = None
    encoder: str | None = None
    levels: int | None = None
    decode: Decode | None = None

    def applied_to(self, contract: Contract | None, where: str, spiking_output: bool) -> Contract:
        """The contract in force: what the file carries, overridden by what the user states.

        Raises:
            UnsupportedError: neither says everything; the message lists what is missing.
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if contract is None:
            required = {
                "dt": "seconds per step, often 1e-4 or 1e-3",
                "reset": "zero or subtract; NIR's v_reset means zero",
                "compare": "gt or ge; NIR's equations say gt",
                "integrator": "euler or exponential; most exporters mean euler",
                "steps": "time steps per sample",
            }
            missing = [
                f"  --{name}: {hint}" for name, hint in required.items() if name not in given
            ]
            if missing:
                raise UnsupportedError(
                    f"{where}: NIR does not say how it is stepped and the file carries no "
                    "neurodeploy metadata; state\n" + "\n".join(missing)
                )
            contract = Contract(
                Semantics(self.dt or 0.0, "zero", ">", "euler"),
                InputCode("events"),
                self.steps or 0,
                "spike_count" if spiking_output else "sum_v",
            )
        comparison = {"gt": ">", "ge": ">="}.get(self.compare or "", contract.semantics.comparison)
        semantics: Any = {"comparison": comparison}
        semantics |= {name: given[name] for name in ("dt", "reset", "integrator") if name in given}
        code = {name: given[name] for name in ("encoder", "levels") if name in given}
        rest = {name: given[name] for name in ("steps", "decode") if name in given}
        try:
            return replace(
                contract,
                semantics=replace(contract.semantics, **semantics),
                input_code=replace(contract.input_code, **code),
                **rest,
            )
        except ValueError as error:
            raise UnsupportedError(f"{where}: {error}") from None


@dataclass(frozen=True, eq=False)
class ExportResult:
    """What export wrote.

    Attributes:
        netx: the part for lava-dl, and what its format cannot hold.
    """

    path: Path
    source: Path
    network: QuantizedNetwork
    mapping: Mapping
    report: Path
    netx: NetxPart


def export(
    source: Path | None,
    target_name: str,
    out: Path | None = None,
    *,
    weight_bits: int | None = None,
    activity: Path | None = None,
    netx: bool = False,
    input_shape: Shape | None = None,
    options: ContractOptions | None = None,
) -> ExportResult:
    """Quantise a NIR file for a target, or take the integers of a .net; map and write a deployment.

    Args:
        source: a training run, a ``.nir`` or ``.net`` file, or None for the newest in ``runs/``.
        target_name: built-in target or path of a TOML.
        out: the new directory; ``deployments/NAME-TARGET-NNN`` when None.
        weight_bits: width of all weights; the target's when None.
        activity: a simulated deployment of the same network, by whose spikes neurons are placed.
        netx: round to integers that lava-dl's .net holds, and insist on writing one.
        input_shape: shape of a sample, for a ``.net`` that does not say.
        options: semantics for a file that carries none, or instead of those it carries.

    Raises:
        CheckFailedError: the network does not fit the target, or with ``netx`` a .net; everything
            that does not is listed.
        InputError, UnsupportedError: something cannot be read or expressed.
    """
    from neurodeploy.reporting.report import write_report

    target = load_target(target_name)
    source = newest_run() if source is None else source
    from_net = source.suffix == ".net"
    file, name = (source, source.stem) if from_net else _nir_file(source)
    if out is None:
        out = next_free(DEPLOYMENTS, f"{name}-{target.name}")
    check_new_folder(out)
    options = options or ContractOptions()
    if from_net:
        quantized, part = _from_net(file, options, weight_bits, input_shape)
    else:
        quantized = _quantized(file, options, target, weight_bits, netx)
        part = netx_part(quantized)
    shapes = {p.name: p.shape for p in quantized.populations}
    spikes = None if activity is None else read_activity(activity, shapes)
    mapping = map_network(quantized, target, spikes)
    if mapping.violations:
        raise CheckFailedError(
            f"{file} does not fit {target.name}:\n"
            + "\n".join(f"  {violation}" for violation in mapping.violations)
        )
    if netx and part.missing:
        raise CheckFailedError(
            f"{file} does not fit a .net for lava-dl:\n  " + "\n  ".join(part.missing)
        )
    training = read_training(source) if source.is_dir() else None
    write_deployment(
        out,
        quantized,
        mapping.to_dict(),
        None if from_net else file,
        asdict(target),
        str(source),
        training,
        netx=part.to_dict(),
        extra_files=part.files,
    )
    report = write_report(read_deployment(out))
    return ExportResult(out, source, quantized, mapping, report, part)


def _quantized(
    nir_file: Path, options: ContractOptions, target: Target, weight_bits: int | None, netx: bool
) -> QuantizedNetwork:
    from neurodeploy.quantization.post_training import quantize

    network = read_network(nir_file, options)
    if netx:
        return quantize(network, netx_target(target), weight_bits, BIAS_EXPONENT)
    return quantize(network, target, weight_bits)


def _from_net(
    file: Path, options: ContractOptions, weight_bits: int | None, input_shape: Shape | None
) -> tuple[QuantizedNetwork, NetxPart]:
    if weight_bits is not None:
        raise UnsupportedError(
            f"{file}: --weight-bits quantises, but a .net holds integers already; leave it out"
        )
    return read_net_network(file, options, input_shape)


def read_network(nir_file: Path, options: ContractOptions) -> Any:
    """The discretised float network that a NIR file and the stated options describe."""
    from neurodeploy.interchange.nir_file import read_nir
    from neurodeploy.interchange.nir_in import contract_of, output_spikes, to_network

    graph = read_nir(nir_file)
    found = contract_of(graph, str(nir_file))
    contract = options.applied_to(found, str(nir_file), output_spikes(graph))
    return to_network(graph, contract, nir_file.name)


def _nir_file(source: Path) -> tuple[Path, str]:
    """The NIR file meant by a run directory or a file, checked against the run's hash."""
    if source.suffix == ".nir":
        return source, source.stem
    run = read_run(source)
    nir_file = source / NIR_FILE
    if not nir_file.is_file() or sha256(nir_file) != run.get("sha256", {}).get(NIR_FILE):
        raise UnsupportedError(
            f"{nir_file}: missing or changed since training; name the file itself to export it"
        )
    return nir_file, str(run.get("recipe", {}).get("name", source.name))
