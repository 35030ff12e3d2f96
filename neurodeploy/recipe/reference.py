"""Every key of a recipe with its type, default and meaning, as the dataclasses state them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Attributes:
        hint: the annotation that its values are checked by.
        default: None where there is none, or where it is None.
        required: whether a recipe has to state it.
        meaning: a sentence or more, from the docstring of the table's class.
    """

    name: str
    hint: Any
    default: Any
    required: bool
    meaning: str

    @property
    def kind(self) -> str:
        """The type in words."""
        return kind_text(self.hint)

    @property
    def table(self) -> type[Any] | None:
        """The class of the table that the key names, None of a value."""
        hint = self.hint
        return hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None


def keys_of(cls: type[Any]) -> tuple[Key, ...]:
    """The keys of the table that a dataclass is built from."""
    hints, meanings = typing.get_type_hints(cls), attributes_of(cls)
    found = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default, required = field.default, False
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        elif default is dataclasses.MISSING:
            default, required = None, True
        meaning = meanings.get(field.name, "")
        found.append(Key(field.name, hints[field.name], default, required, meaning))
    return tuple(found)


def tables_of(cls: type[Any], path: str = "") -> Iterator[tuple[str, type[Any]]]:
    """The class itself under ``path``, and the tables in it under dotted paths."""
    yield path, cls
    for key in keys_of(cls):
        if key.table is not None:
            yield from tables_of(key.table, f"{path}.{key.name}".lstrip("."))


def attributes_of(cls: type[Any]) -> dict[str, str]:
    """The sections ``Attributes`` of the docstrings of a class and those it derives from, by name.

    An entry ``as in ``module.Class```` takes the other class's words.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= _attributes_in(vars(base).get("__doc__") or "")
    return found


def _attributes_in(docstring: str) -> dict[str, str]:
    text = inspect.cleandoc(docstring).partition("Attributes:\n")[2]
    entries = re.split(r"^    (?=\w[\w, ]*: )", text, flags=re.MULTILINE)[1:]
    found: dict[str, str] = {}
    for entry in entries:
        names, _, words = entry.partition(": ")
        meaning = " ".join(words.split("\n\n")[0].split())
        other = re.match(r"as in ``([\w.]+)\.(\w+)``", meaning)
        elsewhere = {}
        if other:
            elsewhere = attributes_of(getattr(importlib.import_module(other[1]), other[2]))
        for name in names.split(", "):
            words = elsewhere.get(name, meaning)
            found[name] = words[:1].upper() + words[1:]
    return found


def kind_text(hint: Any) -> str:
    """An annotation in words of TOML."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind_text(choice) for choice in arguments if choice is not type(None))
    if origin is typing.Literal:
        return ", ".join(json.dumps(choice) for choice in arguments)
    if origin is tuple:
        return f"list of {kind_text(arguments[0])}s"
    if origin is dict or dataclasses.is_dataclass(hint):
        return "table"
    return TYPES.get(hint, "value")


def toml_text(value: Any) -> str:
    """A value in one line of TOML; tables without the keys that are None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        inner = (f"{key} = {toml_text(item)}" for key, item in value.items() if item is not None)
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_text, value))}]"
    return json.dumps(value, ensure_ascii=False)


def json_schema(cls: type[Any], free: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON schema (draft 2020-12) of a table, for editors to check and to complete by.

    Args:
        free: schemas of keys that are tables without a class of their own.
    """
    keys = keys_of(cls)
    properties = {}
    for key in keys:
        schema = (free or {}).get(key.name) or _schema(key.hint)
        properties[key.name] = {**schema, "description": key.meaning}
        if not key.required and key.default is not None and key.table is None:
            default = key.default
            if dataclasses.is_dataclass(default) and not isinstance(default, type):
                default = dataclasses.asdict(default)
            properties[key.name]["default"] = default
    return {
        "type": "object",
        "properties": properties,
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _schema(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        choices = [choice for choice in arguments if choice is not type(None)]
        return _schema(choices[0]) if len(choices) == 1 else {"anyOf": list(map(_schema, choices))}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0])}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return json_schema(hint)
    if origin is dict:
        return {"type": "object"}
    return {"type": TYPES[hint]} if hint in TYPES else {}
