"""Text files of others: JSON and TOML, bounded in size, in depth and in the size of integers.

A file of a kilobyte can hold an integer of a thousand digits, or be nested deeper than anything
that goes over it later can follow. All files are read here, and whatever is wrong with one is an
error that names it.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from neurodeploy.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

MOST_JSON = 2**27
"""Bytes of a JSON file: the mapping of a full system of 1,152 chips takes half of it."""

MOST_TOML = 2**17
"""Bytes of a TOML file, ten times what the longest target takes."""

MOST_DOTS = 2000
"""In a line of TOML: reading a key takes the square of its parts."""

MOST_DEPTH = 64
"""Tables and lists within one another."""

INTEGERS = -(2**63), 2**64 - 1
"""Least and greatest integer: what 64 bits hold, with a sign or without."""


def check_file(path: Path) -> None:
    """Refuse what is no file to read: pipes and devices may never end.

    Raises:
        InputError: it is absent, or something else.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from None
    if not stat.S_ISREG(mode):
        kind = "Is a directory" if stat.S_ISDIR(mode) else "it is not a regular file"
        raise InputError(f"{path}: cannot be read: {kind}")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file of at most so many bytes.

    Raises:
        InputError: it is absent, unreadable or larger.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from None
    if len(content) > most:
        raise InputError(f"{path}: larger than the {most:,} bytes that are read of such a file")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: the file is absent, unreadable, beyond the bounds, or not a JSON object.
    """
    value = json_value(read_bytes(path, MOST_JSON), str(path))
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file with a JSON object on every line.

    Raises:
        InputError: as ``read_json``, with the number of the line.
    """
    rows = []
    for number, line in enumerate(read_bytes(path, MOST_JSON).splitlines(), 1):
        value = json_value(line, f"{path}, line {number}")
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object")
        rows.append(value)
    return rows


def json_value(text: str | bytes, where: str) -> Any:
    """The value that a JSON text stands for.

    Args:
        where: the place to name in messages.

    Raises:
        InputError: it is not JSON, or beyond the bounds.
    """
    return _parsed(lambda: json.loads(_text(text), parse_int=_integer), "JSON", where)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: the file is absent, unreadable, beyond the bounds, or not TOML.
    """
    return toml_table(read_bytes(path, MOST_TOML), str(path))


def toml_table(text: str | bytes, where: str) -> dict[str, Any]:
    """The table that a TOML text stands for.

    Args:
        where: the place to name in messages.

    Raises:
        InputError: it is not TOML, or beyond the bounds.
    """

    def load() -> dict[str, Any]:
        said = _text(text)
        if any(line.count(".") > MOST_DOTS for line in said.splitlines()):
            raise ValueError(f"more than {MOST_DOTS} dots in a line")
        return tomllib.loads(said)

    return _parsed(load, "TOML", where)


def toml_value(text: str, where: str) -> Any:
    """The value that a TOML text stands for; the text itself where it is none.

    Args:
        where: the place to name in messages.

    Raises:
        InputError: it is beyond the bounds.
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
    check_bounds(value, where)
    return value


def shown(value: Any) -> str:
    """A value for a message, whose end is left out where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _parsed(load: Callable[[], T], format: str, where: str) -> T:
    try:
        value = load()
    # Both parsers go down by recursion.
    except RecursionError:
        raise InputError(f"{where}: not valid {format}: nested too deep") from None
    except ValueError as error:
        raise InputError(f"{where}: not valid {format}: {error}") from None
    check_bounds(value, where)
    return value


def _text(content: str | bytes) -> str:
    return content.decode("utf-8") if isinstance(content, bytes) else content


def _integer(digits: str) -> int:
    low, high = INTEGERS
    if len(digits) > len(str(low)) or not low <= int(digits) <= high:
        raise ValueError(f"integer {digits[:20]}... does not fit into 64 bits")
    return int(digits)


def check_bounds(value: Any, where: str) -> None:
    """Refuse a value that no file of ours may hold; without recursion.

    Raises:
        InputError: it is nested too deep, or has an integer beyond 64 bits.
    """
    low, high = INTEGERS
    level, depth = [value], 0
    while level:
        if depth > MOST_DEPTH:
            raise InputError(f"{where}: nested more than {MOST_DEPTH} deep")
        for found in level:
            if isinstance(found, int) and not low <= found <= high:
                raise InputError(f"{where}: holds an integer that does not fit into 64 bits")
        tables = [found for found in level if isinstance(found, dict)]
        lists = [found for found in level if isinstance(found, list | tuple)]
        level = [item for table in tables for item in table.values()]
        level += [item for items in lists for item in items]
        depth += 1


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
