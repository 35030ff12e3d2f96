"""NIR graphs on disk, with one clear message for everything that can be wrong with a file.

``FIELDS`` says which fields each primitive has in a file, and what may stand in them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import h5py
import nir
import numpy as np

from neurodeploy.errors import InputError, nearest
from neurodeploy.interchange.hdf5 import Tree, hdf5_written, read_tree
from neurodeploy.support.files import as_path, write_whole

NUMBERS, WHOLE, ONE = "numbers", "whole numbers", "one whole number"
PADDING = "whole numbers, 'same' or 'valid'"

_CONV = {
    "input_shape": WHOLE,
    "weight": NUMBERS,
    "stride": WHOLE,
    "padding": PADDING,
    "dilation": WHOLE,
    "groups": ONE,
    "bias": NUMBERS,
}
_POOL = {"kernel_size": WHOLE, "stride": WHOLE, "padding": WHOLE}


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, NUMBERS)


FIELDS: dict[str, dict[str, str]] = {
    "Input": {"shape": WHOLE},
    "Output": {"shape": WHOLE},
    "Affine": _numbers("weight", "bias"),
    "Linear": _numbers("weight"),
    "Scale": _numbers("scale"),
    "Conv1d": _CONV,
    "Conv2d": _CONV,
    "SumPool2d": _POOL,
    "AvgPool2d": _POOL,
    "Flatten": {"input_type": WHOLE, "start_dim": ONE, "end_dim": ONE},
    "Delay": _numbers("delay"),
    "Threshold": _numbers("threshold"),
    "I": _numbers("r"),
    "IF": _numbers("r", "v_threshold", "v_reset"),
    "LI": _numbers("tau", "r", "v_leak"),
    "LIF": _numbers("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLI": _numbers("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    "CubaLIF": _numbers("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
}
"""The fields of each primitive of nir 1.0.8 but NIRGraph."""

OPTIONAL = ("v_reset", "w_in", "input_shape", "input_type")
"""Fields that a file may leave out; NIR has defaults for them."""

MOST_AXES = 16
"""Whole numbers in one field: one per axis of an array at most."""

LARGEST = 2**31 - 1
"""Of whole numbers: sizes beyond this are nonsense."""


def read_nir(path: Path | str) -> nir.NIRGraph:
    """Read a NIR graph of any origin.

    NIR's own reader is not used: it reads whatever a file declares before looking at it, and its
    type check refuses files that mean something (see ``plain_graph``). Shapes are left to the
    import.

    Raises:
        InputError: the file is absent, not HDF5, not NIR, or asks for more memory than its size
            can explain.
    """
    path = as_path(path, "read_nir")
    tree = read_tree(path, "NIR")
    root = tree.get("node")
    if not isinstance(root, dict):
        raise InputError(f"{path}: an HDF5 file, but not a NIR graph (it has no folder 'node')")
    return graph_from_tree(root, str(path))


def write_nir(path: Path | str, graph: nir.NIRGraph) -> None:
    """Write a graph as ``nir.write`` does, whole or not at all.

    Also graphs that it cannot write, though frameworks make them: with parameters that are single
    numbers or torch tensors, with convolutions and Flatten that do not say what shape they take.

    Raises:
        InputError: ``graph`` is no NIR graph, a node is None, or the file cannot be written.
    """
    if not isinstance(graph, nir.NIRGraph):
        found = type(graph).__name__
        raise InputError(f"write_nir takes a path and a nir.NIRGraph, found {found} for the graph")
    with hdf5_written(as_path(path, "write_nir")) as file:
        file["version"] = nir.version
        _write_graph(file.create_group("node"), graph)


def write_own_nir(path: Path, graph: nir.NIRGraph) -> None:
    """Write a graph of ours by ``nir.write`` itself, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    write_whole(path, own_nir(graph))


def own_nir(graph: nir.NIRGraph) -> bytes:
    """What ``write_own_nir`` writes."""
    content = io.BytesIO()
    # In memory, as in ``hdf5_written``; it takes any file, whatever its annotation says.
    nir.write(cast(io.RawIOBase, content), graph)
    return content.getvalue()


