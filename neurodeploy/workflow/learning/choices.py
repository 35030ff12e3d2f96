"""How to learn, from a user's words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.learner import LearningOptions

HALVED = (0.5, 0.75, 0.9)
"""Shares of the stream of ``scratch`` after which its rate is halved, when nobody says."""


def make_options(rule: str, rate: float, update: str, feedback: str, seed: int) -> LearningOptions:
    """Options from a user's words.

    Raises:
        InputError: one of them is out of range, or they contradict each other.
    """
    given: Any = {"rule": rule, "rate": rate, "update": update, "feedback": feedback, "seed": seed}
    try:
        return LearningOptions(**given)
    except ValueError as error:
        raise InputError(str(error)) from None


def halvings(
    shares: tuple[float, ...], samples: int, network: QuantizedNetwork, options: LearningOptions
) -> tuple[int, ...]:
    """The updates from which on a rate is halved, after these shares of a stream.

    Raises:
        InputError: not ascending between 0 and 1, or the rule's rate stays.
    """
    if list(shares) != sorted(set(shares)) or not all(0 < share < 1 for share in shares):
        given = ",".join(f"{share:g}" for share in shares)
        raise InputError(
            Text(
                Setting("halve", given),
                ": expected ascending shares of the stream above 0 and below 1, such as 0.5,0.75",
            )
        )
    updates = samples * (1 if options.update == "sample" else network.contract.steps)
    # Of a short stream several may fall on one update, and none before the first.
    found = tuple(sorted({max(round(share * updates), 1) for share in shares}))
    try:
        return replace(options, halvings=found).halvings
    except ValueError as error:
        raise InputError(str(error)) from None


def check_for_scratch(**given: Any) -> None:
    """Refuse what is said of a network that begins with nothing when there is a deployment."""
    for name, value in given.items():
        if value not in (None, ()):
            raise InputError(
                Text(Setting(name), " is for ", Setting("task", "scratch"), ": a deployment has it")
            )
