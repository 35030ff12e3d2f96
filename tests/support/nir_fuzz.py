"""Damages NIR files in every way and imports them.

    python -m support.nir_fuzz FOLDER SEED COUNT

Prints one JSON object: how many imports succeeded, every message of those that did not, what went
wrong beyond that (``failures``), and the most memory that the process ever took.
"""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from neurodeploy.bench.process import high_water_mb
from neurodeploy.errors import NeurodeployError
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.ir.contract import METADATA_KEY
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.workflow.inspection import describe
from support.narrow import dataset, group
from support.random_nir import DT, RandomGraph, chain, contract, joined, neuron

SECONDS = 30
"""Of computing for one file; a tenth of a second is usual."""

ORIGINS = (None,) * 8 + ("norse", "snntorch", "sinabs", "spyx", "rockpool", "spikingjelly")

Mutation = Callable[[np.random.Generator, Path], None]


def write_seeds(folder: Path) -> list[Path]:
    """Sound files: of ours, of the shapes that frameworks write, with and without subgraphs."""
    scalar: dict[str, Any] = {"tau": np.float32(4 * DT), "r": np.float32(1)}
    scalar |= {"v_leak": np.float32(0), "v_threshold": np.float32(1), "v_reset": np.float32(0)}
    graphs = [
        RandomGraph(seed, seed % 3).graph({METADATA_KEY: contract().to_metadata()})
        for seed in range(6)
    ]
    graphs += [RandomGraph(seed, seed % 3).nested(2) for seed in range(6, 9)]
    conv = nir.Conv2d((8, 8), np.ones((3, 2, 3, 3)), 2, 1, 1, 1, np.zeros(3))
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    flat = nir.Flatten({"input": np.array([3, 2, 2])}, 0)
    fc = nir.Affine(np.ones((4, 12)), np.ones(4))
    lif = nir.LIF(**scalar)
    end = neuron("LIF", (4,))
    nodes = [("0", conv), ("1", lif), ("2", pool), ("3", flat), ("4", fc), ("5", end)]
    graphs.append(chain((7, 2, 8, 8), *nodes))
    loop = {"fc": nir.Linear(np.ones((5, 3))), "lif": neuron("CubaLIF", (5,))}
    loop |= {"rec": nir.Linear(np.eye(5)), "late": nir.Delay(np.full(5, 2 * DT))}
    edges = ["input>fc", "fc>lif", "lif>rec", "rec>late", "late>lif", "lif>output"]
    graphs.append(joined(loop, *edges, shape=(3,)))
    paths = [folder / f"seed{number}.nir" for number in range(len(graphs))]
    for path, graph in zip(paths, graphs, strict=True):
        write_nir(path, graph)
    return paths


# --- damage to the bytes ---


def _bytes(change: Callable[[np.random.Generator, bytearray], bytearray]) -> Mutation:
    def mutate(rng: np.random.Generator, path: Path) -> None:
        path.write_bytes(bytes(change(rng, bytearray(path.read_bytes()))))

    return mutate


def _flip(rng: np.random.Generator, data: bytearray) -> bytearray:
    for at in rng.integers(0, len(data), int(rng.integers(1, 20))):
        data[at] ^= 1 << int(rng.integers(0, 8))
    return data


def _flip_in_head(rng: np.random.Generator, data: bytearray) -> bytearray:
    for at in rng.integers(0, min(len(data), 4096), int(rng.integers(1, 6))):
        data[at] ^= 1 << int(rng.integers(0, 8))
    return data


def _truncate(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def _blank(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, 512))
    fill = int(rng.choice([0, 255]))
    data[start : start + length] = bytes([fill]) * len(data[start : start + length])
    return data


def _splice(rng: np.random.Generator, data: bytearray) -> bytearray:
    a, b, length = (int(n) for n in rng.integers(0, len(data), 3))
    data[a : a + length % 256] = data[b : b + length % 256]
    return data


# --- damage to the content ---


def _items(file: h5py.File, kind: type) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return found


def _content(change: Callable[[np.random.Generator, h5py.File, str], None]) -> Mutation:
    """A mutation of one random dataset."""

    def mutate(rng: np.random.Generator, path: Path) -> None:
        with h5py.File(path, "a") as file:
            names = _items(file, h5py.Dataset)
            change(rng, file, names[int(rng.integers(0, len(names)))])

    return mutate


def _put(file: h5py.File, name: str, value: Any, **options: Any) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=value, **options)


