"""What a caller states of a network's nodes: one value for all of them, or a table by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from neurodeploy.errors import InputError, Setting, Text, nearest

V = TypeVar("V")

ALL = "*"
"""In a table, stands for the nodes that it does not name."""


def for_node(stated: V | Mapping[str, V] | None, node: str) -> V | None:
    """What is stated of one node, be it of all."""
    if isinstance(stated, Mapping):
        return stated.get(node, stated.get(ALL))
    return stated


def for_all(stated: V | Mapping[str, V] | None) -> V | None:
    """What is stated of the nodes that are not named."""
    return for_node(stated, ALL)


def named(stated: object) -> list[str]:
    """The nodes that a table names."""
    return [name for name in stated if name != ALL] if isinstance(stated, Mapping) else []


def covers(stated: object, nodes: Mapping[str, str]) -> bool:
    """Whether something is stated of every node."""
    return all(for_node(stated, node) is not None for node in (*nodes, *([] if nodes else [ALL])))


def check_named(setting: str, stated: object, nodes: Mapping[str, str], where: str) -> None:
    """Refuse names that are not those of nodes that fire.

    Args:
        setting: what the table states.
        nodes: the nodes that it can be stated of.

    Raises:
        InputError: another name; the nearest is given.
    """
    for name in named(stated):
        if name not in nodes:
            assert isinstance(stated, Mapping)
            raise InputError(
                Text(
                    f"{where}: ",
                    Setting(setting, f"{name}={stated[name]}"),
                    f": no node that fires is called {name!r}{nearest(name, nodes)}",
                )
            )
