"""Versions of everything that can change a result, without importing any of it."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("neurodeploy", "torch", "numpy", "nir", "lava-nc", "lava-dl", "norse")


def version_of(package: str) -> str | None:
    """Installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that matters."""
    found = {name: version_of(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if version},
    }