def _write_graph(group: h5py.Group, graph: nir.NIRGraph) -> None:
    group["type"] = "NIRGraph"
    nodes = group.create_group("nodes")
    for name, node in graph.nodes.items():
        if node is None:
            raise InputError(
                f"node {name!r} is None: the exporter could not translate that layer, and NIR has "
                "no file without it"
            )
        _write_node(nodes.create_group(name), node)
    group.create_dataset("edges", data=list(graph.edges), dtype=h5py.string_dtype())
    _write_table(group, "metadata", graph.metadata)


def _write_node(group: h5py.Group, node: Any) -> None:
    if isinstance(node, nir.NIRGraph):
        _write_graph(group, node)
        return
    group["type"] = type(node).__name__
    values = {field.name: getattr(node, field.name, None) for field in fields(node)}
    types = {key: values.pop(f"{key}_type") or {} for key in ("input", "output")}
    _write_table(group, "metadata", values.pop("metadata"))
    if isinstance(node, nir.Input | nir.Output):
        values["shape"] = types["input"].get("input")
    if isinstance(node, nir.Flatten):
        values["input_type"] = types["input"].get("input")
    for name, value in values.items():
        if value is not None:
            _write(group, name, value)


def _write_table(group: h5py.Group, name: str, table: Any) -> None:
    for key, value in (table or {}).items():
        inner = group.require_group(name)
        if isinstance(value, dict):
            _write_table(inner, key, value)
        else:
            _write(inner, key, value)


def _write(group: h5py.Group, name: str, value: Any) -> None:
    array = value if isinstance(value, str | bytes) else np.asarray(value)
    packed = isinstance(array, np.ndarray) and array.ndim > 0 and array.dtype.kind in "fiub"
    group.create_dataset(name, data=array, compression="gzip" if packed else None)


def graph_from_tree(tree: Tree, where: str) -> nir.NIRGraph:
    """The graph that a file's tree holds, subgraphs included; nothing is checked against another.

    Raises:
        InputError: it is no graph, or a node lacks a field, has an unknown one, or one with the
            wrong content.
    """
    kind = _kind(tree, where)
    if kind != "NIRGraph":
        raise InputError(f"{where}: holds a single {kind} node, not a graph")
    unknown = [key for key in tree if key not in ("type", "nodes", "edges", "metadata")]
    if unknown:
        raise InputError(f"{where}: a graph with an unknown field {unknown[0]!r}")
    found = tree.get("nodes", {})
    if not isinstance(found, dict):
        raise InputError(f"{where}: the nodes of a graph are not a folder")
    for name in found:
        if not name.isprintable():
            raise InputError(f"{where}: node {name!r}: a name of unprintable characters")
    nodes = {name: _node(node, f"{where}: node {name!r}") for name, node in found.items()}
    metadata = _metadata(tree, where)
    return nir.NIRGraph(nodes, _edges(tree.get("edges"), where), metadata, type_check=False)


def _node(tree: Any, where: str) -> Any:
    if not isinstance(tree, dict):
        raise InputError(f"{where} is not a folder")
    kind = _kind(tree, where)
    if kind == "NIRGraph":
        return graph_from_tree(tree, where)
    values = {key: value for key, value in tree.items() if key not in ("type", "metadata")}
    fields = FIELDS[kind]
    for name in values:
        if name not in fields:
            raise InputError(f"{where} ({kind}): unknown field {name!r}{nearest(name, fields)}")
    for name, content in fields.items():
        if name in values:
            values[name] = _checked(values[name], content, f"{where} ({kind}): {name}")
        elif name not in OPTIONAL and kind != "Output":
            raise InputError(f"{where} ({kind}): field {name!r} is missing")
    metadata = _metadata(tree, where)
    try:
        return _made(kind, values, metadata)
    except Exception as error:  # asserts and errors of NIR's constructors, by the defect
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where} ({kind}): {detail}") from None