def _value(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    """Another value of the same shape, or of none."""
    old = np.asarray(dataset(file, name)[()])
    odd = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e308, 1e-308, 2**31, 2**62, 0.5, -(2**40), 7]
    value = np.broadcast_to(float(rng.choice(odd)), old.shape if rng.random() < 0.7 else ())
    whole = np.isfinite(value).all() and (np.abs(value) < 2**63).all() and rng.random() < 0.5
    _put(file, name, value.astype(np.int64) if whole else value)


def _element(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    old = np.array(dataset(file, name)[()])
    if old.dtype.kind in "fiu" and old.size:
        old.flat[int(rng.integers(0, old.size))] = rng.choice([0, 1, 3, 60000, 2**20, 100])
        _put(file, name, old)


def _dtype(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    shape = np.shape(dataset(file, name)[()])
    made: list[Any] = [
        np.zeros(shape, np.complex128),
        np.zeros(shape, np.float16),
        np.zeros(shape, np.bool_),
        np.zeros(shape, np.int8),
        np.zeros(shape, np.uint64),
        np.zeros(shape, [("a", "f4"), ("b", "i2")]),
        np.full(shape, b"text"),
        "text",
        "\u2603" * 50,
        b"\xff\xfe",
        h5py.Empty("f4"),
        np.zeros(shape, np.void(b"12").dtype),
    ]
    _put(file, name, made[int(rng.integers(0, len(made)))])


def _reference(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    data = file.create_dataset(name, (3,), dtype=h5py.ref_dtype)
    data[0] = file.ref


def _ragged(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    data = file.create_dataset(name, (2,), dtype=h5py.vlen_dtype(np.float64))
    data[0] = np.zeros(5)


def _shape(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    shapes = [(), (1,), (0,), (0, 3), (1, 1, 1), (2, 3), (7,), (2, 2, 2, 2, 2), (3, 3), (1,) * 20]
    _put(file, name, np.ones(shapes[int(rng.integers(0, len(shapes)))]))


def _giant(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    """Declared but never written, or compressed away."""
    shape = [(2**40,), (2**20, 2**20), (2**30, 1), (2**27,)][int(rng.integers(0, 4))]
    del file[name]
    file.create_dataset(name, shape, dtype="f4", chunks=True, compression="gzip", fillvalue=1.0)


def _packed(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    _put(file, name, np.zeros((2**12, 2 ** int(rng.integers(8, 13))), np.int8), compression="gzip")


def _delete(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]


def _folder(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    file.create_group(name)["inside"] = 3


def _rename(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    to = ["bogus", "tau", "weight", "type", "\u2603", "a b", "x" * 500, "metadata"]
    head = name.rpartition("/")[0]
    wanted = f"{head}/{rng.choice(to)}"
    if wanted not in file:
        file.move(name, wanted)


def _link(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    links: list[Any] = [
        h5py.SoftLink("/node"),
        h5py.SoftLink(f"/{name}"),
        h5py.SoftLink("/nowhere"),
        h5py.ExternalLink("/etc/passwd", "/"),
        h5py.ExternalLink("seed0.nir", "/node"),
        file["/"],
        file["node"],
    ]
    file[name] = links[int(rng.integers(0, len(links)))]


def _elsewhere(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    if rng.random() < 0.5:
        file.create_dataset(name, (64,), dtype="u1", external=[("/etc/passwd", 0, 64)])
        return
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("seed0.nir", "version", shape=(4,))
    file.create_virtual_dataset(name, layout)


def _attribute(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    file[name].attrs["huge"] = np.zeros(4000)
    file["node"].attrs["type"] = "NIRGraph"


def _type(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    kinds = ["LIF", "Conv2d", "Flatten", "NIRGraph", "Input", "Output", "Delay", "Scale", "Bogus"]
    types = [n for n in _items(file, h5py.Dataset) if n.endswith("/type")]
    chosen = types[int(rng.integers(0, len(types)))]
    _put(file, chosen, str(rng.choice([*kinds, "Threshold", "Affine", "CubaLIF", "I"])))


def _edges(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    old = [(a.decode(), b.decode()) for a, b in dataset(file, "node/edges")[()]]
    nodes = [*group(file, "node/nodes"), "nobody"]
    for _ in range(int(rng.integers(1, 4))):
        draw = [str(nodes[int(n)]) for n in rng.integers(0, len(nodes), 2)]
        kind = int(rng.integers(0, 4))
        if kind == 0 and old:
            old.pop(int(rng.integers(0, len(old))))
        elif kind == 1 and old:
            old.append(old[int(rng.integers(0, len(old)))])
        elif kind == 2 and old:
            a, b = old[int(rng.integers(0, len(old)))]
            old.append((b, a))
        else:
            old.append((draw[0], draw[1]))
    shuffled = [old[int(n)] for n in rng.permutation(len(old))]
    value = shuffled or np.zeros((0, 2))
    _put(file, "node/edges", value, dtype=h5py.string_dtype() if shuffled else None)


def _deep(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    path = "node/metadata"
    for _ in range(int(rng.integers(10, 200))):
        path += "/a"
    file.require_group(path)["end"] = 1


def _metadata(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    metadata = file.require_group(f"node/metadata/{METADATA_KEY}")
    metadata.require_group("semantics")
    values: list[Any] = [1, -1, 2**40, 0.5, np.nan, "zero", [1, 2], b"\xff", 1e-300]
    keys = ["format", "steps", "semantics/dt", "semantics/reset", "decode", "bogus", "dataset"]
    key = str(rng.choice(keys))
    _put(file, f"{metadata.name}/{key}", values[int(rng.integers(0, len(values)))])


def _crowd(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    """A chain of very many nodes, which recursion would not survive."""
    source = group(file, "node/nodes")
    first = next(iter(source))
    edges = []
    for number in range(1500):
        node = source.create_group(f"extra{number}")
        node["type"], node["scale"] = "Scale", 1.0
        edges.append((f"extra{number - 1}" if number else first, f"extra{number}"))
    old = [(a.decode(), b.decode()) for a, b in dataset(file, "node/edges")[()]]
    _put(file, "node/edges", old + edges, dtype=h5py.string_dtype())


def _size(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    """Larger input, kernel, stride or padding; all plausible one by one."""
    fields = (
        "shape",
        "stride",
        "padding",
        "dilation",
        "kernel_size",
        "groups",
        "start_dim",
        "end_dim",
    )
    found = [n for n in _items(file, h5py.Dataset) if n.rpartition("/")[2] in fields]
    chosen = found[int(rng.integers(0, len(found)))]
    old = np.atleast_1d(np.asarray(dataset(file, chosen)[()]))
    if old.dtype.kind in "iuf" and old.size:
        factor = int(rng.choice([0, -1, 2, 3, 10, 100, 1000, 10**5, 10**7]))
        old[int(rng.integers(0, old.size))] *= factor
        _put(file, chosen, old)


MUTATIONS: tuple[Mutation, ...] = (
    *(_bytes(change) for change in (_flip, _flip_in_head, _truncate, _blank, _splice)),
    *(_bytes(change) for change in (_flip, _flip_in_head)),
    *(_content(change) for change in (_value, _value, _element, _dtype, _dtype, _shape, _giant)),
    *(_content(change) for change in (_reference, _ragged, _packed, _delete, _folder, _rename)),
    *(_content(change) for change in (_link, _elsewhere, _attribute, _type, _edges, _edges)),
    *(_content(change) for change in (_deep, _metadata, _crowd, _size, _size)),
)


# --- what becomes of it ---


def _late(signum: int, frame: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def attempt(path: Path, origin: str | None) -> str:
    """Inspect and import one file; the message of the refusal, or an empty string."""
    how: dict[str, Any] = {"dt": DT, "reset": "zero", "comparison": ">", "integrator": "euler"}
    stated: dict[str, Any] = how if origin is None else {"framework": origin}
    refusals = []
    for act in (lambda: describe(path), lambda: import_nir(path, steps=3, **stated)):
        try:
            done = act()
        except NeurodeployError as error:
            refusals.append(str(error))
        else:
            if not isinstance(done, str):
                FloatEngine(done.network)
    return refusals[-1] if refusals else ""


def main(folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Damage ``count`` copies of the seeds."""
    signal.signal(signal.SIGPROF, _late)
    seeds = write_seeds(folder)
    for path in seeds:
        assert attempt(path, None) == ""
    messages: list[str] = []
    failures: list[str] = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        mutation = MUTATIONS[number % len(MUTATIONS)]
        path = folder / "damaged.nir"
        path.write_bytes(seeds[int(rng.integers(0, len(seeds)))].read_bytes())
        mutation(rng, path)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            messages.append(attempt(path, ORIGINS[int(rng.integers(0, len(ORIGINS)))]))
        except BaseException:
            failures.append(f"{number}: {traceback.format_exc()}")
            path.replace(folder / f"failed{number}.nir")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return {
        "imported": messages.count(""),
        "messages": sorted(set(messages) - {""}),
        "failures": failures,
        "megabytes": high_water_mb(),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
