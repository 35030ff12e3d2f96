"""What a user chooses about learning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

RuleName = Literal["delta", "sltt"]
UpdateTime = Literal["step", "sample"]
Feedback = Literal["transposed", "random"]

RATE_EXPONENTS = (-24, 4)
"""Lowest and highest exponent of a learning rate."""


@dataclass(frozen=True)
class LearningOptions:
    """How to learn.

    Attributes:
        rule: ``delta`` changes the output layer alone, by Lava's own three-factor rule; ``sltt``
            changes all layers.
        rate: a power of two, per unit of the float network's weights, as in SGD.
        update: change weights after each ``step``, or once per ``sample`` of T steps.
        feedback: errors go back through the ``transposed`` weights, or through fixed ``random``
            ones (feedback alignment, Lillicrap et al. 2016).
        seed: of stochastic rounding and of random feedback; from 0 to 2^32 - 1.
    """

    rule: RuleName = "sltt"
    rate: float = 2**-6
    update: UpdateTime = "sample"
    feedback: Feedback = "transposed"
    seed: int = 0

    def __post_init__(self) -> None:
        lowest, highest = RATE_EXPONENTS
        if not (self.rate > 0 and math.frexp(self.rate)[0] == 0.5):
            raise ValueError(f"the rate must be a power of two such as 2^-6, found {self.rate:g}")
        if not 2.0**lowest <= self.rate <= 2.0**highest:
            raise ValueError(
                f"the rate must be from 2^{lowest} to 2^{highest}, found {rate_text(self.rate)}"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"the seed must be from 0 to 2^32 - 1, found {self.seed}")
        if self.rule == "delta" and self.feedback == "random":
            raise ValueError("rule delta carries no error back: leave feedback to rule sltt")


def rate_text(rate: float) -> str:
    """A power of two as people write it."""
    return f"2^{math.frexp(rate)[1] - 1}"
