"""One reader for each format: whatever is wrong with a file is one message that names it."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from neurodeploy.errors import InputError
from neurodeploy.support.archives import read_npy, stored_arrays
from neurodeploy.support.files import write_json
from neurodeploy.support.reading import read_json, read_json_lines, read_toml
from neurodeploy.support.tensors import read_arrays

DEEP = 2000


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * DEEP + "]" * DEEP, "nested too deep|nested more than 64"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than 64 deep"),
        ('{"a": ' + "9" * 5000 + "}", "does not fit into 64 bits"),
        (f'{{"a": {2**64}}}', "does not fit into 64 bits"),
        ('{"a": 1', "not valid JSON"),
    ],
)
def test_json_beyond_the_bounds(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 400


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    nested: dict[str, Any] = {}
    for _ in range(70):
        nested = {"in": (nested,)}
    path = tmp_path / "manifest.json"
    for value, message in (
        (nested, "manifest.json: nested more than 64 deep"),
        ({"a": 2**70}, "manifest.json: holds an integer that does not fit into 64 bits"),
        ({"a": "x" * 2**27}, "manifest.json: would have 134,217,"),
    ):
        with pytest.raises(InputError, match=message):
            write_json(path, value)
    assert [*tmp_path.iterdir()] == []
    write_json(path, {"a": (1, 2)})
    assert read_json(path) == {"a": [1, 2]}


def test_a_damaged_line_of_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n[]\n')
    with pytest.raises(InputError, match="line 2: expected a JSON object"):
        read_json_lines(path)
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert read_json_lines(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "text, message",
    [
        ("a = " + "[" * DEEP + "]" * DEEP, "nested too deep|nested more than 64"),
        ("a." * 1999 + "a = 1", "nested more than 64 deep"),
        ("a." * 40_000 + "a = 1", "more than 2000 dots"),
        ("a = " + "9" * 5000, "not valid TOML"),
        (f"a = {2**70}", "does not fit into 64 bits"),
        ("a = 1\n" + "#" * 2**17, "larger than the 131,072 bytes"),
    ],
)
def test_toml_beyond_the_bounds(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_toml(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for read in (read_json, read_toml, read_arrays, read_npy):
        with pytest.raises(InputError, match="not a regular file"):
            read(path)
    with pytest.raises(InputError, match="not a regular file"):
        stored_arrays(path, ("x",))


def member(shape: str, content: bytes, kind: str = "<i8") -> bytes:
    """An array in a file whose header claims what it likes."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def archive(path: Path, content: bytes, how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr("x.npy", content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        member("(1099511627776,)", bytes(8)),
        member("(2, 3)", bytes(47)),
        member("(-1,)", b""),
        member("(1,)", bytes(8), "|O"),
        member("(" + "1, " * 40 + ")", bytes(8)),
        member("(" * 3000, bytes(8)),
        member("({},)".format("9" * 5000), bytes(8)),
        b"\x93NUMPY\x09\x00",
        b"",
        b"\x93NUMPY\x01\x00\xff\xff",
    ],
)
def test_arrays_whose_headers_lie(tmp_path: Path, content: bytes) -> None:
    path = archive(tmp_path / "a.npz", content)
    with pytest.raises(InputError, match=r"not a readable \.npz file") as caught:
        stored_arrays(path, ("x",))["x"].read()
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("at, value", [(8, 1), (10, 99)], ids=["encrypted", "compression"])
def test_archives_that_cannot_be_unpacked(tmp_path: Path, at: int, value: int) -> None:
    path = archive(tmp_path / "a.npz", member("(1,)", bytes(8)))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", at), (b"PK\x03\x04", at - 2)):
        content[content.index(signature) + offset] = value
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        stored_arrays(path, ("x",))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_first_rows_are_those_of_the_whole(tmp_path: Path, order: str) -> None:
    values = np.asarray(np.arange(60).reshape(5, 4, 3), order=order)  # pyright: ignore
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=values, y=np.array(7))
    found = stored_arrays(path, ("x", "y", "z"))
    assert set(found) == {"x", "y"}
    assert found["x"].shape == values.shape
    for count in (1, 3, 5, 9, None):
        assert np.array_equal(found["x"].read(count), values[:count])
    assert found["y"].read(3) == 7


def test_no_more_is_unpacked_than_is_asked_for(tmp_path: Path) -> None:
    """A file of many zeros, of which three rows are three rows."""
    import tracemalloc

    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("x.npy", "w") as into:
        into.write(member("(64, 1048576)", b"", "|u1"))
        for _ in range(64):
            into.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    tracemalloc.start()
    rows = stored_arrays(path, ("x",))["x"].read(3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows.shape == (3, 2**20)
    assert peak < 2**24


def test_tensors_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": np.arange(4)}, path)
    whole = path.read_bytes()
    header = {"x": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    said = json.dumps(header).encode()
    deep, wordy = b"[" * DEEP, json.dumps({"x": "y" * 100_000}).encode()
    cases = (
        b"",
        whole[:-1],
        whole[:20],
        b"\xff" * 100,
        struct.pack("<Q", len(deep)) + deep,
        struct.pack("<Q", len(wordy)) + wordy,
        struct.pack("<Q", len(said)) + said + bytes(4),
    )
    for content in cases:
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable safetensors file") as caught:
            read_arrays(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert len(str(caught.value)) < 1000


def test_an_npy_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6))
    path.write_bytes(buffer.getvalue())
    assert read_npy(path).tolist() == list(range(6))
    for content in (b"", buffer.getvalue()[:-1], b"x" * 200):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"not a readable \.npy file"):
            read_npy(path)
