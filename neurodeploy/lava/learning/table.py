"""Synapses one by one, as a chip's table holds them: from where, to where, with which weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from neurodeploy.operators import Operator


@dataclass(frozen=True, eq=False)
class SynapseTable:
    """All synapses of a projection, sorted by their target.

    Attributes:
        targets, sources: (synapses,) flattened neurons.
        weight: (synapses,) which weight a synapse has; those of a kernel share theirs.
        weights: how many weights there are.
    """

    targets: np.ndarray
    sources: np.ndarray
    weight: np.ndarray
    weights: int
    shape: tuple[int, int]

    @staticmethod
    def of(operator: Operator) -> SynapseTable:
        """Write an operator's connections out, also those whose weight is 0 now."""
        count = operator.weights.size
        numbered = operator.with_weights(np.arange(1, count + 1).reshape(operator.weights.shape))
        matrix = numbered.matrix().tocsr()
        matrix.sort_indices()
        shape = math.prod(operator.output_shape), math.prod(operator.input_shape)
        targets = np.repeat(np.arange(shape[0]), np.diff(matrix.indptr))
        weight = matrix.data.astype(np.int64) - 1
        return SynapseTable(targets, matrix.indices.astype(np.int64), weight, count, shape)

    def matrix(self, weights: np.ndarray) -> sparse.csr_matrix:
        """(targets, sources) with these weights, zeros stored."""
        indptr = np.searchsorted(self.targets, np.arange(self.shape[0] + 1))
        return sparse.csr_matrix((weights[self.weight], self.sources, indptr), shape=self.shape)

    def products(self, errors: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """Error times spike, summed over the synapses of each weight: (weights,) float64."""
        product = errors[self.targets] * spikes[self.sources]
        return np.bincount(self.weight, product, minlength=self.weights)
