"""Damage to bytes, and to the values that JSON and TOML hold."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Damage = Callable[[random.Random, bytes], bytes]
"""Another content in place of a sound one."""


# --- bytes of any file ---


def flip(rng: random.Random, content: bytes) -> bytes:
    """Other bits, in a few places or in many."""
    found = bytearray(content or b"\0")
    for _ in range(rng.choice([1, 1, 2, 8, 40])):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def flip_in_head(rng: random.Random, content: bytes) -> bytes:
    """Other bits where formats have their structure."""
    return flip(rng, content[:200]) + content[200:]


def cut(rng: random.Random, content: bytes) -> bytes:
    """An end that is missing."""
    return content[: rng.choice([0, 1, 8, rng.randrange(len(content) + 1)])]


def splice(rng: random.Random, content: bytes) -> bytes:
    """A part of the file in place of another."""
    a, b = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
    length = rng.choice([1, 4, 16, 300])
    return content[:a] + content[b : b + length] + content[a + length :]


def repeat(rng: random.Random, content: bytes) -> bytes:
    """A part that is there twice or many times."""
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:b] + content[a:b] * rng.choice([1, 2, 20]) + content[b:]


def blank(rng: random.Random, content: bytes) -> bytes:
    """A stretch of one byte."""
    a, length = rng.randrange(len(content) + 1), rng.choice([1, 2, 4, 8, 100])
    return content[:a] + rng.choice([b"\0", b"\xff", b"\x7f"]) * length + content[a + length :]


def not_text(rng: random.Random, content: bytes) -> bytes:
    """Bytes that are no UTF-8, or no printable text."""
    a = rng.randrange(len(content) + 1)
    odd = rng.choice([b"\xff\xfe", b"\x80", b"\xed\xa0\x80", b"\0", b"\x1b[2J", b"\xef\xbb\xbf"])
    return content[:a] + odd + content[a + rng.choice([0, 1]) :]


BYTES: tuple[Damage, ...] = (flip, flip_in_head, cut, splice, repeat, blank, not_text)


# --- values ---

DEEP = 2000


def _deep(rng: random.Random) -> Any:
    value: Any = 1
    for _ in range(rng.choice([5, 60, 70, DEEP])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, -(2**31), 2**31, 2**63 - 1, 2**64, 2**70, -(2**70)),
    *(math.nan, math.inf, -math.inf, 1e308, -0.5, 0.5, 5e-324, 1e-30, 1e18),
    *("", "0", "nan", "x" * 100_000, "\0", "../../../x", "/etc/passwd", "cost $5^$", "\ud800"),
    *("<script>", "a\nb", "\u202e", "\x1b[31m", "input", "fc", "zero"),
    *([], {}, [[]], {"a": {}}, [0] * 5000, ["a"], [1, 2, 3], [None], {"name": 3}, {"": {"": []}}),
)
"""Values in place of sound ones."""

DIGITS = 5000


def places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every table or list within a value, with each of its keys; not those that lie deepest."""
    if isinstance(value, dict | list) and depth < 50:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from places(item, depth + 1)


def change(rng: random.Random, value: Any) -> Any:
    """A value, changed in one place or in a few."""
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        found = list(places(value))
        if not found:
            return _copy(rng.choice(ODD))
        _change_one(rng, found)
    return value


def _change_one(rng: random.Random, found: list[tuple[Any, Any]]) -> None:
    table, key = rng.choice(found)
    old = table[key]
    match rng.choice(
        ["odd", "odd", "odd", "near", "near", "other", "gone", "more", "name", "deep"]
    ):
        case "odd":
            table[key] = _copy(rng.choice(ODD))
        case "near":
            table[key] = _near(rng, old)
        case "other":
            other, place = rng.choice(found)
            table[key] = _copy(other[place])
        case "gone":
            del table[key]
        case "deep":
            table[key] = _deep(rng)
        case _ if isinstance(table, list):
            table.insert(key, _copy(old))
        case "more":
            table[rng.choice(["one more", "", "name", "x" * 1000, "a.b", "\ud800"])] = _copy(old)
        case "name":
            table[f"{key}{rng.choice(['_', ' ', '.', '/..'])}"] = table.pop(key)


def _copy(value: Any) -> Any:
    """A value of its own: a table within itself has no text."""
    try:
        return json.loads(json.dumps(value))
    except RecursionError:
        return [[]]


def _near(rng: random.Random, old: Any) -> Any:
    """A value of the same kind."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return rng.choice([old + 1, old - 1, -old, old * 3, 0, old + 0.5, str(old), [old]])
    if isinstance(old, str):
        return rng.choice([f"{old}a", old[:-1], f"../{old}", old.upper(), f"{old}\0", [old]])
    if isinstance(old, list):
        return rng.choice([old[:-1], old[::-1], old * 3, [old], {"a": old}])
    return rng.choice([list(old or ()), {**(old or {}), "a": 1}, [old]])


def json_values(rng: random.Random, content: bytes) -> bytes:
    """Other values in JSON, one object or one on every line."""
    lines = content.splitlines() if content.count(b"\n{") else [content]
    number = rng.randrange(len(lines))
    lines[number] = json_text(rng, change(rng, json.loads(lines[number])))
    return b"\n".join(lines)


def json_text(rng: random.Random, value: Any) -> bytes:
    """Its text; now and then with an integer that is longer than any number."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "[" * DEEP * 50 + "]" * DEEP * 50
    return text.replace("0", "9" * DIGITS, rng.random() < 0.02).encode("utf-8", "surrogatepass")


def toml_values(rng: random.Random, content: bytes) -> bytes:
    """Other values in TOML."""
    table = change(rng, tomllib.loads(content.decode()))
    try:
        text = "\n".join(f"{_quoted(key)} = {_toml(item)}" for key, item in table.items())
    except RecursionError:
        text = "a = " + "[" * DEEP + "]" * DEEP
    return text.encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _quoted(value) if isinstance(value, str) else str(bool(value)).lower()
    return str(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def lines(rng: random.Random, content: bytes) -> bytes:
    """Other fields in a table of text."""
    rows = [row.split(b",") for row in content.splitlines()]
    row = rng.choice(rows)
    match rng.choice(["field", "field", "gone", "twice", "short"]):
        case "field":
            odd = rng.choice(ODD)
            row[rng.randrange(len(row))] = str(odd).encode("utf-8", "surrogatepass")
        case "gone":
            rows.remove(row)
        case "twice":
            rows.append(row)
        case _:
            del row[-1]
    return b"\n".join(b",".join(row) for row in rows)
