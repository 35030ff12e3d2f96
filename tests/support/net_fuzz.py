"""Damaged .net files through the whole import, in a program of its own whose memory is measured.

    python -m support.net_fuzz FOLDER FIRST COUNT

FOLDER holds .net files; prints JSON: outcomes, anything that was not one clear message, and the
largest memory of the process in MB.
"""

from __future__ import annotations

import json
import random
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy.bench.process import high_water_mb
from neurodeploy.errors import NeurodeployError
from neurodeploy.interchange.netx.file import NetReading
from neurodeploy.ir.stated import Stated
from neurodeploy.mapping import map_network
from neurodeploy.target import load_target
from neurodeploy.workflow.inspection import describe
from neurodeploy.workflow.netx import read_net_network

OPTIONS = Stated(steps=10, encoder="direct", levels=16)


def mutate(source: Path, path: Path, rng: random.Random) -> str:
    """Write a damaged copy; returns what was done to it."""
    content = bytearray(source.read_bytes())
    kind = rng.choice(["cut", "bits", "bits", "bytes", "splice", "edit", "edit", "edit"])
    if kind == "edit":
        path.write_bytes(content)
        with h5py.File(path, "a") as file:
            return edit(file, rng)
    if kind == "cut":
        del content[rng.randrange(len(content)) :]
    elif kind == "bits":
        for _ in range(rng.choice([1, 1, 3, 30])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        at, length = rng.randrange(len(content)), rng.choice([1, 2, 4, 8])
        content[at : at + length] = bytes([rng.choice([0, 127, 128, 255])]) * length
    else:
        first, last = sorted(rng.randrange(len(content)) for _ in range(2))
        content[first:last] = content[first:last][::-1] if rng.random() < 0.5 else b""
    path.write_bytes(content)
    return kind


def edit(file: h5py.File, rng: random.Random) -> str:
    """Change one dataset through HDF5 itself."""
    names: list[str] = []
    file.visit(names.append)
    name = rng.choice(names)
    found = file[name]
    before = found[()] if isinstance(found, h5py.Dataset) else np.zeros(3)
    shape = np.shape(before)
    values: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "nan": lambda: np.full(shape, np.nan),
        "infinite": lambda: np.full(shape, np.inf),
        "negative": lambda: np.full(shape, -rng.choice([1, 3, 2**31, 2**62])),
        "huge": lambda: np.full(shape, rng.choice([2**20, 2**31, 2**62])),
        "zero": lambda: np.zeros(shape, int),
        "unsigned": lambda: np.full(shape, 2**64 - 1, np.uint64),
        "longer": lambda: np.ones((*shape, rng.choice([1, 2, 50])), int),
        "empty": lambda: np.zeros(0),
        "text": lambda: "x" * rng.choice([0, 1, 100_000]),
        "bytes": lambda: np.array([b"\xff\xfe"]),
        "complex": lambda: np.full(shape, 1j),
        "boolean": lambda: np.ones(shape, bool),
        "half": lambda: np.full(shape, 0.5),
        "record": lambda: np.zeros(2, [("a", int)]),
        "null": lambda: h5py.Empty("f4"),
    }
    chosen = rng.choice([*values, "giant", "chunky", "group", "soft", "external", "circle", "type"])
    del file[name]
    if chosen == "giant":
        file.create_dataset(name, (1 << 40,), "i1", chunks=(1024,))
    elif chosen == "chunky":
        file.create_dataset(name, (4000, 4000), "i1", chunks=(64, 64), fillvalue=2)
    elif chosen == "group":
        file.create_group(name)
    elif chosen == "soft":
        file[name] = h5py.SoftLink("/layer")
    elif chosen == "external":
        file[name] = h5py.ExternalLink("/etc/passwd", "/")
    elif chosen == "circle":
        file[name] = file["/"]
    elif chosen == "type":
        file[name] = np.dtype("f4")
    else:
        value = values[chosen]()
        if value is not None:
            file[name] = value
    return f"{name}: {chosen}"


def run(folder: Path, first: int, count: int) -> dict[str, Any]:
    """Mutations ``first`` to ``first + count`` of the files in a folder."""
    sources, target = sorted(folder.glob("*.net")), load_target("loihi2")
    path = folder / "mutated" / "a.net"
    path.parent.mkdir(exist_ok=True)
    outcomes: Counter[str] = Counter()
    failures = []
    for seed in range(first, first + count):
        rng = random.Random(seed)
        source = rng.choice(sources)
        done = mutate(source, path, rng)
        try:
            describe(path)
            network, _ = read_net_network(path, OPTIONS, NetReading())
            map_network(network, target)
            outcomes["read"] += 1
        except NeurodeployError as error:
            outcomes["refused"] += 1
            if path.name not in str(error) or len(str(error)) > 1000:
                failures.append(f"{seed} {source.name} {done}: {error}")
        except Exception:
            failures.append(f"{seed} {source.name} {done}: {traceback.format_exc()}")
    memory = high_water_mb()
    return {"outcomes": outcomes, "failures": failures, "memory": memory}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
