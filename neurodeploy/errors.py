"""Errors a user can meet, each with the exit code of the command that raised it.

Every message says where, what was found, the limit and what to do, in one or a few lines.
The command line prints the message alone; a traceback means a defect of neurodeploy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeurodeployError(Exception):
    """Base of every error that is the input's fault or the machine's, never ours."""

    exit_code = 2


class InputError(NeurodeployError):
    """A file, folder, name or option cannot be used as given."""


class MissingDependencyError(NeurodeployError):
    """An optional package is absent; the message names the command that installs it."""


class UnsupportedError(NeurodeployError):
    """The network asks for something that this step refuses to guess or cannot express."""


class SimulationError(NeurodeployError):
    """A simulation ran into an exception, a time limit or an interruption."""


class CheckFailedError(NeurodeployError):
    """A check the user asked for failed: target limits, parity, strict arithmetic."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant: ``"; did you mean 'x'?"`` or a list of them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
