"""What learning keeps below each weight, in the files of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from neurodeploy.artifacts.deployment import Deployment, float_network
from neurodeploy.artifacts.names import NIR_FILE, TAGS
from neurodeploy.errors import InputError
from neurodeploy.onchip.real import remainders
from neurodeploy.support.files import write_whole
from neurodeploy.support.tensors import read_arrays


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
    return {TAGS: lambda path: write_whole(path, save(narrow))}
