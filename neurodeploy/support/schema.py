"""Strict reading of TOML tables into frozen dataclasses.

Every key must be a field, every value must have the field's type; anything else is refused with
the place, what was found and the nearest valid key. Recipes and targets are both read this way.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from neurodeploy.errors import InputError, nearest
from neurodeploy.support.files import as_path
from neurodeploy.support.reading import shown

T = TypeVar("T")


def builtin_names(package: str) -> list[str]:
    """Names of the TOML files that ship in ``package``, sorted, without their ending."""
    names = [entry.name for entry in resources.files(package).iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def find_toml(source: str | Path, package: str, kind: str) -> Path:
    """Path of the TOML that ``source`` means: a built-in name, else a path.

    Raises:
        InputError: neither exists; the message names the nearest built-in one.
    """
    path = as_path(source, f"load_{kind}", f"the name of a {kind} or a path")
    if path.suffix == ".toml" or len(path.parts) > 1:
        if not path.is_file():
            raise InputError(f"{kind} {str(source)!r}: no such file")
        return path
    names = builtin_names(package)
    if str(source) not in names:
        raise InputError(f"{kind} {str(source)!r} is not built in{nearest(str(source), names)}")
    with resources.as_file(resources.files(package) / f"{source}.toml") as found:
        return found


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build dataclass ``cls`` from ``table``; nested dataclasses come from nested tables.

    Args:
        cls: a dataclass; fields without default are required.
        table: keys to values as TOML gives them.
        where: the place to name in messages, for example ``digits_conv.toml [neuron]``.

    Raises:
        InputError: an unknown key, missing ones, or a value of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: expected a table, found {shown(table)}")
    fields = _fields(cls)
    _refuse_unknown(cls, table, where)
    missing = _missing(cls, table)
    if missing:
        # One is named as in its own table, several from this one.
        path, _, name = missing[0].rpartition(".")
        if len(missing) == 1:
            place = ": ".join((where, *path.split("."))) if path else where
            raise InputError(f"{place}: key {name!r} is missing")
        raise InputError(f"{where}: keys are missing: {', '.join(missing)}")
    hints = typing.get_type_hints(cls)
    values = {
        name: _convert(hints[name], table[name], f"{where}: {name}")
        for name in fields
        if name in table
    }
    try:
        return cls(**values)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: {error}") from None


def _fields(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(cls) if field.init}


def _inner(cls: type[Any], table: Mapping[str, Any]) -> dict[str, type[Any]]:
    """The tables in a table that are there, by key, and the dataclasses that they are built as."""
    return {
        name: hint
        for name, hint in typing.get_type_hints(cls).items()
        if dataclasses.is_dataclass(hint)
        and isinstance(hint, type)
        and isinstance(table.get(name), Mapping)
    }


def _refuse_unknown(cls: type[Any], table: Mapping[str, Any], where: str) -> None:
    """Refuse keys that no field has, here and in the tables within.

    Raises:
        InputError: naming the first.
    """
    fields = _fields(cls)
    for key in table:
        if key not in fields:
            raise InputError(f"{where}: unknown key {shown(key)}{nearest(key, fields)}")
    for name, inner in _inner(cls, table).items():
        _refuse_unknown(inner, table[name], f"{where}: {name}")


def _missing(cls: type[Any], table: Mapping[str, Any]) -> list[str]:
    """Keys without a default that are not there, dotted where they belong into a table within."""
    within = _inner(cls, table)
    found = []
    for name, field in _fields(cls).items():
        if name in within:
            found += [f"{name}.{key}" for key in _missing(within[name], table[name])]
        elif (
            name not in table
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            found.append(name)
    return found


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check ``value`` against the annotation ``hint``; ints are accepted where floats are meant."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        problems = []
        # A table is meant for the choice that takes one, whose problem is then the one to name.
        table = isinstance(value, Mapping)
        for choice in sorted(
            arguments,
            key=lambda kind: (
                table and not (typing.get_origin(kind) is dict or dataclasses.is_dataclass(kind))
            ),
        ):
            try:
                return _convert(choice, value, where)
            except InputError as error:
                problems.append(error)
        raise problems[0]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: expected a table, found {shown(value)}")
        return build(hint, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            choices = ", ".join(repr(argument) for argument in arguments)
            raise InputError(f"{where}: {shown(value)} is not one of {choices}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list, found {shown(value)}")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: expected a table, found {shown(value)}")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = typing.cast("type", hint)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{where}: expected {expected.__name__}, found {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: expected a number, found {shown(value)}")
    return value
