"""The Norse engine: a NIR graph stepped node by node, neurons in Norse, all in float64.

What NIR leaves open about time is the contract's, as everywhere here: a population sees the spikes
of the same step, and of the step before where the connection lies in a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import nir
import numpy as np
import torch
from torch import Tensor

from neurodeploy.errors import Setting, Text, UnsupportedError
from neurodeploy.ir.contract import Contract, Semantics
from neurodeploy.ir.operators import Shape
from neurodeploy.norse.neurons import (
    NORSE_NEURONS,
    SENDS_POTENTIAL,
    NorseNeuron,
    State,
    norse_neuron,
)
from neurodeploy.norse.wiring import OneStep, Wiring
from neurodeploy.simulation.trace import Overflow, PopulationTrace, SampleBatch, SpikeTrace


class NorseEngine:
    """Simulates a NIR graph on the same encoded integers as every other engine.

    Args:
        graph: of neurons and linear nodes; no graph within the graph.
        shapes: of every input and neuron node, by name; a constant source has no node and fires.
        output: the node that is read out.
        name: of the file, for messages.

    Raises:
        UnsupportedError: a node that Norse cannot express, by name, with what can.
        MissingDependencyError: Norse is not installed.
    """

    name = "norse"

    def __init__(
        self,
        graph: nir.NIRGraph,
        shapes: Mapping[str, Shape],
        output: str,
        contract: Contract,
        name: str,
    ) -> None:
        self.overflow = Overflow()
        self.shapes = shapes
        self.output = output
        self.steps = contract.steps
        self.payload = contract.input_code.payload
        # In NIR a constant source is biases of linear nodes, and no node of its own.
        self.constants = [population for population in shapes if population not in graph.nodes]
        self.wiring = Wiring(graph, contract.semantics.dt, name)
        _refuse_potentials(graph, self.wiring)
        behind = {source: shapes[node] for node, source in self.wiring.potentials.items()}
        self.neurons = {
            node: norse_neuron(
                graph.nodes[node],
                shapes[node] if node in shapes else behind[node],
                self._semantics(node, contract.semantics),
                self.wiring.where(node),
            )
            for node in self.wiring.order
            if type(graph.nodes[node]).__name__ in NORSE_NEURONS
        }

    def _semantics(self, node: str, semantics: Semantics) -> Semantics:
        """A Threshold leaves the potential as it is; its v is recorded as a chip would have it.

        Raises:
            UnsupportedError: a neuron that rests after a spike, or is not reset.
        """
        own = semantics.of(node)
        if node in self.wiring.potentials:
            return replace(own, reset="subtract")
        rests = semantics.refractory_period(node)
        if rests or (own.reset == "none" and hasattr(self.wiring.graph.nodes[node], "v_threshold")):
            found = f"rests for {rests} steps after a spike" if rests else "is not reset by a spike"
            raise UnsupportedError(
                f"{self.wiring.where(node)}: {found}, which Norse has no step for",
                fix=Text(Setting("engine", "float"), " runs what we deploy"),
            )
        return own

    def run(
        self, batches: Iterable[SampleBatch], *, state: bool = False
    ) -> Iterator[tuple[SampleBatch, SpikeTrace]]:
        """Simulate batch after batch, and yield each with its trace.

        Args:
            state: record v of every population, and u where Norse has a synaptic current.
        """
        for batch in batches:
            with torch.no_grad():
                yield batch, self._run(batch, state)

    def close(self) -> None:
        """Nothing to release; other engines have processes to end."""

    def _run(self, batch: SampleBatch, state: bool) -> SpikeTrace:
        drive = torch.from_numpy(np.ascontiguousarray(batch.values))
        size = self.steps, len(batch)
        sent = {
            name: torch.zeros((*size, *self.shapes[name]), dtype=torch.uint8)
            if name in self.neurons
            else torch.ones((*size, *self.shapes[name]), dtype=torch.uint8)
            if name in self.constants
            else _sent_input(drive, batch.static, self.steps)
            for name in self.shapes
        }
        scales = {name: 1 if name in self.neurons else self.payload for name in self.shapes}
        records = {
            name: _Record(self.neurons[name], sent[name], state, state or name == self.output)
            for name in self.neurons
            if name in self.shapes
        }
        potentials = self.wiring.potentials
        states = {name: neuron.start() for name, neuron in self.neurons.items()}
        for t in range(self.steps):
            step = OneStep(self.wiring, sent, scales, t)
            for name, neuron in self.neurons.items():
                x = states[potentials[name]].v if name in potentials else step.into(name)
                fires, states[name] = neuron.step(x, states[name])
                if name in records:
                    records[name].add(t, fires, states[name])
        populations = {
            name: records[name].trace()
            if name in records
            else PopulationTrace(sent[name].transpose(0, 1).numpy())
            for name in self.shapes
        }
        return SpikeTrace(batch.first, populations, self.output)


def _refuse_potentials(graph: nir.NIRGraph, wiring: Wiring) -> None:
    """Norse sends v from a neuron that never spikes; a chip sends nothing."""
    for source, target in graph.edges:
        taken = isinstance(graph.nodes[target], nir.Output | nir.Flatten | nir.Threshold)
        if isinstance(graph.nodes[source], SENDS_POTENTIAL) and not taken:
            raise UnsupportedError(
                f"{wiring.where(source)}: never spikes but feeds {target!r}, to which Norse would "
                "send its potential; put a Threshold behind it"
            )


def _sent_input(values: Tensor, static: bool, steps: int) -> Tensor:
    """Input integers time-first, (T, N, *shape)."""
    return values.expand(steps, *values.shape) if static else values.transpose(0, 1)


class _Record:
    """What one population did, time-first; its spikes are what later nodes read."""

    def __init__(self, neuron: NorseNeuron, spikes: Tensor, u: bool, v: bool) -> None:
        self.spikes = spikes
        self.gain = neuron.current_gain
        self.rest = neuron.rest
        self.v = torch.zeros(spikes.shape, dtype=torch.float64) if v else None
        has_current = u and self.gain is not None
        self.u = torch.zeros(spikes.shape, dtype=torch.float64) if has_current else None

    def add(self, t: int, fires: Tensor, state: State) -> None:
        self.spikes[t] = fires
        if self.v is not None:
            self.v[t] = state.v - self.rest
        if self.u is not None and self.gain is not None:
            # As the float engine has it: what the current adds to v in this step.
            self.u[t] = self.gain * state.i

    def trace(self) -> PopulationTrace:
        s, u, v = (
            None if values is None else values.transpose(0, 1).numpy()
            for values in (self.spikes, self.u, self.v)
        )
        assert s is not None
        return PopulationTrace(s, u, v)
