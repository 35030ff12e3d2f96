"""Values that options take: how they are called in help, checked, and completed by a shell.

Names stand here once more so that completion need not wait for torch; a test holds them against the
registries that they come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from neurodeploy.recipe.recipe import PACKAGE as RECIPES
from neurodeploy.support.schema import builtin_names
from neurodeploy.target.load import PACKAGE as TARGETS

ENGINES = ("reference", "lava", "lava-fused", "netx", "float", "norse")
RULES = ("sltt", "sltt-k", "bptt", "ottt", "eprop", "rate")
FRAMEWORKS = ("norse", "snntorch", "sinabs", "spikingjelly", "rockpool", "spyx", "nengo", "lava")
DATA_SETS = (
    *("cifar10", "cifar100", "digits", "dvs_cifar10", "dvs_gesture", "events", "fsdd"),
    *("image_folder", "mackey_glass", "nmnist", "npz", "series", "shd"),
)
PRECISIONS = ("fp32", "fp64", "bf16", "fp16")
TRACKERS = ("mlflow", "wandb")
DEVICES = ("auto", "cpu", "cuda", "cuda:0")


class Name(click.ParamType):
    """A name that the library checks, one of those that a shell may offer.

    Attributes:
        name: as help calls the value.
        files: whether a path will do as well.
    """

    def __init__(
        self, name: str, known: Callable[[], Iterable[str]], *, files: bool = False
    ) -> None:
        self.name = name
        self.files = files
        self._known = known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The known names that begin so, or else files."""
        found = [CompletionItem(name) for name in self._known() if name.startswith(incomplete)]
        if self.files and not found:
            return [CompletionItem(incomplete, type="file")]
        return found


class Names(Name):
    """Names between commas."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The known names that begin like the last one, behind those that are there."""
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{item.value}")
            for item in super().shell_complete(ctx, param, last)
            if item.value not in before.split(",")
        ]


class Number(click.ParamType):
    """A number from a range that goes without saying."""

    def __init__(self, name: str, kind: click.ParamType) -> None:
        self.name = name
        self._kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """As click's own type does; it lets NaN pass every range."""
        number = self._kind.convert(value, param, ctx)
        if isinstance(number, float) and math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class Numbers(click.ParamType):
    """Numbers between commas, as in 4,32."""

    name = "a,b,..."

    def __init__(self, kind: Callable[[str], float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> list[Any]:
        """Each number by itself."""
        try:
            return [self.kind(number) for number in value.split(",")]
        except ValueError:
            whole = "whole " if self.kind is int else ""
            self.fail(f"{value!r}: expected {whole}numbers, as in 2,16", param, ctx)


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


WHOLE, ANY = Numbers(int), Numbers(float)
TARGET = Name("target", lambda: builtin_names(TARGETS), files=True)
RECIPE = Name("recipe", lambda: builtin_names(RECIPES), files=True)
DATA = Name("data", lambda: DATA_SETS, files=True)
ENGINE = Name("engine", lambda: ENGINES)
ENGINE_LIST = Names("a,b,...", lambda: ENGINES)
RULE = Name("rule", lambda: RULES)
RULE_LIST = Names("a,b,...", lambda: RULES)
FRAMEWORK = Name("framework", lambda: FRAMEWORKS)
PRECISION = Name("precision", lambda: PRECISIONS)
TRACKER = Name("service", lambda: TRACKERS)
DEVICE = Name("device", lambda: DEVICES)
