"""Programs that this one starts, which do not outlive it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from neurodeploy.support.signals import die_with, libc

PATIENCE = 5.0
"""Seconds that a child has to take down what it made, before it is killed."""


class Child(Protocol):
    """A process that can be ended; ``subprocess.Popen`` is one."""

    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


def start_tied(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program that is killed when this one ends.

    Args:
        options: of ``subprocess.Popen``.
    """
    libc()  # loaded before the fork
    return subprocess.Popen(command, preexec_fn=partial(die_with, os.getpid()), **options)


def end(children: Sequence[Child], seconds: float) -> None:
    """Ask programs to end, wait so long for all of them, and kill those that have not."""
    for child in children:
        child.terminate()
    until = time.monotonic() + seconds
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, until - time.monotonic()))
        child.kill()
        child.wait()
