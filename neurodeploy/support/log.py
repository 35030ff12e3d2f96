"""What a long command is doing: lines on stderr for who waits, and in a file for who comes later.

The library only logs, under the name ``neurodeploy``: stages at INFO, details at DEBUG. Nothing is
heard of it until ``told`` or ``kept`` listen, or handlers of the caller's own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOG = logging.getLogger("neurodeploy")
LOG.addHandler(logging.NullHandler())
LOG.setLevel(logging.DEBUG)


def level_here() -> int:
    """INFO where stderr is a file or a pipe; on a terminal there are progress bars instead."""
    return logging.WARNING if sys.stderr.isatty() else logging.INFO


class _Lines(logging.Handler):
    """Lines on stderr, as it is when they are written, from the level that holds then."""

    def __init__(self, level: Callable[[], int]) -> None:
        super().__init__()
        self._level_now = level

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, above a progress bar if there is one."""
        if record.levelno < self._level_now():
            return
        from tqdm import tqdm

        tqdm.write(record.getMessage(), file=sys.stderr)
        sys.stderr.flush()


class _File(logging.FileHandler):
    """Lines with their time, in a file that nothing depends on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line if it can be written: a full disk is the business of what is logged."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Close the file, whatever becomes of its last lines."""
        with suppress(OSError):
            super().close()


@contextmanager
def told(level: Callable[[], int] = level_here) -> Iterator[None]:
    """Show what is logged on stderr until the block ends; within another such block do nothing.

    Args:
        level: from which on, asked for each line.
    """
    if any(isinstance(handler, _Lines) for handler in LOG.handlers):
        yield
        return
    with _added(_Lines(level)):
        yield


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Append what is logged to a file until the block ends."""
    with _added(_File(path)):
        yield


@contextmanager
def _added(handler: logging.Handler) -> Iterator[None]:
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        handler.close()