def _made(kind: str, values: dict[str, Any], metadata: dict[str, Any]) -> Any:
    if kind == "Input":
        return nir.Input({"input": np.atleast_1d(values["shape"])}, metadata=metadata)
    if kind == "Output":
        declared = values.get("shape")  # which nothing here relies on
        return nir.Output(None if declared is None else np.atleast_1d(declared), metadata=metadata)  # type: ignore[arg-type]
    if kind == "Flatten":
        # The shape that reaches it counts; a declared one that differs is refused on import.
        declared = values.pop("input_type", None)
        node: Any = nir.Flatten(None, **values, metadata=metadata)  # type: ignore[arg-type]
        node.input_type = {"input": declared}
        return node
    if kind in ("Conv1d", "Conv2d"):
        # Without a shape NIR infers no types, which it gets wrong for groups and long kernels.
        declared = values.pop("input_shape", None)
        node = getattr(nir, kind)(input_shape=None, **values, metadata=metadata)
        node.input_shape = declared
        return node
    return getattr(nir, kind)(**values, metadata=metadata)


def _kind(tree: Mapping[str, Any], where: str) -> str:
    if "type" not in tree:
        raise InputError(f"{where}: has no type")
    kind = _text(tree["type"], f"{where}: type")
    if kind != "NIRGraph" and kind not in FIELDS:
        raise InputError(f"{where}: {kind[:40]!r} is no primitive of NIR{nearest(kind, FIELDS)}")
    return kind


def _edges(found: Any, where: str) -> list[tuple[str, str]]:
    if found is None:
        raise InputError(f"{where}: a graph without a list of edges")
    edges = np.asarray(found)
    if edges.size == 0:
        return []
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise InputError(f"{where}: the edges of a graph are not pairs of names")
    place = f"{where}: edges"
    return [(_text(source, place), _text(target, place)) for source, target in edges]


def _metadata(tree: Tree, where: str) -> dict[str, Any]:
    found = tree.get("metadata", {})
    if not isinstance(found, dict):
        raise InputError(f"{where}: the metadata are not a folder")
    return {key: _plain(value, f"{where} metadata: {key}") for key, value in found.items()}


def _plain(value: Any, where: str) -> Any:
    """Metadata as they were written: strings, numbers, arrays, and dicts of them."""
    if isinstance(value, dict):
        return {key: _plain(item, f"{where}: {key}") for key, item in value.items()}
    if value.dtype.kind not in "SO":
        return value[()]
    if value.ndim == 0:
        return _text(value, where)
    return np.array([_text(item, where) for item in value.ravel()]).reshape(value.shape)


def _checked(value: Any, content: str, where: str) -> Any:
    if isinstance(value, dict):
        raise InputError(f"{where}: expected {content}, found a folder")
    if value.dtype.kind in "SO":
        text = _text(value, where)
        if content != PADDING or text not in ("same", "valid"):
            raise InputError(f"{where}: expected {content}, found {text[:40]!r}")
        return text
    if content == NUMBERS:
        return value
    with np.errstate(invalid="ignore"):
        whole = value.size <= MOST_AXES and bool(np.all(np.isfinite(value) & (value % 1 == 0)))
    if not whole or value.ndim > 1 or np.any(np.abs(value.astype(np.float64)) > LARGEST):
        raise InputError(f"{where}: expected {content}, found {value.ravel()[:4].tolist()}")
    if content == ONE:
        if value.size != 1:
            raise InputError(f"{where}: expected {content}, found {value.ravel()[:4].tolist()}")
        return int(value.item())
    return value.astype(np.int64)[()]


def _text(value: Any, where: str) -> str:
    """One string, as HDF5 gives it: bytes, text, or an array of one of them."""
    plain = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(plain, bytes):
        try:
            plain = plain.decode()
        except UnicodeDecodeError:
            raise InputError(f"{where}: expected text, found {plain[:20]!r}") from None
    if not isinstance(plain, str):
        raise InputError(f"{where}: expected text")
    return plain
