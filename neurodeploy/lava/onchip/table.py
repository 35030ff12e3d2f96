"""Synapses one by one, as a chip's tables hold them: from where, to where, with which weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from neurodeploy.ir.operators import Operator


@dataclass(frozen=True, eq=False)
class Rows:
    """Synapses sorted by one of their ends.

    Attributes:
        starts: where the synapses of each neuron begin, and where the last ones end.
        others: the neuron at the other end.
        weight: which weight a synapse has.
    """

    starts: np.ndarray
    others: np.ndarray
    weight: np.ndarray
    shape: tuple[int, int]

    def matrix(self, weights: np.ndarray) -> sparse.csr_matrix:
        """(this end, other end) with these weights, zeros stored."""
        return sparse.csr_matrix((weights[self.weight], self.others, self.starts), self.shape)


class SynapseTable:
    """All synapses of a projection, in the orders in which they are walked through.

    Attributes:
        shape: (targets, sources).
        weights: how many weights there are; the synapses of a kernel share theirs.
        by_target, by_source: sorted by either end.
    """

    def __init__(self, operator: Operator) -> None:
        """Write an operator's connections out, also those whose weight is 0 now."""
        self.weights = operator.weights.size
        self.shape = math.prod(operator.output_shape), math.prod(operator.input_shape)
        numbers = np.arange(1, self.weights + 1).reshape(operator.weights.shape)
        synapses = operator.with_weights(numbers).matrix().tocoo()
        weight = synapses.data.astype(np.int64) - 1
        targets, sources = (ends.astype(np.int64) for ends in (synapses.row, synapses.col))
        self.by_target = _rows(targets, sources, weight, self.shape)
        self.by_source = _rows(sources, targets, weight, (self.shape[1], self.shape[0]))
        order = np.argsort(weight, kind="stable")
        self._targets, self._sources = targets[order], sources[order]
        # A weight without a synapse, of a kernel that reads nothing but padding, has no products.
        self._used, self._firsts = np.unique(weight[order], return_index=True)

    def products(self, errors: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """Error times spike, summed over the synapses of each weight, in the dtype of errors."""
        total = np.zeros(self.weights, errors.dtype)
        if len(self._used):
            product = errors[self._targets] * spikes[self._sources]
            total[self._used] = np.add.reduceat(product, self._firsts)
        return total


def _rows(ends: np.ndarray, others: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> Rows:
    order = np.lexsort((others, ends))
    starts = np.searchsorted(ends[order], np.arange(shape[0] + 1))
    # 32 bits, because scipy would convert to them each time a matrix is made.
    return Rows(starts.astype(np.int32), others[order].astype(np.int32), weight[order], shape)
