"""Cutting a population into as few parts as its cores allow.

A population in one axis is cut into runs, each as long as fits. One in several axes (channels
first) is cut into equal boxes: channels and rows into halves, quarters and so on, the last axis
into powers of two.

Those are the shapes that Intel's partitioner prints for Loihi 2. Where kernels are shared it takes
all channels together as far as the kernel fits, and counts a box as full even where it sticks out
of the layer; with the same habits the boxes are as many as its cores in each of the 15
convolutions of lava-dl's notebooks (``targets/loihi2.toml`` names them).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from neurodeploy.ir.operators import Shape
from neurodeploy.mapping.mapping import Box

Need = dict[str, int]
"""Resource to the amount that a part of a population takes."""

Measure = Callable[[Box], Need]


def split(
    shape: Shape, measure: Measure, limits: dict[str, int], *, shared: bool = False
) -> list[Box]:
    """Cut an array into few parts that keep every limit, in the order of its elements.

    A resource of which one neuron alone takes more than its limit is left out of account, so that
    there always is a result; whoever checks the parts against the limits finds it.

    Args:
        measure: what a part takes; never less than any part of it takes.
        limits: resource to limit; ``neurons`` must be among them.
        shared: whether cores share kernels, so that boxes are cut as Intel's tools do.
    """
    while True:
        if len(shape) == 1:
            found = _runs(shape[0], measure, limits)
        else:
            found = _boxes(shape, measure, limits, _sizes(shape, limits["neurons"], shared))
        if isinstance(found, list):
            return found
        limits = {name: limit for name, limit in limits.items() if name not in found}


def exceeded(need: Need, limits: dict[str, int]) -> set[str]:
    """The resources of which more is needed than there is."""
    return {name for name, limit in limits.items() if need[name] > limit}


def _runs(count: int, measure: Measure, limits: dict[str, int]) -> list[Box] | set[str]:
    """Runs from the first neuron on, each as long as fits; or the limits one neuron exceeds."""
    runs: list[Box] = []
    start = 0
    while start < count:
        too_much = exceeded(measure(((start, start + 1),)), limits)
        if too_much:
            return too_much
        fits = start + 1
        low, high = fits, min(count, start + limits["neurons"])
        while low <= high:
            middle = (low + high + 1) // 2
            if exceeded(measure(((start, middle),)), limits):
                high = middle - 1
            else:
                fits, low = middle, middle + 1
        runs.append(((start, fits),))
        start = fits
    return runs


def _boxes(
    shape: Shape, measure: Measure, limits: dict[str, int], sizes: list[Shape]
) -> list[Box] | set[str]:
    """Boxes of the first size that fits; or the limits that one of the last size exceeds."""
    too_much: set[str] = set()
    for size in sizes:
        axes = [
            [(at, min(at + part, n)) for at in range(0, n, part)]
            for n, part in zip(shape, size, strict=True)
        ]
        # A box in the middle has the most inputs, so it fails first.
        too_much = exceeded(measure(tuple(axis[len(axis) // 2] for axis in axes)), limits)
        if too_much:
            continue
        boxes: list[Box] = list(itertools.product(*axes))
        for box in boxes:
            too_much = exceeded(measure(box), limits)
            if too_much:
                break
        else:
            return boxes
    return too_much


def _sizes(shape: Shape, neurons: int, shared: bool) -> list[Shape]:
    """Sizes of boxes to try, single neurons last.

    Fewest boxes come first; of as many those with more channels, which share more of their input,
    then the squarest. With ``shared`` the most channels come first of all.
    """

    def order(size: Shape) -> tuple[int, ...]:
        boxes = math.prod(math.ceil(n / part) for n, part in zip(shape, size, strict=True))
        first = (-size[0], boxes) if shared else (boxes, -size[0])
        # Rather more rows than columns where a square does not work out.
        return *first, max(size[1:]) - min(size[1:]), size[-1], *size

    choices = [_halves(n) for n in shape[:-1]] + [_powers(shape[-1], shared)]
    sizes = [size for size in itertools.product(*choices) if math.prod(size) <= neurons]
    return sorted(sizes, key=order)


def _halves(n: int) -> list[int]:
    """n, n/2, n/4, ... rounded up, down to 1."""
    sizes = [n]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes


def _powers(n: int, beyond: bool) -> list[int]:
    """1, 2, 4, ... below n, and n itself or, with ``beyond``, the next power of two."""
    last = (n - 1).bit_length()
    return [2**k for k in range(last)] + [2**last if beyond else n]
