"""The deployment that comes of learning: weights, tags, curve and figures, written whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from neurodeploy.artifacts.deployment import (
    Deployment,
    float_network,
    read_deployment,
    write_deployment,
)
from neurodeploy.artifacts.names import LEARNING, LEARNING_CURVE, NIR_FILE, TAGS
from neurodeploy.errors import CheckFailedError, InputError, Text, in_lines
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.onchip.learner import rate_text
from neurodeploy.onchip.real import remainders
from neurodeploy.quantization.planned import real_network
from neurodeploy.reporting.pictures import CurvePoint, learning_figure
from neurodeploy.support.figures import ornament, png
from neurodeploy.support.files import write_whole
from neurodeploy.support.tensors import read_arrays
from neurodeploy.workflow.learning.result import LearningResult
from neurodeploy.workflow.netx import netx_part

FLOATS = "engines float and norse run the integers after learning over their scales"


def mapped(network: QuantizedNetwork, deployment: Deployment) -> CoreMapping:
    """A network on the target of a deployment.

    Raises:
        InputError: what the deployment holds does not fit as it is.
        CheckFailedError: it does not fit; every violation is listed.
    """
    target = deployment.target
    mapping = map_network(network, target)
    if mapping.violations:
        own = map_network(deployment.network, target).violations
        if own:
            raise InputError(
                Text(
                    f"{deployment.path}: its own integers do not fit {target.name}, so that they "
                    "are not as they were exported: ",
                    own[0].text,
                )
            )
        raise CheckFailedError(
            Text(
                f"the learnt network would not fit {target.name}:\n",
                in_lines(Text("  ", violation.text) for violation in mapping.violations),
            )
        )
    return mapping


def write_learned(
    out: Path,
    old: Deployment,
    result: LearningResult,
    network: QuantizedNetwork,
    tags: Mapping[str, np.ndarray],
    points: Sequence[CurvePoint],
    levels: Mapping[str, float],
) -> None:
    """Write the new deployment and its report.

    Args:
        network: with the learnt weights.
        tags: what is below them, by projection.
        points, levels: of the learning curve.

    Raises:
        CheckFailedError: the network does not fit the target.
        InputError: ``out`` exists or cannot be written.
    """
    from neurodeploy.interchange.nir.network_out import network_to_nir
    from neurodeploy.reporting.report import write_report
    from neurodeploy.workflow.quantization import nir_part, quantized_nir

    options = result.options
    kept = result.kept_after
    what = f"learnt from {kept}" if kept else f"made no better by {result.samples}"
    how = (
        f"{what} samples by {options.rule}, rate {rate_text(options.rate)}, "
        f"update {options.update}, task {result.task}"
    )
    title = f"{old.path.name}: {result.task} by {options.rule}, rate {rate_text(options.rate)}"
    curve = {
        "title": title,
        "levels": levels,
        "kept_after": kept,
        "points": [asdict(point) for point in points],
    }
    summary = json.dumps({**result.as_dict(), "curve": curve}, indent=2)
    network = replace(network, notes={**network.notes, "learning": f"{how}; {FLOATS}"})
    network, integers = quantized_nir(network, old.target.name)
    floats = real_network(network)
    network, real = nir_part(network, NIR_FILE, lambda: network_to_nir(floats))
    part = netx_part(network)
    write_deployment(
        out,
        network,
        mapped(network, old),
        None,
        old.target,
        f"{old.path}, {how}",
        old.training,
        netx=part.record,
        extra_files={
            **real,
            **integers,
            **part.files,
            **tags_file(tags),
            LEARNING: lambda path: _write_bytes(path, f"{summary}\n".encode()),
        },
    )
    with ornament(out / LEARNING_CURVE):
        write_whole(out / LEARNING_CURVE, png(learning_figure(title, points, levels, kept)))
    write_report(read_deployment(out))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def first_tags(deployment: Deployment) -> Mapping[str, np.ndarray]:
    """By projection, flat int64: those that learning left, else what rounding left of the floats.

    Empty where neither is known: for a network that came as integers, and for weights learnt by
    rule ``delta``.
    """
    file = deployment.listed(TAGS)
    if file is not None:
        return _stored_tags(file, deployment)
    if deployment.learned or deployment.listed(NIR_FILE) is None:
        return {}
    return remainders(deployment.network, float_network(deployment))


def _stored_tags(path: Path, deployment: Deployment) -> dict[str, np.ndarray]:
    """The tags in a deployment's file.

    Raises:
        InputError: it is damaged, or holds other tags than one of a byte for each weight.
    """
    found = read_arrays(path)
    sizes = {p.name: p.operator.weights.size for p in deployment.network.projections}
    for name, tags in found.items():
        if tags.dtype != np.int8 or tags.shape != (sizes.get(name),):
            raise InputError(
                f"{path}: {name!r} holds {tags.dtype} {tags.shape}; expected int8 "
                f"({sizes.get(name, 0)},), one of each weight"
            )
    return {name: tags.astype(np.int64) for name, tags in found.items()}


def tags_file(tags: Mapping[str, np.ndarray]) -> dict[str, Callable[[Path], None]]:
    """What writes tags into a deployment; nothing when there are none."""
    if not tags:
        return {}
    narrow = {name: found.astype(np.int8) for name, found in tags.items()}
    return {TAGS: lambda path: _write_bytes(path, save(narrow))}
