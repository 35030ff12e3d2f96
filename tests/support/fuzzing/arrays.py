"""Damage to files of arrays: ``.npy``, ``.npz``, safetensors, pickles and pictures."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from functools import cache
from typing import Any

import numpy as np
import safetensors.numpy

from support.fuzzing.damage import change, json_text

HUGE = 2**29
"""Bytes that a file claims or holds, all zeros."""


def odd_array(rng: random.Random, old: np.ndarray) -> np.ndarray:
    """Another array in place of a sound one."""
    shape, rows = old.shape, np.atleast_1d(old)
    values = [np.nan, np.inf, -1, 0, 1, 2**31, -(2**62), 1e308, 0.5, 255, 70000]
    made: list[Any] = [
        np.full(shape, rng.choice(values)),
        np.full(shape, int(rng.choice([-1, 0, 1, 3, 2**31, -(2**62), 2**63 - 1]))),
        old.astype(rng.choice(["f2", "f4", "f8", "c16", "?", "i1", "u8", "i8", ">i4"])),
        np.full(shape, "text"),
        np.full(shape, b"\xff\xfe"),
        np.zeros(shape, "M8[s]"),
        np.zeros(shape, [("a", "f4"), ("b", "i2")]),
        np.full((2**64 - 1) % 3 + 1, 2**64 - 1, np.uint64),
        old[None],
        old[..., None],
        rows[:0],
        rows[:1],
        old.ravel(),
        old.T,
        np.asfortranarray(old),
        np.zeros(()),
        np.zeros((0, 3)),
        np.zeros((1,) * 20),
        np.concatenate([old.ravel()] * 2),
        -old.astype(np.float64),
    ]
    if old.size and old.dtype.kind in "iuf":
        one = old.copy()
        with np.errstate(all="ignore"):
            one.flat[rng.randrange(old.size)] = np.array(rng.choice([0, 1, 100, -1])).astype(
                one.dtype
            )
        made += [one] * 4
    return made[rng.randrange(len(made))]


def header_lies(rng: random.Random, content: bytes) -> bytes:
    """An ``.npy`` whose head says something else than follows."""
    length = struct.unpack("<H", content[8:10])[0]
    head, data = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    field, end = rng.choice([("'shape': (", ")"), ("'descr': '", "'"), ("'fortran_order': ", ",")])
    start = head.find(field) + len(field)
    told = rng.choice(
        [
            *("1099511627776,", "-1,", "2, 3", f"{2**70},", "9" * 5000, "0,", "True,", "1," * 40),
            *("|O", "<f8", "|V99999999", "<U1000000000", "<M8[s]", "bogus", "i4, (2, 2)"),
            *("True", "None", "(" * 300, "__import__('os')", "1 if 1 else 2,"),
        ]
    )
    head = head[:start] + told + head[head.find(end, start) :]
    version = rng.choice([b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\t\0"])
    size = struct.pack("<H" if version[0] == 1 else "<I", len(head) % 2**16)
    return b"\x93NUMPY" + version + size + head.encode("latin-1") + data


def npy(rng: random.Random, content: bytes) -> bytes:
    """Another ``.npy``."""
    if rng.random() < 0.4:
        return header_lies(rng, content)
    return _npy(odd_array(rng, np.load(io.BytesIO(content))))


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(rng: random.Random, content: bytes) -> bytes:
    """An ``.npz`` with one member changed, or packed in another way."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    what = rng.choice(["array"] * 6 + ["head", "gone", "name", "flags", "huge", "twice", "extra"])
    if what == "array":
        members[name] = _npy(odd_array(rng, np.load(io.BytesIO(members[name]))))
    elif what == "head":
        members[name] = header_lies(rng, members[name])
    elif what == "gone":
        del members[name]
    elif what == "name":
        members[rng.choice(["../x.npy", "x", "y.npy", "x" * 60000])] = members.pop(name)
    elif what == "extra":
        odd = rng.choice([0, -1, 3, 300, 2**40, np.nan, "a"])
        key = rng.choice(["levels", "classes", "lengths_train", "lengths_test", "lengths", "y"])
        members[f"{key}.npy"] = _npy(np.asarray(odd))
    if what == "huge":
        return _with_zeros(rng, members, name)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, member in members.items():
            archive.writestr(key, member)
            if what == "twice" and key == name:
                # As zipfile writes it, with a warning for whoever writes.
                archive.filelist.append(archive.filelist[-1])
    found = bytearray(stream.getvalue())
    if what == "flags":
        at, value = rng.choice([(8, 1), (8, 64), (10, 99), (10, 12), (10, 14), (24, 255), (45, 9)])
        for signature, offset in ((b"PK\x01\x02", at), (b"PK\x03\x04", at - 2)):
            start = found.find(signature)
            found[start + offset] = value
    return bytes(found)


