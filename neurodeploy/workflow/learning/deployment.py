"""The deployment that comes of learning: weights, tags, curve and figures, written whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from neurodeploy.artifacts.deployment import Deployment, read_deployment, write_deployment
from neurodeploy.artifacts.names import LEARNING, LEARNING_CURVE, NIR_FILE
from neurodeploy.errors import CheckFailedError, InputError, Text, in_lines
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.onchip.learner import rate_text
from neurodeploy.quantization.planned import real_network
from neurodeploy.reporting.pictures import CurvePoint, learning_figure
from neurodeploy.support.figures import ornament, png
from neurodeploy.support.files import write_whole
from neurodeploy.workflow.learning.origin import Origin
from neurodeploy.workflow.learning.result import LearningResult
from neurodeploy.workflow.learning.tags import tags_file
from neurodeploy.workflow.netx import netx_part

FLOATS = "engines float and norse run the integers after learning over their scales"


def mapped(network: QuantizedNetwork, origin: Origin | Deployment) -> CoreMapping:
    """A network on the target of what it came from.

    Raises:
        InputError: what a deployment holds does not fit as it is.
        CheckFailedError: it does not fit; every violation is listed.
    """
    target = origin.target
    mapping = map_network(network, target)
    if mapping.violations:
        deployed = isinstance(origin, Deployment) or origin.deployment is not None
        own = map_network(origin.network, target).violations if deployed else ()
        if own:
            raise InputError(
                Text(
                    f"{origin.path}: its own integers do not fit {target.name}, so that they "
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
    old: Origin,
    result: LearningResult,
    network: QuantizedNetwork,
    tags: Mapping[str, np.ndarray],
    points: Sequence[CurvePoint],
    levels: Mapping[str, float],
) -> None:
    """Write the new deployment and its report.

    Args:
        old: what learnt.
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
    what = f"learnt from {kept}" if kept else f"not improved by learning from {result.samples}"
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
            LEARNING: lambda path: write_whole(path, f"{summary}\n".encode()),
        },
    )
    with ornament(out / LEARNING_CURVE):
        write_whole(out / LEARNING_CURVE, png(learning_figure(title, points, levels, kept)))
    write_report(read_deployment(out))
