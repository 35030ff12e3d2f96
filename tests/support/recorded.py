"""Networks of frameworks that are not installed for the tests: their files, and what they compute.

``tests/data/frameworks/record.py`` wrote them in an environment that has the framework.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent.parent / "data" / "frameworks"


def recorded_file(name: str, folder: Path) -> Path:
    """The exporter's file, unpacked into ``folder``."""
    path = folder / f"{name}.nir"
    path.write_bytes(gzip.decompress((DATA / f"{name}.nir.gz").read_bytes()))
    return path


def recorded_traces(name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Input (N, T, ...), and spikes or potentials (N, T, ...) of every layer by its name."""
    with np.load(DATA / f"{name}.npz") as found:
        return found["x"], {key: found[key] for key in found.files if key != "x"}
