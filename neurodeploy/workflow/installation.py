"""What is installed here and works: Python, packages, engines, devices and other frameworks."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from neurodeploy.errors import InputError, NeurodeployError, nearest
from neurodeploy.support.system import version_of

PACKAGES = ("torch", "numpy", "scipy", "nir", "safetensors", "scikit-learn", "matplotlib")
"""Those that neurodeploy cannot do without."""

OTHER_FRAMEWORKS = ("snntorch", "sinabs", "spikingjelly", "neurobench")
"""Packages that read our networks or count for us; ``norse`` is an engine."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        kind: what it is.
        needed: whether nothing works without it.
        advice: how to get it, when it is missing.
    """

    name: str
    works: bool
    detail: str
    needed: bool
    advice: str = ""
    kind: Literal["package", "engine", "device", "framework"] = "package"


def examine(wanted: Collection[str] = ()) -> list[Finding]:
    """Look around; imports Lava and Norse to see that they really work.

    Args:
        wanted: names of findings; all when empty.

    Raises:
        InputError: nothing has one of these names.
    """
    lava, norse = _lava(), _norse()
    lava_dl = _lava_dl(lava)
    found = [_python(), *map(_package, PACKAGES), lava, lava_dl]
    found += [_engine("reference", None), _engine("float", None)]
    found += [_engine("lava", lava), _engine("lava-fused", lava)]
    found.append(_engine("netx", lava_dl if lava.works else lava))
    found += [norse, *_devices(), *map(_framework, OTHER_FRAMEWORKS)]
    names = [finding.name for finding in found]
    for name in wanted:
        if name not in names:
            raise InputError(f"{name!r} is not known{nearest(name, names)}")
    return [finding for finding in found if not wanted or finding.name in wanted]


def _python() -> Finding:
    supported = sys.version_info >= (3, 10)
    return Finding("python", supported, platform.python_version(), True, "use Python 3.10 or later")


def _package(name: str) -> Finding:
    version = version_of(name)
    return Finding(name, version is not None, version or "missing", True, f"pip install {name}")


def _framework(name: str) -> Finding:
    version = version_of(name)
    advice = f"pip install --no-deps {name}"
    return Finding(name, version is not None, version or "missing", False, advice, "framework")


def _engine(name: str, package: Finding | None) -> Finding:
    """An engine, which works where its package does."""
    if package is None or package.works:
        detail = "built in" if package is None else f"{package.name} {package.detail}"
        return Finding(name, True, detail, False, kind="engine")
    return Finding(name, False, f"no {package.name}", False, package.advice, "engine")


def _checked(name: str, version: str | None, require: Callable[[], object]) -> Finding:
    """A package that is imported to see whether it works.

    Installed and not to be imported is a fault; absent is a choice.
    """
    try:
        require()
    except NeurodeployError as error:
        return Finding(name, False, version or "missing", version is not None, error.text)
    return Finding(name, True, version or "", False)


def _lava() -> Finding:
    from neurodeploy.lava.compat import lava_version, require_lava

    return _checked("lava-nc", lava_version(), require_lava)


def _lava_dl(lava: Finding) -> Finding:
    """One command installs it along with Lava."""
    from neurodeploy.lava.compat import INSTALL_COMMAND

    version, advice = version_of("lava-dl"), INSTALL_COMMAND if lava.works else lava.advice
    return Finding("lava-dl", version is not None, version or "missing", False, advice)


def _norse() -> Finding:
    from neurodeploy.norse.compat import require_norse

    found = _checked("norse", version_of("norse"), require_norse)
    return replace(found, needed=False, kind="engine")


def _devices() -> list[Finding]:
    """The CPU, and a GPU where torch has one."""
    found = [Finding("cpu", True, platform.machine(), False, kind="device")]
    if version_of("torch") is None:
        return found
    import torch

    there = torch.cuda.is_available()
    detail = torch.cuda.get_device_name() if there else "missing"
    advice = "install a CUDA build of PyTorch and the GPU's driver; the CPU works without them"
    return [*found, Finding("cuda", there, detail, False, advice, "device")]
