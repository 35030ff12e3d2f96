"""Training rules. A new one is a file with an options dataclass, and a line in ``RULES``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurodeploy.errors import InputError, nearest
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.eprop import EProp
from neurodeploy.rules.ottt import OTTT
from neurodeploy.rules.rate import Rate
from neurodeploy.rules.rule import Batch, BatchResult, Rule, Update
from neurodeploy.rules.sltt import SLTT, SLTTK
from neurodeploy.support.schema import build

RULES: dict[str, type[Rule]] = {
    "sltt": SLTT,
    "sltt-k": SLTTK,
    "bptt": BPTT,
    "ottt": OTTT,
    "eprop": EProp,
    "rate": Rate,
}


def build_rule(options: Mapping[str, Any], steps: int, where: str = "[rule]") -> Rule:
    """A rule with its options.

    Args:
        options: its ``name``, and the options of that rule.
        steps: T, steps per sample.
        where: names the options in messages.

    Raises:
        InputError: unknown rule or option, or options that do not suit T.
    """
    rest = dict(options)
    name = rest.pop("name")
    if name not in RULES:
        raise InputError(f"[rule] name {name!r} is not known{nearest(name, RULES)}")
    rule = build(RULES[name], rest, where)
    try:
        rule.check_steps(steps)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return rule


__all__ = [
    "BPTT",
    "OTTT",
    "RULES",
    "SLTT",
    "SLTTK",
    "Batch",
    "BatchResult",
    "EProp",
    "Rate",
    "Rule",
    "Update",
    "build_rule",
]
