"""Run a command as several processes that train together, as a launcher starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent.parent


class Ended(NamedTuple):
    """How one of the processes ended."""

    code: int
    out: str
    err: str


def launch(
    *command: str, folder: Path, count: int = 2, timeout: float = 120, **extra: str
) -> list[Ended]:
    """Start ``count`` Python processes with the variables that torchrun sets, and wait for all.

    Args:
        command: arguments of Python, for example ``-m neurodeploy train``.
        folder: where they run.
        extra: further variables of the environment.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
        **extra,
    }
    started = []
    for rank in range(count):
        # Files, not pipes: a full pipe would stop one process, and so all that wait for it.
        streams = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=streams[0],
            stderr=streams[1],
        )
        started.append((process, streams))
    try:
        for process, _ in started:
            process.wait(timeout)
    finally:
        for process, _ in started:
            process.kill()
            process.wait()
    return [Ended(process.returncode, *map(_content, streams)) for process, streams in started]


def _content(stream: tempfile._TemporaryFileWrapper[str]) -> str:
    with stream:
        stream.seek(0)
        return stream.read()
