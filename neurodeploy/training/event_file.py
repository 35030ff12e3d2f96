"""Epochs in a file that TensorBoard shows, which is an ornament: a training goes on without it."""

from __future__ import annotations

import errno
import importlib
import io
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neurodeploy.errors import PictureWarning

START = {"status": "START"}
"""Of a ``SessionLog``: from this step on, TensorBoard takes this file's word."""


def _proto(name: str) -> Any:
    """A module of TensorBoard's messages; slow to import, and not needed to read metrics."""
    return importlib.import_module(f"tensorboard.compat.proto.{name}_pb2")


class EventFile:
    """A new event file in a folder, written at once: no thread, whose errors would come later.

    Once something cannot be written, that is a ``PictureWarning``, and nothing is any more.

    Args:
        folder: made unless it is there.
        next_epoch: TensorBoard forgets what older files there say of this epoch and later ones.
    """

    def __init__(self, folder: Path, next_epoch: int) -> None:
        self._folder = folder
        self._file: io.FileIO | None = None
        with self._optional():
            folder.mkdir(exist_ok=True)
            host = socket.gethostname()
            name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{os.getpid()}"
            self._file = io.FileIO(folder / name, "a")
            self._add(file_version="brain.Event:2")
            self._add(step=next_epoch, session_log=START)

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add the values of one epoch, by tag."""
        summary = _proto("summary").Summary
        found = [summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        with self._optional():
            self._add(step=epoch, summary=summary(value=found))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _add(self, **event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._file is None:
            return
        record = io.BytesIO()
        message = _proto("event").Event(wall_time=time.time(), **event)
        RecordWriter(record).write(message.SerializeToString())
        size = os.fstat(self._file.fileno()).st_size
        if self._file.write(record.getbuffer()) != len(record.getbuffer()):
            self._file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _optional(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            self._file = None
            reason = error.strerror or error
            warnings.warn(
                f"{self._folder}: epochs are missing there: {reason}", PictureWarning, stacklevel=3
            )
