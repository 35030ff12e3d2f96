"""Deployment directories: what is on the chip, in files that say everything about it.

    network.nir           the float network it came from, exactly the file that was exported; not
                          there for a network that came as integers, from a .net
    quantized.nir         the deployed integers as floats in NIR, where NIR can hold them
    integers.safetensors  weights, biases, thresholds and decays
    mapping.json          which neurons sit on which core, and what each core uses
    network.net           the integers for lava-dl, where its format can hold them,
    run_netx.py           and a script that runs them there
    learning.json,        what was learnt after an earlier deployment of the network, and
    tags.safetensors      what learning keeps below each weight
    manifest.json         structure, contract, target, versions, and a hash of every file above

A deployment is written whole or not at all and none of these is changed afterwards; simulations put
their results beside them in ``results/``, and ``report.html`` tells of all that has been done.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from neurodeploy.errors import InputError, Step, Text, UnsupportedError
from neurodeploy.ir.contract import Contract
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Convolution, Dense, Operator, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.support.files import folder_written_whole, read_json, sha256, write_json
from neurodeploy.support.schema import build
from neurodeploy.support.versions import versions

FORMAT = 1
MANIFEST = "manifest.json"
NIR_FILE = "network.nir"
INTEGERS = "integers.safetensors"
MAPPING = "mapping.json"
REPORT = "report.html"
NET_FILE = "network.net"
QUANTIZED_NIR = "quantized.nir"
LEARNING = "learning.json"
TAGS = "tags.safetensors"
HASHED = (NIR_FILE, INTEGERS, MAPPING)
"""Files of every deployment; the first one only of those that came from NIR."""

NEURON_ARRAYS = ("u_decay", "v_decay", "bias_mantissa", "bias_exponent", "threshold")


@dataclass(frozen=True, eq=False)
class Deployment:
    """A loaded deployment.

    Attributes:
        manifest: the whole of ``manifest.json``.
        mapping: the whole of ``mapping.json``.
    """

    path: Path
    network: QuantizedNetwork
    manifest: dict[str, Any]
    mapping: dict[str, Any]

    @property
    def nir_file(self) -> Path:
        """The float network that was deployed.

        Raises:
            UnsupportedError: there is none; the network came as integers.
        """
        if not (self.path / NIR_FILE).is_file():
            raise UnsupportedError(
                f"{self.path}: made from integers ({self.manifest['source']}), so there is no "
                "network in floats to simulate; use an integer engine"
            )
        return self.path / NIR_FILE

    @property
    def net_file(self) -> Path:
        """The network as lava-dl reads it.

        Raises:
            UnsupportedError: its format could not hold the network; every reason is named.
        """
        if not (self.path / NET_FILE).is_file():
            reasons = self.manifest.get("netx", {}).get("missing", ["it was exported without one"])
            raise UnsupportedError(
                f"{self.path}: has no {NET_FILE} for lava-dl:\n  " + "\n  ".join(reasons)
            )
        return self.path / NET_FILE

    @property
    def results(self) -> Path:
        """Where simulations of this deployment put what they found."""
        return self.path / "results"


def write_deployment(
    path: Path,
    network: QuantizedNetwork,
    mapping: dict[str, Any],
    nir_file: Path | None,
    target: dict[str, Any],
    source: str,
    training: dict[str, Any] | None = None,
    *,
    netx: dict[str, Any] | None = None,
    extra_files: Mapping[str, Callable[[Path], None]] = MappingProxyType({}),
) -> None:
    """Write a deployment directory, whole or not at all.

    Args:
        path: the new directory.
        mapping, target: as plain JSON.
        nir_file: the NIR the network was read from, copied; None for one that came as integers.
        source: what the user exported, a run or a file, for people to read.
        training: recipe, results and epochs of the run; None for a file from elsewhere.
        netx: what the manifest says about lava-dl, as plain JSON.
        extra_files: by name, what writes a file to a path.

    Raises:
        InputError: ``path`` exists or cannot be written.
    """
    with folder_written_whole(path) as folder:
        if nir_file is not None:
            shutil.copyfile(nir_file, folder / NIR_FILE)
        save_file(_arrays(network), folder / INTEGERS)
        write_json(folder / MAPPING, mapping)
        for name, write in extra_files.items():
            write(folder / name)
        hashed = (*(HASHED if nir_file else HASHED[1:]), *extra_files)
        manifest = {
            "format": FORMAT,
            "kind": "deployment",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "source": source,
            "training": training,
            "origin": "nir" if nir_file else "net",
            "target": target,
            "network": _structure(network),
            "netx": netx or {},
            "versions": versions(),
            "files": {name: sha256(folder / name) for name in hashed},
        }
        write_json(folder / MANIFEST, manifest)


def read_deployment(path: Path) -> Deployment:
    """Read a deployment and check every file against its hash.

    Raises:
        InputError: not a deployment, a newer format, or a file missing or altered.
    """
    if not (path / MANIFEST).is_file():
        raise InputError(
            f"{path}: not a deployment (no {MANIFEST})", fix=Text("make one with ", Step("export"))
        )
    manifest = read_json(path / MANIFEST)
    if manifest.get("kind") != "deployment" or manifest.get("format") != FORMAT:
        raise InputError(
            f"{path / MANIFEST}: kind {manifest.get('kind')!r} format {manifest.get('format')!r}; "
            f"this version reads deployments of format {FORMAT}"
        )
    hashes = manifest.get("files")
    hashes = hashes if isinstance(hashes, dict) else {}
    expected = HASHED[1:] if manifest.get("origin") == "net" else HASHED
    for name in dict.fromkeys([*expected, *hashes]):
        file = path / name
        if not file.is_file():
            raise InputError(f"{file}: missing from the deployment; export it again")
        if sha256(file) != hashes.get(name):
            raise InputError(f"{file}: changed since the export (hash differs); export it again")
    try:
        arrays = load_file(path / INTEGERS)
        network = _network(manifest["network"], arrays, str(path / MANIFEST))
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: damaged deployment ({error!r}); export it again") from None
    return Deployment(path, network, manifest, read_json(path / MAPPING))


def _arrays(network: QuantizedNetwork) -> dict[str, np.ndarray]:
    arrays = {}
    for population in network.populations:
        for name in NEURON_ARRAYS if population.neuron else ():
            value = getattr(population.neuron, name)
            if value is not None:
                full = np.broadcast_to(value, population.shape)
                arrays[f"{population.name}/{name}"] = np.ascontiguousarray(full, np.int32)
    for projection in network.projections:
        operator = projection.operator
        arrays[f"{projection.name}/weights"] = np.ascontiguousarray(operator.weights, np.int32)
        if isinstance(operator, SparseMatrix):
            for name in ("indices", "indptr"):
                values = np.ascontiguousarray(getattr(operator, name), np.int64)
                arrays[f"{projection.name}/{name}"] = values
    return arrays


def _structure(network: QuantizedNetwork) -> dict[str, Any]:
    return {
        "name": network.name,
        "output": network.output,
        "contract": asdict(network.contract),
        "notes": network.notes,
        "populations": [
            {
                "name": p.name,
                "shape": list(p.shape),
                "scale": p.scale,
                "neuron": p.neuron
                and {
                    "kind": p.neuron.kind,
                    "reset": p.neuron.reset,
                    "comparison": p.neuron.comparison,
                    "spikes": p.neuron.threshold is not None,
                },
            }
            for p in network.populations
        ],
        "projections": [
            {
                "name": p.name,
                "source": p.source,
                "target": p.target,
                "operator": _operator_structure(p.operator),
                "weight_format": asdict(p.weight_format),
                "exponent": p.exponent,
                "payload": p.payload,
                "delay": p.delay,
                "clipped": p.clipped,
            }
            for p in network.projections
        ],
    }


def _operator_structure(operator: Operator) -> dict[str, Any]:
    structure: dict[str, Any] = {
        "kind": operator.kind,
        "input_shape": list(operator.input_shape),
        "output_shape": list(operator.output_shape),
    }
    if isinstance(operator, Convolution):
        for name in ("stride", "padding", "dilation", "groups"):
            structure[name] = getattr(operator, name)
    return structure


def _network(table: dict[str, Any], arrays: dict[str, np.ndarray], where: str) -> QuantizedNetwork:
    populations = tuple(
        QuantizedPopulation(
            p["name"],
            tuple(p["shape"]),
            p["neuron"] and _neuron(p["name"], p["neuron"], arrays),
            p["scale"],
        )
        for p in table["populations"]
    )
    projections = tuple(
        QuantizedProjection(
            name=p["name"],
            source=p["source"],
            target=p["target"],
            operator=_operator(p["name"], p["operator"], arrays),
            weight_format=WeightFormat(**p["weight_format"]),
            exponent=p["exponent"],
            payload=p["payload"],
            delay=p["delay"],
            clipped=p["clipped"],
        )
        for p in table["projections"]
    )
    contract = build(Contract, table["contract"], where)
    return QuantizedNetwork(
        table["name"], populations, projections, table["output"], contract, table["notes"]
    )


def _neuron(name: str, table: dict[str, Any], arrays: dict[str, np.ndarray]) -> QuantizedNeuron:
    values: dict[str, Any] = {
        field: None
        if field == "threshold" and not table["spikes"]
        else arrays[f"{name}/{field}"].astype(np.int64)
        for field in NEURON_ARRAYS
    }
    return QuantizedNeuron(
        kind=table["kind"], reset=table["reset"], comparison=table["comparison"], **values
    )


def _operator(name: str, table: dict[str, Any], arrays: dict[str, np.ndarray]) -> Operator:
    weights = arrays[f"{name}/weights"].astype(np.int64)
    input_shape, output_shape = tuple(table["input_shape"]), tuple(table["output_shape"])
    if table["kind"] == "dense":
        return Dense(weights, input_shape, output_shape)
    if table["kind"] == "conv":
        return Convolution(
            weights,
            input_shape,
            tuple(table["stride"]),
            tuple((before, after) for before, after in table["padding"]),
            tuple(table["dilation"]),
            table["groups"],
        )
    if table["kind"] == "sparse":
        indices, indptr = arrays[f"{name}/indices"], arrays[f"{name}/indptr"]
        return SparseMatrix(weights, indices, indptr, input_shape, output_shape)
    raise ValueError(f"operator kind {table['kind']!r}")
