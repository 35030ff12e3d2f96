"""HDF5 files that are too large, odd or damaged: one message, and no array read before it."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.interchange import hdf5
from neurodeploy.interchange.hdf5 import MOST_DEPTH, check_hdf5, read_tree


def test_a_tree_reads_back_as_it_was_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["numbers"] = np.arange(6, dtype=np.int16).reshape(2, 3)
        file["deep/er/one"] = 1.5
        file["text"] = "CUBA"
        file.create_dataset("old", (1,), "S10", [b"dense"])
        file.create_group("nothing")
    tree = read_tree(tmp_path / "a.h5", "test")
    assert set(tree) == {"numbers", "deep", "text", "old", "nothing"}
    assert tree["numbers"].dtype == np.int16
    assert tree["numbers"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tree["deep"]["er"]["one"] == 1.5
    assert (tree["text"][()], tree["old"][0], tree["nothing"]) == (b"CUBA", b"dense", {})


def giant(file: h5py.File) -> None:
    file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(64, 64))


def many_small_ones(file: h5py.File) -> None:
    for index in range(64):
        file.create_dataset(f"{index}", (1 << 20,), "i1", chunks=(64,))


def wide_strings(file: h5py.File) -> None:
    file.create_dataset("s", (8,), "S200000000", chunks=(1,))


def another_file(file: h5py.File) -> None:
    file["w"] = h5py.ExternalLink("b.h5", "/w")


def a_soft_link(file: h5py.File) -> None:
    file["a/b"] = h5py.SoftLink("/a")


def a_circle(file: h5py.File) -> None:
    file["a"] = file.create_group("b")
    file["b/a"] = file["b"]


def twins(file: h5py.File) -> None:
    """Each level twice: 2 to the power of the depth paths."""
    file["x/end"] = 1
    file["y"] = file["x"]


def depth(file: h5py.File) -> None:
    file.create_group("/".join("a" * (MOST_DEPTH + 1)))


def outside_storage(file: h5py.File) -> None:
    file.create_dataset("w", (4,), "u1", external=[("/dev/zero", 0, 4)])


def a_view_of_others(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "i4")
    layout[:] = h5py.VirtualSource("b.h5", "w", (4,))
    file.create_virtual_dataset("w", layout)


def records(file: h5py.File) -> None:
    file["w"] = np.zeros(2, [("a", int), ("b", float)])


def nothing_at_all(file: h5py.File) -> None:
    file["w"] = h5py.Empty("f4")


def a_type(file: h5py.File) -> None:
    file["w"] = np.dtype("f4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (giant, "w: the arrays up to here take 8,796,093,022,208 bytes"),
        (many_small_ones, r"the arrays up to here take 142,606,336 bytes.*may hold 134,217,728"),
        (wide_strings, "s: the arrays up to here take 1,600,000,000 bytes"),
        (another_file, "w: a link to somewhere else"),
        (a_soft_link, "a/b: a link to somewhere else"),
        (a_circle, "b: the same object as under another name"),
        (twins, "y: the same object as under another name"),
        (depth, "32 levels of groups"),
        (outside_storage, "w: its content lies in other files"),
        (a_view_of_others, "w: its content lies in other files"),
        (records, "w: holds .*; numbers and strings are read"),
        (nothing_at_all, "w: neither a group nor an array"),
        (a_type, "w: neither a group nor an array"),
    ],
)
def test_what_is_not_plain_and_bounded_is_refused(
    tmp_path: Path, content: Callable[[h5py.File], None], message: str
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        content(file)
    for read in (check_hdf5, read_tree):
        with pytest.raises(InputError, match=message) as caught:
            read(path, "test")
        assert str(caught.value).startswith(f"{path}: ")


def test_what_unpacks_to_much_more_than_its_size_may_only_be_small(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.h5", tmp_path / "packed.h5"
    for path, options in ((plain, {}), (packed, {"compression": "gzip"})):
        with h5py.File(path, "w") as file:
            file.create_dataset("w", data=np.zeros(1 << 16), **options)
    check_hdf5(plain, "test", small_bytes=0)
    check_hdf5(packed, "test", small_bytes=8 << 16)
    with pytest.raises(InputError, match="w: the arrays up to here take 524,288 bytes unpacked"):
        check_hdf5(packed, "test", small_bytes=(8 << 16) - 1)


def test_text_is_counted_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["names"] = np.array([["a", "b" * 700], ["", "c"]] * 50, h5py.string_dtype())
        file["none"] = np.zeros((0, 2), h5py.string_dtype())
    monkeypatch.setattr(hdf5, "TEXT_BYTES", 1)  # one row at a time
    found = read_tree(path, "test")
    assert found["names"].shape == (100, 2)
    assert found["names"][1].tolist() == [b"", b"c"]
    assert found["none"].shape == (0, 2)
    monkeypatch.setattr(hdf5, "SMALL_BYTES", 10000)
    monkeypatch.setattr(hdf5, "MOST_EXPANSION", 0)
    with pytest.raises(InputError, match="/names: more text than the file can hold"):
        read_tree(path, "test")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not HDF5" * 100])
def test_what_is_no_hdf5_is_one_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable NIR file: ") as caught:
        check_hdf5(path, "NIR")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        check_hdf5(tmp_path / name, "NIR")


def test_a_string_is_not_believed_to_be_as_long_as_it_says(tmp_path: Path) -> None:
    """HDF5 makes room for the stated length before it finds that the string is shorter."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["type"] = "CUBA"
        place = file["type"].id.get_offset()
    content = bytearray(path.read_bytes())
    assert content[place : place + 4] == (4).to_bytes(4, "little")
    content[place : place + 4] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(content)
    code = (
        "import sys; from pathlib import Path;"
        "from neurodeploy.bench.process import high_water_mb;"
        "from neurodeploy.errors import InputError;"
        "from neurodeploy.interchange.hdf5 import read_tree\n"
        "try: read_tree(Path(sys.argv[1]), 'test')\n"
        "except InputError as error: print(error)\n"
        "else: sys.exit('it was read')\n"
        "print(high_water_mb())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    message, memory = done.stdout.splitlines()
    assert "a.h5: not a readable test file" in message
    assert float(memory) < 700


def test_text_without_an_end_is_refused(tmp_path: Path) -> None:
    """At a free object of size 0 the library would stay for ever."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(300):  # several collections
            file[f"type{number}"] = f"CUBA{number}" * 10
    content = bytearray(path.read_bytes())
    assert content.count(b"GCOL") > 1
    assert len(read_tree(path, "test")) == 300
    start = content.rindex(b"GCOL")
    at, end = start + 16, start + int.from_bytes(content[start + 8 : start + 16], "little")
    while at + 16 <= end and int.from_bytes(content[at : at + 2], "little"):
        at += 16 + -(-int.from_bytes(content[at + 8 : at + 16], "little") // 8) * 8
    content[at : at + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a.h5: .* collection of text at byte {start:,} is dam"):
        read_tree(path, "test")


def test_memory_is_free_again_after_reading(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["w"] = np.zeros(3)
    assert read_tree(tmp_path / "a.h5", "test")["w"].size == 3
    with pytest.raises(InputError):
        read_tree(Path(__file__), "test")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
