"""Tags of a deployment's synapses: from where learning starts, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from neurodeploy.artifacts.deployment import Deployment, float_network
from neurodeploy.artifacts.names import LEARNING, NIR_FILE, TAGS
from neurodeploy.onchip.real import remainders


def first_tags(deployment: Deployment) -> Mapping[str, np.ndarray]:
    """By projection, flat int64: those that learning left, else what rounding left of the floats.

    Empty where neither is known: for a network that came as integers, and for weights learnt by
    rule ``delta``.
    """
    if (deployment.path / TAGS).is_file():
        found = load_file(deployment.path / TAGS)
        return {name: tags.astype(np.int64) for name, tags in found.items()}
    if (deployment.path / LEARNING).is_file() or not (deployment.path / NIR_FILE).is_file():
        return {}
    return remainders(deployment.network, float_network(deployment))


def tags_file(tags: Mapping[str, np.ndarray]) -> dict[str, Callable[[Path], None]]:
    """What writes tags into a deployment; nothing when there are none."""
    if not tags:
        return {}
    narrow = {name: found.astype(np.int8) for name, found in tags.items()}
    return {TAGS: lambda path: save_file(narrow, path)}
