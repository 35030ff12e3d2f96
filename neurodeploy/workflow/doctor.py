"""Doctor: what is installed, what works here, and how to get what is missing."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from neurodeploy.support.system import version_of


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        needed: whether neurodeploy's main job needs it.
        advice: how to get it, when it is missing.
    """

    name: str
    works: bool
    detail: str
    needed: bool
    advice: str = ""


def examine() -> list[Finding]:
    """Look at Python and the packages; imports Lava and Norse to see that they really work."""
    supported = (3, 10) <= sys.version_info[:2] <= (3, 12)
    findings = [
        Finding(
            "python",
            supported,
            platform.python_version(),
            True,
            "use Python 3.10, 3.11 or 3.12; Lava does not run on others",
        )
    ]
    for package in ("torch", "numpy", "scipy", "nir", "safetensors", "scikit-learn", "matplotlib"):
        version = version_of(package)
        findings.append(
            Finding(
                package, version is not None, version or "missing", True, f"pip install {package}"
            )
        )
    findings.append(_lava())
    findings.append(_lava_dl())
    findings.append(_norse())
    return findings


def _lava() -> Finding:
    from neurodeploy.errors import NeurodeployError, Text
    from neurodeploy.lava.compat import INSTALL_COMMAND, lava_version, require_lava

    try:
        require_lava()
    except NeurodeployError as error:
        version = lava_version()
        return Finding(
            "lava-nc",
            False,
            version or "missing",
            True,
            Text(INSTALL_COMMAND, " (", error.text, ")"),
        )
    return Finding("lava-nc", True, lava_version() or "", True)


def _lava_dl() -> Finding:
    from neurodeploy.lava.compat import INSTALL_COMMAND

    version = version_of("lava-dl")
    return Finding("lava-dl", version is not None, version or "missing", False, INSTALL_COMMAND)


def _norse() -> Finding:
    from neurodeploy.errors import MissingDependencyError
    from neurodeploy.norse.compat import require_norse

    version = version_of("norse") or "missing"
    try:
        require_norse()
    except MissingDependencyError as error:
        return Finding("norse", False, version, False, error.text)
    return Finding("norse", True, version, False)
