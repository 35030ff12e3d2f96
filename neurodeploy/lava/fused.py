"""The ``lava-fused`` engine: a whole network in one Lava process, a batch of samples at a time.

The arithmetic is Lava's own: leaky neurons are ``PyDeployedLIFModel`` objects, which inherit
Lava's fixed-point ``subthr_dynamics``, given a state with a batch axis, and those of other models
likewise the models of ``neuron_models``; projections are ``synapses``. Only
numpy and scipy are used, since torch can hang in a forked process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.ir.schedule import step_order
from neurodeploy.lava.engine import LavaEngineBase
from neurodeploy.lava.neuron_processes import batched
from neurodeploy.lava.shared import SharedArrays, record_layout
from neurodeploy.lava.synapses import BatchedSynapses, batched_synapses
from neurodeploy.simulation.trace import SampleBatch


class FusedLavaEngine(LavaEngineBase):
    """For whole data sets: Lava's arithmetic without a process and a message per layer."""

    name = "lava-fused"

    @property
    def _in_turns(self) -> bool:
        return True  # with Lava's service, which has nothing to do while it computes

    def _build(self, folder: Path, static: bool) -> Any:
        from neurodeploy.lava.fused_processes.process import FusedNetwork

        steps, (source,) = self.network.contract.steps, self.network.inputs
        inputs = math.prod(source.shape)
        layout: dict[str, tuple[tuple[int, ...], Any]] = {
            "clock": ((1,), np.int64),
            "drive": ((self.capacity, 1 if static else steps, inputs), np.int32),
        }
        layout |= record_layout(self.network, (self.capacity, steps), self._state_populations)
        self._arrays = SharedArrays(folder, layout)
        return FusedNetwork(network=self.network, arrays=self._arrays)

    def _load(self, batch: SampleBatch) -> None:
        drive = self._arrays["drive"]
        drive[: len(batch)] = batch.values.reshape(len(batch), *drive.shape[1:])
        self._arrays["clock"][0] = len(batch)

    def _run_length(self, batch: SampleBatch) -> int:
        return 1

    def _recorded(self, population: str, what: str, samples: int) -> np.ndarray:
        return self._arrays[f"{population}.{what}"][:samples].copy()


@dataclass(frozen=True, eq=False)
class _Link:
    """A projection made ready to run."""

    source: str
    delay: int
    apply: BatchedSynapses


class BatchedNetwork:
    """Steps a quantised network over batches; arrays are (N, size), flattened populations."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.steps = network.contract.steps
        order = step_order(network)
        self.populations = [
            population
            for name in order
            if (population := network.population(name)).neuron is not None
        ]
        (self.source,) = (population.name for population in network.inputs)
        self.longest = max((projection.delay for projection in network.projections), default=0)
        self.neurons = {p.name: lava_neurons(p) for p in self.populations}
        self.links = {
            p.name: [
                _Link(projection.source, projection.delay, batched_synapses(projection))
                for projection in network.projections
                if projection.target == p.name
            ]
            for p in self.populations
        }

    def run(self, drive: np.ndarray, keep: Callable[[str, int, np.ndarray, Any], None]) -> None:
        """Simulate a batch from reset.

        Args:
            drive: (N, T, inputs) integers, or (N, 1, inputs) when every step is the same.
            keep: called as keep(population, step, spikes, neurons) after each step.
        """
        static = drive.shape[1] == 1 and self.steps > 1
        for population in self.populations:
            neurons = self.neurons[population.name]
            neurons.batch((len(drive), math.prod(population.shape)))
        spikes: dict[tuple[str, int], np.ndarray] = {}
        unchanging: dict[int, np.ndarray] = {}

        def through(link: _Link, t: int) -> np.ndarray:
            """Activation of one projection; from an input that never changes, computed once."""
            if not static or link.source != self.source:
                return link.apply(spikes[link.source, t - link.delay])
            if id(link) not in unchanging:
                unchanging[id(link)] = link.apply(spikes[link.source, t - link.delay])
            return unchanging[id(link)]

        for t in range(self.steps):
            spikes[self.source, t] = drive[:, 0 if static else t]
            spikes = {key: sent for key, sent in spikes.items() if key[1] >= t - self.longest}
            for population in self.populations:
                name = population.name
                arrived = [through(link, t) for link in self.links[name] if t >= link.delay]
                # Lava's ports add up 32-bit integers.
                activation = (
                    sum(arrived[1:], start=arrived[0]) if arrived else np.zeros(1, np.int32)
                )
                neurons = self.neurons[name]
                sent = neurons.advance(activation.astype(np.int32, copy=False))
                spikes[name, t] = sent
                keep(name, t, sent, neurons)


def lava_neurons(population: QuantizedPopulation) -> Any:
    """Lava's model of a population, outside of any Lava runtime."""
    from neurodeploy.lava.processes.models import PyDeployedLIFModel

    if isinstance(population.neuron, IntegerModel):
        return batched(population.neuron, population.shape)
    neuron = population.leaky

    def flat(values: np.ndarray) -> np.ndarray:
        array = np.broadcast_to(values, population.shape).ravel()
        return (array[:1] if (array == array[0]).all() else array).astype(np.int32)

    make: Any = PyDeployedLIFModel
    model = make(
        {
            "reset_interval": 1,
            "reset_offset": 0,
            "soft_reset": neuron.reset == "subtract",
            "at_threshold": neuron.comparison == ">=",
            "spiking": neuron.threshold is not None,
            "refractory_period": neuron.refractory_period,
            "guard": 0,
        }
    )
    model.du = flat(neuron.u_decay) - 1
    model.dv = flat(neuron.v_decay)
    model.bias_mant = flat(neuron.bias_mantissa)
    model.bias_exp = flat(neuron.bias_exponent)
    model.vth = flat(np.zeros(1) if neuron.threshold is None else neuron.threshold)
    model.scale_bias()
    model.scale_threshold()
    return model
