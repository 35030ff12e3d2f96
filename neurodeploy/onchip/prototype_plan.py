"""Everything that prototypes need to know, fixed before the first sample.

A class is a row of weights: the mean of its samples' features, each made as long as any other
and free of what varies within the classes that are known. With c the spikes of a sample at the
output layer's inputs, counted over its steps, and g their mean over known samples:

    d  = (c << 4) - g                           what the rows meet
    z  = direct d - up (down d)                 little is left along the directions of ``down``
    x  = z length / sqrt(sum z^2) + 64          to the nearest integer, clipped to 1..127
    w += rate (2 x - w)                         of the row of the sample's class
    class = argmax over rows of w d             the lowest row on a tie

That is streaming linear discriminant analysis with the covariance of the base classes (Hayes and
Kanan 2020, "Lifelong machine learning with deep streaming linear discriminant analysis"), its means
of unit length: ``down`` are the largest eigenvectors of the covariance within classes.

A weight lies from 0 to 254 about 128, which adds the same to all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.errors import InputError, Setting, Text, UnsupportedError
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_ONE, WEIGHT_BITS, WeightFormat
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.onchip.chain import Link
from neurodeploy.onchip.frozen import output_layer
from neurodeploy.onchip.learner import LearningOptions
from neurodeploy.onchip.novelty import Novelty

FRACTION = 4
"""Bits behind the point of a centred count."""

CENTRE = 64
"""What stands for 0 in a feature x; weights lie about twice as much."""

DIRECTIONS = 64
"""Along so many directions features vary most within a class, and are made shorter."""

FULL_RATE = 127
"""Of the trace y1 that Lava's prototype sends: a rate of 127/128."""

LONGEST = 0.999
"""Share of the base features that no clipping touches."""

_MATRIX = 127
_SQUARES = 15
"""Bits of a component when lengths are taken."""


@dataclass(frozen=True, eq=False)
class FeaturePlan:
    """From counts of spikes to what rows meet and what they learn.

    Attributes:
        centre: (F,) int64, g in 1/16 of a spike.
        down, up: (r, F) and (F, r) int64 of 8 bits.
        direct: see the module.
        shift: right shift of z before its length is taken.
        length: of x.
    """

    centre: np.ndarray
    down: np.ndarray
    up: np.ndarray
    direct: int
    shift: int
    length: int

    def centred(self, counts: np.ndarray) -> np.ndarray:
        """What rows meet: d (..., F) int64, of counts (..., F)."""
        return (counts.astype(np.int64) << FRACTION) - self.centre

    def learnt(self, counts: np.ndarray) -> np.ndarray:
        """What rows learn: x (..., F) int64, 1..127, of counts (..., F)."""
        z, norm = self._shortened(counts)
        x = (2 * z * self.length + norm) // (2 * norm)
        return np.clip(x, 1 - CENTRE, CENTRE - 1) + CENTRE

    def norms(self, counts: np.ndarray) -> np.ndarray:
        """Lengths of z: (..., 1) int64, at least 1, of counts (..., F)."""
        return self._shortened(counts)[1]

    def _shortened(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z in the bits that its length is taken of, and that length."""
        z = self._decorrelated(counts) >> self.shift
        norm = np.floor(np.sqrt((z * z).sum(axis=-1, keepdims=True))).astype(np.int64)
        return z, np.maximum(norm, 1)

    def _decorrelated(self, counts: np.ndarray) -> np.ndarray:
        d = self.centred(counts)
        return self.direct * d - (d @ self.down.T) @ self.up.T

    @staticmethod
    def of(counts: np.ndarray, labels: np.ndarray) -> FeaturePlan:
        """From samples of the base classes.

        Args:
            counts: (N, F) spikes of each.
            labels: (N,) their classes.
        """
        real = counts.astype(np.float64)
        centre = np.rint(real.mean(axis=0) * 2**FRACTION).astype(np.int64)
        classes, own = np.unique(labels, return_inverse=True)
        means = np.stack([real[own == number].mean(axis=0) for number in range(len(classes))])
        values, vectors = _largest(real - means[own], min(DIRECTIONS, *real.shape))
        total = ((real - means[own]) ** 2).sum() / len(real)
        features = real.shape[1]
        mean = total / features or 1.0
        rest = (total - values.sum()) / max(features - len(values), 1) + mean
        shrunk = vectors * (1 - rest / (values + mean))
        finest = [_MATRIX / max(np.abs(matrix).max(), 1e-9) for matrix in (vectors, shrunk)]
        down = np.rint(vectors.T * finest[0]).astype(np.int64)
        up = np.rint(shrunk * finest[1]).astype(np.int64)
        direct = max(round(finest[0] * finest[1]), 1)
        plan = FeaturePlan(centre, down, up, direct, 0, 1)
        z = np.abs(plan._decorrelated(counts))
        shift = max(int(z.max(initial=1)).bit_length() - _SQUARES, 0)
        norms = np.sqrt(((z >> shift) ** 2).sum(axis=1, keepdims=True))
        share = float(np.quantile((z >> shift) / np.maximum(norms, 1), LONGEST))
        return replace(plan, shift=shift, length=max(round((CENTRE - 1) / max(share, 1e-9)), 1))


def _largest(within: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues of the covariance of (N, F), and its eigenvectors (F, count)."""
    from scipy.linalg import eigh

    samples, features = within.shape
    wide = samples < features
    square = within @ within.T if wide else within.T @ within
    size = len(square)
    values, vectors = eigh(square / samples, subset_by_index=(size - count, size - 1))
    if wide:
        vectors = within.T @ vectors
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), 1e-9)
    return np.maximum(values, 0), vectors


