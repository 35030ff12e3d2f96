"""Training rules. A new one is a file with an options dataclass, and a line in ``RULES``."""

from __future__ import annotations

from neurodeploy.errors import InputError, nearest
from neurodeploy.recipe import Recipe
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.ottt import OTTT
from neurodeploy.rules.rate import Rate
from neurodeploy.rules.rule import Batch, BatchResult, Rule, Update
from neurodeploy.rules.sltt import SLTT
from neurodeploy.rules.sltt_k import SLTTK
from neurodeploy.support.schema import build

RULES: dict[str, type[Rule]] = {
    "sltt": SLTT,
    "sltt-k": SLTTK,
    "bptt": BPTT,
    "ottt": OTTT,
    "rate": Rate,
}


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's rule with its options.

    Raises:
        InputError: unknown rule or option, or options that do not suit the recipe's steps.
    """
    options = dict(recipe.rule)
    name = options.pop("name")
    if name not in RULES:
        raise InputError(f"[rule] name {name!r} is not known{nearest(name, RULES)}")
    where = f"recipe {recipe.name}: [rule]"
    rule = build(RULES[name], options, where)
    try:
        rule.check_steps(recipe.training.steps)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return rule


__all__ = ["RULES", "Batch", "BatchResult", "Rule", "Update", "build_rule"]
