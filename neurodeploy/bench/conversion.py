"""Accuracy of converted networks against T, by how their thresholds are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from neurodeploy.errors import InputError, Setting, Text, nearest
from neurodeploy.nn.conversion import Balance, Method
from neurodeploy.workflow.conversion import Source

PLAIN = "-floor"
"""Ends a method's name where neurons do not get half a threshold, so that rates round down."""


@dataclass(frozen=True)
class ConversionRow:
    """One network.

    Attributes:
        T: steps per sample.
        method: how thresholds were chosen, with ``PLAIN`` behind where rates round down.
        accuracy: in floats on the test samples, 0 to 1.
        ann_accuracy: of the ReLUs on the same.
    """

    T: int
    method: str
    accuracy: float
    ann_accuracy: float


def bench_conversion(
    source: Source, steps: Sequence[int], methods: Sequence[str]
) -> Iterator[ConversionRow]:
    """Convert for each T by each method and simulate in floats; yields each as it is there.

    Args:
        methods: as ``balance_named`` takes them.

    Raises:
        InputError: T is not at least 1, or a method is not known.
    """
    balances = {name: balance_named(name) for name in methods}
    for T in steps:
        if T < 1:
            raise InputError(Text(Setting("steps", str(T)), ": needs at least 1"))
    for T in steps:
        for name, balance in balances.items():
            accuracy = source.accuracy_of(source.spiking(T, balance)[0])
            yield ConversionRow(T, name, accuracy, source.accuracy)


def balance_named(name: str) -> Balance:
    """How thresholds are chosen: by ``mmse``, ``percentile`` or ``max``, perhaps ``PLAIN`` behind.

    Raises:
        InputError: it is none of these.
    """
    method, plain = name.removesuffix(PLAIN), name.endswith(PLAIN)
    for known in get_args(Method):
        if known == method:
            return Balance(known, half=not plain)
    raise InputError(
        Text(Setting("methods"), f": {name!r} is not known{nearest(method, get_args(Method))}")
    )
