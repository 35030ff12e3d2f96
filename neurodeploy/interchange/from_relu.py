"""A trained network of ReLUs, from which spiking networks are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.ir.contract import DataSource, Encoder, InputCode
from neurodeploy.ir.network import Network, Neuron, Population
from neurodeploy.nn.conversion import Balance, Method, balanced, with_neurons
from neurodeploy.nn.export import module_to_nir
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.tracing import rectified_network

BATCH = 64
"""Samples whose activations are computed at a time."""


@dataclass(frozen=True, eq=False)
class ReluNetwork:
    """What a module of ReLUs computes in evaluation.

    Attributes:
        name: of the network.
        layers: the module's layers, and what each of them reads.
        levels: samples are integers 0 to ``levels``; the module takes integer/levels.
        dataset, source: what it was trained on, as in ``ir.contract.Contract``.
    """

    name: str
    layers: SpikingNetwork
    levels: int
    dataset: str = ""
    source: DataSource = field(default_factory=DataSource)

    @staticmethod
    def of(module: nn.Module, sample_shape: tuple[int, ...], levels: int, name: str) -> ReluNetwork:
        """Follow a module.

        Raises:
            UnsupportedError: as ``nn.tracing.rectified_network``.
        """
        return ReluNetwork(name, rectified_network(module, sample_shape), levels)

    @torch.no_grad()
    def outputs(self, samples: ArrayLike) -> np.ndarray:
        """What the module gives for samples.

        Args:
            samples: (N, *sample_shape) integers 0 to ``levels``; a channel axis of 1 may lack.

        Returns:
            (N, outputs) in the module's precision.

        Raises:
            InputError: samples of another shape, or out of range.
        """
        layers = self.layers.eval()
        return torch.cat([layers(batch) for batch in self._batches(self._checked(samples))]).numpy()

    def as_spiking(
        self,
        samples: ArrayLike,
        steps: int,
        method: Method = "mmse",
        *,
        percentile: float = 99.9,
        half: bool = True,
        encoder: Encoder = "direct",
    ) -> Network:
        """The network with integrate-and-fire neurons in place of its ReLUs.

        Their reset subtracts the threshold, so that over T steps they send their activation,
        rounded to one of T + 1 levels (``nn.conversion``). Thresholds are balanced on samples.

        Args:
            samples: (N, *sample_shape) integers 0 to ``levels`` of the data that it was trained on;
                a few hundred do.
            steps: T, steps per sample.
            method: ``mmse`` (Li et al. 2021), ``percentile`` (Rueckauer et al. 2017) or ``max``
                (Diehl et al. 2015), as in ``nn.conversion.Balance``.
            percentile: of ``percentile``.
            half: whether a neuron gets half its threshold over T steps, which rounds activations to
                the nearest level instead of down.
            encoder: ``direct`` shows a sample's integers at every step, ``rate`` draws spikes.

        Raises:
            InputError: an option or samples out of range, or a layer that is silent on them.
            UnsupportedError: something has no spiking counterpart, which is named.
        """
        if encoder not in ("direct", "rate"):
            raise InputError(
                f"encoder {encoder!r}: rates stand for activations, so that input has to bring a "
                "sample's values in the mean over steps; use 'direct' or 'rate'"
            )
        if not isinstance(steps, int) or steps < 1:
            raise InputError(f"steps must be at least 1, found {steps!r}")
        balance = Balance(method, percentile, half)
        x = self._checked(samples)
        thresholds = balanced(self.layers, lambda: self._batches(x), steps, balance)
        spiking = with_neurons(self.layers, thresholds)
        code = InputCode(encoder, self.levels)
        graph = module_to_nir(spiking, code, steps, self.dataset, self.source)
        contract = contract_of(graph, self.name)
        assert contract is not None  # it was just written
        network = to_network(graph, contract, self.name)
        return with_half_thresholds(network) if half else network

    def _checked(self, samples: ArrayLike) -> np.ndarray:
        x, shape = np.asarray(samples), self.layers.sample_shape
        if x.ndim and shape[0] == 1 and x.shape[1:] == shape[1:]:
            x = x[:, None]
        if x.shape[1:] != shape or not len(x):
            raise InputError(
                f"samples have shape {x.shape}; expected (N, {', '.join(map(str, shape))}), N >= 1"
            )
        if x.dtype.kind not in "bui":
            raise InputError(
                f"samples are of type {x.dtype}; give integers 0 to {self.levels}, of which the "
                f"network takes integer/{self.levels}"
            )
        low, high = int(x.min()), int(x.max())
        if low < 0 or high > self.levels:
            raise InputError(
                f"samples hold integers {low} to {high}, but levels={self.levels}: 0 to "
                f"{self.levels} are expected"
            )
        return x

    def _batches(self, x: np.ndarray) -> Iterator[Tensor]:
        parameter: Any = next(self.layers.parameters(), torch.zeros(()))
        for first in range(0, len(x), BATCH):
            part = torch.from_numpy(np.ascontiguousarray(x[first : first + BATCH]))
            yield part.to(parameter) / self.levels


def with_half_thresholds(network: Network) -> Network:
    """The network whose neurons get half their threshold more, spread over the steps of a sample.

    Raises:
        UnsupportedError: neurons that leak, which would lose some of it.
    """

    def shifted(population: Population) -> Population:
        neuron = population.neuron
        if not isinstance(neuron, Neuron) or neuron.v_threshold is None:
            return population
        if np.any(neuron.v_keep != 1) or np.any(neuron.u_keep):
            raise UnsupportedError(
                f"population {population.name!r} leaks, and would lose some of half a threshold "
                "on the way"
            )
        bias = neuron.bias + neuron.v_threshold / (2 * network.contract.steps)
        return replace(population, neuron=replace(neuron, bias=bias))

    return replace(network, populations=tuple(map(shifted, network.populations)))
