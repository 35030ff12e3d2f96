"""Runs and deployments taken off the disk: all of one, or nothing of it."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path

from neurodeploy.artifacts.folders import alone
from neurodeploy.errors import InputError
from neurodeploy.support.files import written


def removed(path: Path, markers: tuple[str, ...], kind: str) -> None:
    """Remove a folder of ours.

    It loses its name first: what is left of it after a crash goes with other leftovers.

    Args:
        markers: files of which one makes it such a folder.
        kind: what it is to be, in words.

    Raises:
        InputError: it is none, it is another name of one, a process is training it, or it cannot be
            removed.
    """
    if path.is_symlink():
        raise InputError(f"{path}: a link to {os.readlink(path)}; name the folder itself")
    if not any((path / marker).is_file() for marker in markers):
        raise InputError(f"{path}: not a {kind} (no {' or '.join(markers)}), so it stays")
    with ExitStack() as held:
        held.enter_context(alone(path))
        hidden = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
        with written(path):
            path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
    if hidden.exists():
        raise InputError(f"{hidden}: cannot be removed completely; remove the rest by hand")
