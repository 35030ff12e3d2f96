"""Where sums of real numbers are read several times: what may become a relay.

A residual stream is the sum of all blocks before it, and every block reads it. NIR has no node for
a sum: each reader has an edge from every part of it. Without relays each reader takes a projection
from every population that any part of the stream came from, and synapses grow with the square of
the blocks. With a relay the sum is one population, whose messages everybody reads.

Found here are the sums that several nodes have in common, each made of the one before where that is
part of it, and the linear nodes that several nodes read. Nothing inside a loop is among them: a
relay there would be another projection of the loop, and with it another step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from neurodeploy.interchange.nir.layout import Layout
from neurodeploy.interchange.nir.linear import LINEAR_NODES


class Streams:
    """Sums of a graph that are read more than once.

    Attributes:
        sums: for every name of such a sum the nodes and sums that it adds up.
        readers: how many read a sum, or a linear node on its own.
    """

    def __init__(self, layout: Layout) -> None:
        self.looping = _looping(layout)
        sets = {
            at: frozenset(before)
            for at, before in layout.before.items()
            if len(set(before)) == len(before) and not self.looping.intersection((at, *before))
        }
        held = Counter(parts for parts in sets.values() if len(parts) > 1)
        distinct = sorted(held, key=len)
        place = {name: number for number, name in enumerate(_in_order(layout))}
        self.sums: dict[str, tuple[str, ...]] = {}
        self._named: dict[frozenset[str], str] = {}
        for parts in distinct:
            if sum(count for other, count in held.items() if parts <= other) > 1:
                covered = self._covered(parts, place)
                name = f"{covered[-1]}_sum"
                while name in place or name in self.sums:
                    name += "_"
                self.sums[name] = covered
                self._named[parts] = name
        self._into = {
            at: self._covered(parts, place) if len(parts) > 1 else tuple(parts)
            for at, parts in sets.items()
        }
        self.readers = Counter(
            source for sources in (*self._into.values(), *self.sums.values()) for source in sources
        )
        self.linear = {
            name for name, node in layout.nodes.items() if isinstance(node, LINEAR_NODES)
        }

    def into(self, at: str, before: Iterable[str]) -> tuple[str, ...]:
        """What a node adds up, with sums in place of their parts."""
        return self._into.get(at, tuple(before))

    def is_read_again(self, name: str) -> bool:
        """Whether several nodes read what a linear node gives, on its own."""
        return name in self.linear and name not in self.looping and self.readers[name] > 1

    def _covered(self, parts: frozenset[str], place: dict[str, int]) -> tuple[str, ...]:
        """The largest sums so far that are part of this one, and the nodes that are left."""
        left, found = set(parts), []
        for known in sorted(self._named, key=len, reverse=True):
            if known <= left:
                found.append(self._named[known])
                left -= known
        return (*found, *sorted(left, key=lambda name: place[name]))


def _in_order(layout: Layout) -> list[str]:
    """The nodes from the input on; those of a file with loops as they stand there."""
    try:
        return [*TopologicalSorter(layout.before).static_order()]
    except CycleError:
        return [*layout.nodes]


def _looping(layout: Layout) -> set[str]:
    """Nodes that lead back to themselves."""
    names = [*layout.nodes]
    number = {name: index for index, name in enumerate(names)}
    edges = [(number[s], number[t]) for t, before in layout.before.items() for s in before]
    ends = np.array(edges, int).reshape(-1, 2)
    links = sparse.csr_matrix((np.ones(len(ends)), tuple(ends.T)), shape=(len(names),) * 2)
    _, label = csgraph.connected_components(links, directed=True, connection="strong")
    sizes = Counter(label.tolist())
    own = {t for t, before in layout.before.items() if t in before}
    return {n for n, found in zip(names, label.tolist(), strict=True) if sizes[found] > 1} | own
