"""The ``lava`` engine: the deployed network as a Lava user would build it.

One Lava process per population and one per projection, run by Lava's fixed-point CPU models: stock
``LIFReset``, ``Dense``, ``Sparse`` and their delayed forms, and ``DeployedLIF`` (which inherits
Lava's arithmetic) where a population needs what no stock process has.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import SimulationError
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.runtime import GuardedRuntime
from neurodeploy.lava.samples import SampleFiles, Timetable
from neurodeploy.operators import Dense as DenseOperator
from neurodeploy.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.simulation.trace import Batch, Overflow, PopulationTrace, SpikeTrace
from neurodeploy.timing import depths, guard_steps, needs_silence, pipeline_delay

# The largest threshold (17 bits); a population without spikes never compares with it.
_NO_THRESHOLD = 2**17 - 1


class LavaEngine:
    """Simulates a quantised network with one Lava process per population and projection.

    Args:
        capacity: most samples in a batch; memory grows with it.
        state: whether u and v are read out after every step (slower).
        timeout: wall-clock seconds that all of it may take, or None.
    """

    name = "lava"

    def __init__(
        self,
        network: QuantizedNetwork,
        *,
        capacity: int = 64,
        state: bool = False,
        timeout: float | None = None,
    ) -> None:
        require_lava()
        self.network = network
        self.capacity = capacity
        self.state = state
        self.timeout = timeout
        # Stock Lava processes do not report wraps and saturations; the reference counts them.
        self.overflow = Overflow()
        self.timetable = Timetable(
            network.contract.steps, guard_steps(network), depths(network)
        )
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: SampleFiles | None = None
        self._runtime: GuardedRuntime | None = None
        self._elapsed = 0

    def run(self, batches: Iterable[Batch], *, state: bool = False) -> Iterator[SpikeTrace]:
        """Simulate batch after batch in one Lava network, built at the first batch.

        Raises:
            SimulationError: Lava failed, or the time limit passed; nothing is left running.
        """
        if state and not self.state:
            raise ValueError("this engine was built without state probes")
        try:
            for batch in batches:
                if self._runtime is None:
                    self._start(batch.static)
                yield self._run_batch(batch)
        finally:
            self.close()

    def close(self) -> None:
        """End the Lava processes and remove their files; harmless when done before."""
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._elapsed = 0

    def _start(self, static: bool) -> None:
        from lava.magma.core.run_configs import Loihi2SimCfg

        (source,) = self.network.inputs
        self._folder = tempfile.TemporaryDirectory(prefix="neurodeploy-")
        self._files = SampleFiles(
            Path(self._folder.name),
            self.timetable,
            math.prod(source.shape),
            self.capacity,
            {p.name: math.prod(p.shape) for p in self.network.populations if p.neuron},
            static=static,
            state=self._state_populations(),
        )
        root = build_processes(self.network, self.timetable, self._files)
        runtime = GuardedRuntime(root, Loihi2SimCfg(select_tag="fixed_pt"), timeout=self.timeout)
        self._runtime = runtime.__enter__()

    def _state_populations(self) -> list[str]:
        """Whose u and v to record: all if asked, else a read-out that is decoded from its v."""
        neurons = [p for p in self.network.populations if p.neuron is not None]
        decoded = self.network.output if self.network.contract.decode != "spike_count" else None
        return [p.name for p in neurons if self.state or p.name == decoded]

    def _run_batch(self, batch: Batch) -> SpikeTrace:
        if self._files is None or self._runtime is None:
            raise SimulationError("the Lava network is not running")
        if batch.static != self._files.static or len(batch) > self.capacity:
            raise ValueError("batches of one run must be alike and fit the engine's capacity")
        self._files.load(batch, self._elapsed)
        length = self.timetable.run_length(len(batch))
        self._runtime.run(length)
        self._elapsed += length
        return self._trace(batch, self._files)

    def _trace(self, batch: Batch, files: SampleFiles) -> SpikeTrace:
        steps, samples = self.timetable.steps, len(batch)
        populations = {}
        for population in self.network.populations:
            if population.neuron is None:
                values = batch.values[:, None] if batch.static else batch.values
                shape = (samples, steps, *population.shape)
                populations[population.name] = PopulationTrace(np.broadcast_to(values, shape))
                continue
            records = {
                what: files.recorded(population.name, what, samples).reshape(
                    samples, steps, *population.shape
                )
                for what in (("s", "u", "v") if population.name in files.state else ("s",))
            }
            populations[population.name] = PopulationTrace(**records)
        return SpikeTrace(batch.first, populations, self.network.output)


def build_processes(network: QuantizedNetwork, timetable: Timetable, files: SampleFiles) -> Any:
    """Build and connect all processes; returns one of them, from which Lava finds the others."""
    from neurodeploy.lava.processes.process import SampleSource, SpikeProbe, StateProbe

    processes: dict[str, Any] = {}
    for population in network.populations:
        if population.neuron is None:
            processes[population.name] = SampleSource(files=files)
            continue
        size = math.prod(population.shape)
        process = _neurons(network, population, timetable)
        processes[population.name] = process
        probe = SpikeProbe(files=files, population=population.name, size=size)
        process.s_out.connect(probe.s_in)
        if population.name in files.state:
            state = StateProbe(files=files, population=population.name, size=size)
            state.u.connect_var(process.u)
            state.v.connect_var(process.v)
    for projection in network.projections:
        synapses = _synapses(projection, pipeline_delay(dict(timetable.depth), projection))
        processes[projection.source].s_out.connect(synapses.s_in)
        synapses.a_out.connect(processes[projection.target].a_in)
    return processes[network.output]


def _neurons(
    network: QuantizedNetwork, population: QuantizedPopulation, timetable: Timetable
) -> Any:
    """Lava's LIFReset where it can do what the population does, else DeployedLIF."""
    from lava.proc.lif.process import LIFReset

    from neurodeploy.lava.processes.process import DeployedLIF

    neuron = population.neuron
    if neuron is None:
        raise ValueError(f"population {population.name!r} is an input")
    size = math.prod(population.shape)

    def flat(values: np.ndarray) -> np.ndarray:
        """Per-neuron values, or one value when all are the same, as Lava's Vars expect."""
        array = np.broadcast_to(values, population.shape).ravel()
        return array[:1] if (array == array[0]).all() else array

    threshold = np.array([_NO_THRESHOLD]) if neuron.threshold is None else flat(neuron.threshold)
    options: dict[str, Any] = {
        "shape": (size,),
        "du": flat(neuron.u_decay) - 1,
        "dv": flat(neuron.v_decay),
        "bias_mant": np.broadcast_to(neuron.bias_mantissa, population.shape).ravel(),
        "bias_exp": np.broadcast_to(neuron.bias_exponent, population.shape).ravel(),
        "vth": threshold,
        "reset_interval": timetable.interval,
        "reset_offset": timetable.reset_offset(population.name),
        "name": population.name,
    }
    guard = timetable.guard if needs_silence(network, population.name) else 0
    stock = neuron.reset == "zero" and neuron.comparison == ">" and neuron.threshold is not None
    if stock and not guard and threshold.size == 1:
        return LIFReset(**options)
    return DeployedLIF(
        soft_reset=neuron.reset == "subtract",
        at_threshold=neuron.comparison == ">=",
        spiking=neuron.threshold is not None,
        guard=guard,
        **options,
    )


def _synapses(projection: QuantizedProjection, delay: int) -> Any:
    """Lava's Dense or Sparse, with delays where the pipeline needs them."""
    from lava.proc.dense.process import Dense, DelayDense
    from lava.proc.sparse.process import DelaySparse, Sparse
    from lava.utils.weightutils import SignMode

    dense = isinstance(projection.operator, DenseOperator)
    options: dict[str, Any] = {
        "weights": projection.operator.weights.astype(np.int32)
        if dense
        else projection.operator.matrix().astype(np.int32),
        "weight_exp": projection.exponent,
        "num_weight_bits": projection.weight_format.bits,
        "sign_mode": SignMode[projection.weight_format.sign.upper()],
        # Lava asks only whether it is above 0, that is whether spikes carry integers.
        "num_message_bits": 0 if projection.payload == 1 else projection.payload.bit_length(),
        "name": projection.name,
    }
    if delay:
        return (DelayDense if dense else DelaySparse)(delays=delay, **options)
    return (Dense if dense else Sparse)(**options)