@dataclass(frozen=True, eq=False)
class PrototypePlan:
    """The output layer of a network as rows that learn.

    Attributes:
        link: the output layer.
        features: see ``FeaturePlan``.
        rows: (classes and spare ones, F) int64, 0..254, those of the base classes first.
        base: the base classes, in the order of their rows.
        slowest: y1 of a class with many samples: the lowest rate is so many 128ths.
        novelty: what samples without a label are held against; None where they teach nothing.
    """

    network: QuantizedNetwork
    options: LearningOptions
    link: Link
    features: FeaturePlan
    rows: np.ndarray
    base: tuple[int, ...]
    slowest: int
    novelty: Novelty | None = None

    @property
    def steps(self) -> int:
        """T."""
        return self.network.contract.steps

    @property
    def rule(self) -> str:
        """The string that Lava is given: w towards 2 x by y1/128, gated by the neuron's spike."""
        return "2^-3*y0*y1*x1-2^-2*y0*y1*w"

    def rate(self, seen: int) -> int:
        """y1 of a class of which so many samples have been learnt from, this one included."""
        return max(FULL_RATE // seen, self.slowest)

    @property
    def base_seen(self) -> int:
        """Samples that a base class counts as having learnt from: the rate is at its lowest."""
        return FULL_RATE // self.slowest

    def learned(self, rows: np.ndarray, labels: tuple[int, ...]) -> QuantizedNetwork:
        """The network whose output layer is these rows, each at its class.

        Args:
            rows: as the plan's.
            labels: of the rows in use, which are the first ones; below 0 of those without a name.

        Raises:
            InputError: the rows' centre is more than a bias can express.
        """
        projection, population = self.link.projection, self.link.population
        shape = projection.operator.weights.shape
        weights = np.zeros(shape, np.int64)
        bias = np.full(shape[0], -(2**31), np.int64)
        named = [row for row, label in enumerate(labels) if label >= 0]
        used = [labels[row] for row in named]
        weights[used] = 2 * (rows[named] - 2 * CENTRE)
        # w d is 16 w c - w g, and the network has 2 w c in units of which a bias has 2^6.
        unit = 2 ** (FRACTION - 1) * self.steps
        offset = (weights[used] // 2) @ self.features.centre
        bias[used] = np.rint(-offset * 2.0**ACTIVATION_SHIFT / unit).astype(np.int64)
        mantissa, exponent = _bias(bias, used)
        neuron = replace(
            population.leaky,
            bias_mantissa=mantissa.reshape(population.shape),
            bias_exponent=exponent.reshape(population.shape),
        )
        learnt = replace(population, neuron=neuron)
        changed: QuantizedProjection = replace(
            projection,
            operator=projection.operator.with_weights(weights),
            weight_format=WeightFormat(WEIGHT_BITS, "mixed"),
            exponent=0,
        )
        network = self.network
        return replace(
            network,
            populations=tuple(learnt if p is population else p for p in network.populations),
            projections=tuple(changed if p is projection else p for p in network.projections),
        )


_MANTISSA = 2**12 - 1
_EXPONENTS = 7


def _bias(bias: np.ndarray, used: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mantissas and exponents of biases; of rows not in use the lowest there is."""
    mantissa = np.full(len(bias), -_MANTISSA, np.int64)
    exponent = np.full(len(bias), _EXPONENTS, np.int64)
    for row in used:
        shift = max(int(abs(bias[row])).bit_length() - 12, 0)
        value = int(np.rint(bias[row] / 2.0**shift))
        if abs(value) > _MANTISSA:
            shift, value = shift + 1, int(np.rint(bias[row] / 2.0 ** (shift + 1)))
        if shift > _EXPONENTS:
            raise InputError(
                f"prototypes: class {row} needs a bias of {bias[row]} per step, beyond the largest "
                f"one of {_MANTISSA << _EXPONENTS}; the network's spikes are too uneven for rows "
                "of 8 bits"
            )
        mantissa[row], exponent[row] = value, shift
    return mantissa, exponent


def check_prototypes(network: QuantizedNetwork) -> Link:
    """The output layer that rows can replace.

    Raises:
        UnsupportedError: there is none that is dense behind binary spikes and integrates.
    """
    link = output_layer(network)
    projection, neuron = link.projection, link.population.leaky
    leaks = np.any(neuron.u_decay != DECAY_ONE) or np.any(neuron.v_decay)
    if leaks or network.contract.decode != "last_v":
        raise UnsupportedError(
            f"read-out {link.population.name!r} is a {neuron.kind} decoded by "
            f"{network.contract.decode}: prototypes are means of counted spikes, all of which an "
            "integrator read by its last v weighs alike; use rule delta, sltt, local or eprop"
        )
    if not isinstance(projection.operator, Dense) or projection.payload != 1:
        raise UnsupportedError(
            f"projection {projection.name!r} is a {projection.operator.kind} of integers up to "
            f"{projection.payload}: prototypes are rows of a dense layer behind binary spikes"
        )
    return link


def make_prototype_plan(
    network: QuantizedNetwork,
    options: LearningOptions,
    counts: np.ndarray,
    labels: np.ndarray,
    empty: tuple[int, ...] = (),
    novel: int = 0,
) -> PrototypePlan:
    """Features and rows from samples of the classes that are known.

    Args:
        counts: (N, F) spikes of each sample at the output layer's inputs.
        labels: (N,) their classes.
        empty: classes whose rows start empty although their samples shape the features.
        novel: rows for samples without a label that are new.

    Raises:
        UnsupportedError: ``check_prototypes``.
        InputError: fewer than two samples, or a rate that y1 cannot say.
    """
    link = check_prototypes(network)
    slowest = round(options.rate * (FULL_RATE + 1))
    if not 1 <= slowest <= FULL_RATE:
        raise InputError(
            Text(Setting("rate", f"{options.rate:g}"), ": prototypes learn at 2^-7 to 2^-1")
        )
    if len(labels) < 2:
        raise InputError("prototypes need samples of known classes for their features")
    features = FeaturePlan.of(counts, labels)
    base = tuple(int(c) for c in np.unique(labels) if c not in empty)
    rows = np.zeros((network.classes + novel, counts.shape[1]), np.int64)
    learnt = features.learnt(counts)
    known, own = np.unique(labels, return_inverse=True)
    means = np.stack([np.rint(2 * learnt[labels == label].mean(axis=0)) for label in known])
    for row, label in enumerate(base):
        rows[row] = means[known == label]
    novelty = None
    if novel:
        d, n = features.centred(counts), features.norms(counts)
        novelty = Novelty.of(novel, means, d, n, own)
    return PrototypePlan(network, options, link, features, rows, base, slowest, novelty)
