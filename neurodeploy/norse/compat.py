"""Import of Norse, or word of what to install.

Norse's metadata ask for torchvision, which it never imports and which may replace a CPU build of
PyTorch; so it is installed without its dependencies, of which only nirtorch is not ours too.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings

from neurodeploy.errors import MissingDependencyError, Setting, Text
from neurodeploy.support.system import version_of

INSTALL_COMMAND = "pip install --no-deps norse==1.1.0 nirtorch==2.6"

_WITHOUT_NORSE = Text("the float engine (`", Setting("engine", "float"), "`) works without it")


def norse_available() -> bool:
    """Say whether Norse is installed and can be found, without importing it."""
    return version_of("norse") is not None and importlib.util.find_spec("norse") is not None


def require_installed() -> None:
    """Say what to install when Norse is absent, without importing it.

    Raises:
        MissingDependencyError: Norse is not installed.
    """
    if not norse_available():
        raise MissingDependencyError(
            f"Norse is not installed; install it with `{INSTALL_COMMAND}`", fix=_WITHOUT_NORSE
        )


def require_norse() -> None:
    """Import Norse, so that any ``from norse... import ...`` after this call works quietly.

    Raises:
        MissingDependencyError: Norse is absent, incomplete, or too old for this PyTorch.
    """
    require_installed()
    try:
        with warnings.catch_warnings():
            # Norse compiles some functions with torch.jit, which PyTorch is retiring.
            warnings.simplefilter("ignore")
            importlib.import_module("norse.torch")
    except (ImportError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingDependencyError(
            f"Norse {version_of('norse')} is installed but cannot be imported ({reason}); try "
            f"`{INSTALL_COMMAND}`",
            fix=_WITHOUT_NORSE,
        ) from error
