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
from neurodeploy.interchange.sigma_delta import (
    DEVIATION,
    Trade,
    trades,
    with_changes,
    within,
)
from neurodeploy.ir.contract import DataSource, Encoder, InputCode
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.nn.conversion import Balance, Method, balanced, with_neurons
from neurodeploy.nn.export import module_to_nir
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.tracing import rectified_network
from neurodeploy.simulation.trace import Samples

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

    def thresholds(self, samples: ArrayLike, steps: int, balance: Balance) -> dict[str, float]:
        """Threshold of every ReLU, in units of its activation, balanced on samples.

        Args:
            samples: (N, *sample_shape) integers 0 to ``levels`` of the data that it was trained on;
                a few hundred do.
            steps: T, steps per sample.

        Raises:
            InputError: samples out of range, or a layer that is silent on them.
        """
        if not isinstance(steps, int) or steps < 1:
            raise InputError(f"steps must be at least 1, found {steps!r}")
        x = self._checked(samples)
        return balanced(self.layers, lambda: self._batches(x), steps, balance)

    def with_thresholds(
        self,
        thresholds: dict[str, float],
        steps: int,
        *,
        half: bool = True,
        encoder: Encoder = "direct",
    ) -> Network:
        """The network with integrate-and-fire neurons in place of its ReLUs.

        Their reset subtracts the threshold, so that over T steps they send their activation,
        rounded to one of T + 1 levels (``nn.conversion``). Membranes are in units of the threshold,
        which is 1 everywhere: so training goes on with weights and surrogates of common size.

        Args:
            thresholds: by ReLU, in units of its activation.
            steps: T, steps per sample.
            half: whether a neuron gets half its threshold over T steps, which rounds activations to
                the nearest level instead of down.
            encoder: ``direct`` shows a sample's integers at every step, ``rate`` draws spikes.

        Raises:
            InputError: an encoder that does not bring a sample's values in the mean.
            UnsupportedError: something has no spiking counterpart, which is named.
        """
        if encoder not in ("direct", "rate"):
            raise InputError(
                f"encoder {encoder!r}: rates stand for activations, so that input has to bring a "
                "sample's values on average over steps; use 'direct' or 'rate'"
            )
        spiking = with_neurons(self.layers, thresholds)
        code = InputCode(encoder, self.levels)
        graph = module_to_nir(spiking, code, steps, self.dataset, self.source)
        contract = contract_of(graph, self.name)
        assert contract is not None  # it was just written
        network = with_unit_thresholds(to_network(graph, contract, self.name))
        return with_half_thresholds(network) if half else network

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
        """The network ``with_thresholds`` balanced on samples.

        Args:
            samples, steps: as of ``thresholds``.
            method: ``mmse`` (Li et al. 2021), ``percentile`` (Rueckauer et al. 2017) or ``max``
                (Diehl et al. 2015), as in ``nn.conversion.Balance``.
            percentile: of ``percentile``.
            half, encoder: as of ``with_thresholds``.

        Raises:
            InputError: an option or samples out of range, or a layer that is silent on them.
            UnsupportedError: something has no spiking counterpart, which is named.
        """
        found = self.thresholds(samples, steps, Balance(method, percentile, half))
        return self.with_thresholds(found, steps, half=half, encoder=encoder)

    def as_sigma_delta(
        self,
        samples: ArrayLike,
        *,
        deviation: float = DEVIATION,
        factor: float | None = None,
        steps: int | None = None,
        regression: bool = False,
    ) -> Network:
        """The network with sigma-delta neurons in place of its ReLUs, which send changes alone.

        Thresholds trade activity against accuracy (``interchange.sigma_delta``); how, is in
        ``sigma_delta_trades``. The class, or with ``regression`` the values, are read from the
        outputs of the last step.

        Args:
            samples: (N, *sample_shape), or frames (N, T, *sample_shape) of films, integers 0 to
                ``levels`` of the data that it was trained on; a few dozen do.
            deviation: of the outputs on the samples, that thresholds may cost.
            factor: of all thresholds, in place of the largest one within ``deviation``.
            steps: T, frames of a sample; as many as the samples have, 1 of single ones, when None.
            regression: whether outputs are values instead of classes.

        Raises:
            InputError: an option or samples out of range, or a layer that is silent on them.
            UnsupportedError: something has no counterpart, which is named.
        """
        network, taken = self._with_changes(samples, steps)
        if regression:
            # What is read is divided by T, for neurons that add up over steps.
            scale = float(network.contract.steps)
            contract = replace(network.contract, task="regression", value_scale=scale)
            network = replace(network, contract=contract)
        if factor is not None:
            if not 0 <= factor < 1:
                raise InputError(f"factor is from 0 to below 1, found {factor}")
            return trades(network, taken, (factor,))[0][1]
        if not deviation >= 0:
            raise InputError(f"deviation is at least 0, found {deviation}")
        found = dict(trades(network, taken))
        return found[within([*found], deviation)]

    def sigma_delta_trades(self, samples: ArrayLike, steps: int | None = None) -> list[Trade]:
        """What each factor of thresholds costs and saves; arguments as of ``as_sigma_delta``."""
        return [trade for trade, _ in trades(*self._with_changes(samples, steps))]

    def _with_changes(self, samples: ArrayLike, steps: int | None) -> tuple[Network, Samples]:
        """The network without thresholds, and samples for it."""
        x, shape = np.asarray(samples), self.layers.sample_shape
        over_time = x.ndim == len(shape) + 2
        flat = x.reshape(-1, *x.shape[2:]) if over_time and x.shape[1] else x
        checked = self._checked(flat)
        frames = x.shape[1] if over_time else steps or 1
        if steps is not None and (not isinstance(steps, int) or steps < 1 or steps != frames):
            raise InputError(f"steps is at least 1, and of frames their number, found {steps!r}")
        relus = [name for name, layer in self.layers.layers.items() if isinstance(layer, nn.ReLU)]
        spiking = with_neurons(self.layers, dict.fromkeys(relus, 1.0))
        code = InputCode("direct", self.levels)
        graph = module_to_nir(spiking, code, frames, self.dataset, self.source)
        contract = contract_of(graph, self.name)
        assert contract is not None  # it was just written
        contract = replace(contract, source=self.source)  # of which NIR keeps the name alone
        network = with_changes(to_network(graph, contract, self.name))
        values = checked.reshape(len(x), *((frames,) if over_time else ()), *shape)
        taken = Samples(
            len(x),
            lambda first, last: values[first:last].astype(np.int32),
            None,
            network.contract,
            "samples",
            over_time=over_time,
        )
        return network, taken

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


def with_unit_thresholds(network: Network) -> Network:
    """The same spikes with membranes in units of each neuron's threshold."""
    units: dict[str, np.ndarray] = {}

    def measured(population: Population) -> Population:
        neuron = population.neuron
        if not isinstance(neuron, Neuron) or neuron.v_threshold is None:
            return population
        units[population.name] = neuron.v_threshold
        ones = np.ones_like(neuron.v_threshold)
        unit = replace(neuron, v_threshold=ones, bias=neuron.bias / neuron.v_threshold)
        return replace(population, neuron=unit)

    def read(projection: Projection) -> Projection:
        unit = units.get(projection.target)
        if unit is None:
            return projection
        return replace(projection, operator=projection.operator.scaled(1 / unit))

    populations = tuple(map(measured, network.populations))
    projections = tuple(map(read, network.projections))
    return replace(network, populations=populations, projections=projections)


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