@cache
def _zeros() -> bytes:
    """Very many zeros as raw deflate."""
    packer, block = zlib.compressobj(1, zlib.DEFLATED, -15), bytes(2**20)
    packed = b"".join(packer.compress(block) for _ in range(HUGE // len(block)))
    return packed + packer.flush()


def _with_zeros(rng: random.Random, members: dict[str, bytes], name: str) -> bytes:
    """An archive of a megabyte in which an array takes half a gigabyte: rows as it had before."""
    old = np.load(io.BytesIO(members[name]))
    rows = old.ndim > 0 and old.size > 0 and HUGE % old[:1].nbytes == 0 and rng.random() < 0.7
    shape = (HUGE // old[:1].nbytes, *old.shape[1:]) if rows else (HUGE // 8,)
    stream = io.BytesIO()
    kind = old.dtype.str if rows else "<f8"
    np.lib.format.write_array_header_1_0(
        stream, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    head, check = stream.getvalue(), zlib.crc32(stream.getvalue())
    for _ in range(HUGE // 2**20):
        check = zlib.crc32(bytes(2**20), check)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    # The head ends at a byte, so that what was packed once can follow.
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + _zeros()
    info = zipfile.ZipInfo(name)
    info.compress_type, info.CRC = zipfile.ZIP_DEFLATED, check
    info.compress_size, info.file_size = len(packed), len(head) + HUGE
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for key, member in members.items():
            if key != name:
                archive.writestr(key, member)
        info.header_offset = made.tell()
        made.write(info.FileHeader(zip64=False) + packed)
        archive.start_dir = made.tell()
        archive.filelist.append(info)
    return made.getvalue()


def tensors(rng: random.Random, content: bytes) -> bytes:
    """Other tensors of a safetensors file, or another head before them."""
    length = struct.unpack("<Q", content[:8])[0]
    if rng.random() < 0.4:
        head = json_text(rng, change(rng, json.loads(content[8 : 8 + length])))
        told = rng.choice([len(head)] * 8 + [0, 2**40, 2**64 - 1])
        return struct.pack("<Q", told) + head + content[8 + length :]
    held = safetensors.numpy.load(content)
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    name = rng.choice(sorted(held))
    what = rng.choice(["array"] * 6 + ["gone", "name", "extra", "swap"])
    if what == "array":
        made = odd_array(rng, held[name])
        held[name] = made if made.dtype.kind in "fiub" and made.dtype.isnative else np.zeros(1)
    elif what == "gone":
        del held[name]
    elif what == "name":
        held[rng.choice(["", "x", "../x", "a.b", name + "$^$"])] = held.pop(name)
    elif what == "extra":
        held[rng.choice(["x", "model.x", "fc.weight"])] = np.zeros(3)
    else:
        other = rng.choice(sorted(held))
        held[name], held[other] = held[other], held[name]
    held = {key: np.ascontiguousarray(value) for key, value in held.items()}
    return safetensors.numpy.save(held, metadata)


class _Calls:
    """A pickle of it calls what it holds."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def pickles(rng: random.Random, content: bytes) -> bytes:
    """A pickle of something else, of the little that may be in one."""
    batch: dict[Any, Any] = pickle.loads(content)
    key = rng.choice(sorted(batch, key=str))
    doubling: Any = ["x"]
    for _ in range(rng.choice([10, 40, 60])):
        doubling = [doubling, doubling]
    made = np.core.multiarray._reconstruct  # pyright: ignore
    odd: list[Any] = [
        *(None, 3, 2**70, "text", b"", [], {}, [1, 2], [None], ["a"], [[0], [1]], [2**70, -1]),
        *(doubling, [np.nan, np.inf], {1: 2}, np.zeros((2**10, 2**10)), np.zeros(0)),
        *(_Calls(made, np.ndarray, (2**40,), b"b"), _Calls(made, np.ndarray, (-1,), b"b")),
        *(_Calls(np.ndarray, (2**28,), "f8"), _Calls(np.dtype, "V2147483647"), _Calls(print, "x")),
        *(_Calls(np.ndarray, (2**20, 2**20, 2**20)), _Calls(np.ndarray, (2,), "O")),
    ]
    if rng.random() < 0.5 and isinstance(batch[key], np.ndarray):
        batch[key] = odd_array(rng, batch[key])
    elif rng.random() < 0.7:
        batch[key] = odd[rng.randrange(len(odd))]
    elif rng.random() < 0.5:
        del batch[key]
    else:
        batch = odd[rng.randrange(len(odd))]
    return pickle.dumps(batch, protocol=rng.choice([0, 2, 4]))


def pickle_words(rng: random.Random, content: bytes) -> bytes:
    """A pickle that announces more than it holds."""
    huge = rng.choice([2**31 - 1, 2**40, 2**63 - 1])
    words: list[bytes] = [
        b"\x80\x04\x8d" + struct.pack("<Q", huge),
        b"\x80\x04\x8e" + struct.pack("<Q", huge),
        b"\x80\x05\x96" + struct.pack("<Q", huge),
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1),
        b"\x80\x04" + b"(" * 200_000 + b"t" * 200_000 + b".",
        b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
        b"\x80\x04" + b"K\x01r" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x04K\x01r" + struct.pack("<I", 2**28) + b".",
        b"I" + b"9" * 5000 + b"\n.",
        b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R.",
    ]
    return rng.choice(words)


def pictures(rng: random.Random, content: bytes) -> bytes:
    """Pictures of odd sizes, modes and formats."""
    from PIL import Image

    size = rng.choice([(1, 1), (1, 60_000), (60_000, 1), (9000, 9000), (14_000, 14_000), (3, 2)])
    mode = rng.choice(["1", "L"] if size[0] * size[1] > 10**6 else ["1", "L", "P", "RGBA", "RGB"])
    kind = rng.choice(["PNG", "GIF" if mode in "1LP" else "PNG", "TIFF"])
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind)
    return stream.getvalue()


def png_sizes(rng: random.Random, content: bytes) -> bytes:
    """A PNG that claims another size."""
    head = struct.pack(">II", rng.choice([0, 1, 8, 2**16, 2**31 - 1]), rng.choice([1, 8, 2**20]))
    chunk = b"IHDR" + head + content[24:29]
    return content[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


def unguarded(content: bytes) -> bytes:
    """A checkpoint as older versions wrote it, without a hash."""
    length = struct.unpack("<Q", content[:8])[0]
    head = json.loads(content[8 : 8 + length])
    metadata = head["__metadata__"]
    metadata["format"] = "2"
    metadata.pop("sha256", None)
    with_recipe = json.loads(metadata["state"])
    if isinstance(with_recipe, dict):
        with_recipe.pop("recipe", None)
        metadata["state"] = json.dumps(with_recipe)
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]
