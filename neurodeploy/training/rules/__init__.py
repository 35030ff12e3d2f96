"""Training rules. A new one is a file with an options dataclass, and a line in ``RULES``."""

from __future__ import annotations

from neurodeploy.errors import InputError, nearest
from neurodeploy.recipe import Recipe
from neurodeploy.schema import build
from neurodeploy.training.rules.rule import BatchResult, Rule
from neurodeploy.training.rules.sltt import SLTT

RULES: dict[str, type[Rule]] = {
    "sltt": SLTT,
}


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's rule with its options.

    Raises:
        InputError: unknown rule or option.
    """
    options = dict(recipe.rule)
    name = options.pop("name")
    if name not in RULES:
        raise InputError(f"[rule] name {name!r} is not known{nearest(name, RULES)}")
    return build(RULES[name], options, f"recipe {recipe.name}: [rule]")


__all__ = ["RULES", "BatchResult", "Rule", "build_rule"]
