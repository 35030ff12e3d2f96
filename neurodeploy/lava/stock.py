"""Networks as a Lava user would build them: the ``lava`` engine, and a perceptron by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Dense as DenseOperator
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.ir.schedule import depths, guard_steps, needs_silence, pipeline_delay
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.engine import LavaEngineBase
from neurodeploy.lava.neuron_processes import process_of
from neurodeploy.lava.runtime import GuardedRuntime
from neurodeploy.lava.shared import SampleFiles, Timetable
from neurodeploy.simulation.trace import SampleBatch

# The largest threshold (17 bits); a population without spikes never compares with it.
_NO_THRESHOLD = 2**17 - 1

MOST_WRITTEN_OUT = 2**20
"""Connections up to which a projection is given to Lava's own process, one by one."""


class LavaEngine(LavaEngineBase):
    """One Lava process per population and one per projection.

    They are run by Lava's fixed-point CPU models: stock ``LIFReset``, ``Dense``, ``Sparse`` and
    their delayed forms, ``DeployedLIF`` (which inherits Lava's arithmetic) where a population needs
    what no stock process has, those of ``neuron_models`` for other models, and
    ``DeployedSynapses`` for projections of more connections than can be written out one by one.
    """

    name = "lava"

    def _build(self, folder: Path, static: bool) -> Any:
        network = self.network
        self._timetable = Timetable(network.contract.steps, guard_steps(network), depths(network))
        self._files = SampleFiles(
            folder,
            self._timetable,
            network,
            self.capacity,
            static=static,
            state=self._state_populations,
        )
        return build_processes(network, self._timetable, self._files)

    def _load(self, batch: SampleBatch) -> None:
        self._files.load(batch, self._lava.elapsed)

    def _run_length(self, batch: SampleBatch) -> int:
        return self._timetable.run_length(len(batch))

    def _recorded(self, population: str, what: str, samples: int) -> np.ndarray:
        return self._files.recorded(population, what, samples)


def build_processes(network: QuantizedNetwork, timetable: Timetable, files: SampleFiles) -> Any:
    """Build and connect all processes; returns one of them, from which Lava finds the others."""
    from neurodeploy.lava.processes.process import SampleSource, SpikeProbe

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
            _connect_probes(population, process, files)
    for projection in network.projections:
        delay = pipeline_delay(dict(timetable.depth), projection)
        source = network.population(projection.source).neuron
        # A message of 2 bits is 1 or -1, and no spike.
        graded = None if source is None else source.message.graded
        synapses = synapses_of(projection, delay, graded)
        processes[projection.source].s_out.connect(synapses.s_in)
        synapses.a_out.connect(processes[projection.target].a_in)
    return processes[network.output]


def _connect_probes(population: QuantizedPopulation, process: Any, files: SampleFiles) -> None:
    """Record what a population keeps: u and v together, of other models one by one."""
    from neurodeploy.lava.processes.process import StateProbe, VarProbe

    name, shape = population.name, (math.prod(population.shape),)
    if isinstance(population.neuron, IntegerModel):
        for what in population.neuron.states:
            probe = VarProbe(files=files, population=name, what=what, shape=shape)
            probe.values.connect_var(getattr(process, what))
        return
    state = StateProbe(files=files, population=name, shape=shape)
    state.u.connect_var(process.u)
    state.v.connect_var(process.v)


def _neurons(
    network: QuantizedNetwork, population: QuantizedPopulation, timetable: Timetable
) -> Any:
    """Lava's LIFReset where it can do what the population does, else a process of ours."""
    from lava.proc.lif.process import LIFReset

    from neurodeploy.lava.processes.process import DeployedLIF

    timing: dict[str, Any] = {
        "reset_interval": timetable.interval,
        "reset_offset": timetable.reset_offset(population.name),
        "name": population.name,
    }
    guard = timetable.guard if needs_silence(network, population.name) else 0
    if isinstance(population.neuron, IntegerModel):
        return process_of(population.neuron, population.shape, guard=guard, **timing)
    neuron = population.leaky
    size = math.prod(population.shape)

    def flat(values: np.ndarray) -> Any:
        """Per-neuron values, or one plain number when all are the same, which computes faster."""
        array = np.broadcast_to(values, population.shape).ravel()
        return int(array[0]) if (array == array[0]).all() else array

    threshold = _NO_THRESHOLD if neuron.threshold is None else flat(neuron.threshold)
    options: dict[str, Any] = {
        "shape": (size,),
        "du": flat(neuron.u_decay) - 1,
        "dv": flat(neuron.v_decay),
        "bias_mant": np.broadcast_to(neuron.bias_mantissa, population.shape).ravel(),
        "bias_exp": np.broadcast_to(neuron.bias_exponent, population.shape).ravel(),
        "vth": threshold,
        **timing,
    }
    stock = neuron.reset == "zero" and neuron.comparison == ">" and neuron.threshold is not None
    if stock and not (guard or neuron.refractory_period) and isinstance(threshold, int):
        return LIFReset(**options)
    return DeployedLIF(
        soft_reset=neuron.reset == "subtract",
        at_threshold=neuron.comparison == ">=",
        spiking=neuron.threshold is not None,
        refractory_period=neuron.refractory_period,
        guard=guard,
        **options,
    )


def synapses_of(projection: QuantizedProjection, delay: int, graded: bool | None = None) -> Any:
    """Lava's Dense or Sparse, with delays where the pipeline needs them, else DeployedSynapses.

    Args:
        graded: whether messages carry integers; None where those above 1 do.
    """
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.sparse.process import DelaySparse, Sparse
    from lava.utils.weightutils import SignMode

    from neurodeploy.lava.processes.process import DeployedSynapses

    operator = projection.operator
    if not held_by_lava(projection, delay):
        return DeployedSynapses(projection=projection, delay=delay, name=projection.name)
    graded = projection.payload > 1 if graded is None else graded
    dense = isinstance(operator, DenseOperator)
    weights: Any = operator.weights if dense else operator.matrix()
    options: dict[str, Any] = {
        "weights": weights.astype(np.int32),
        "weight_exp": projection.exponent,
        "num_weight_bits": projection.weight_format.bits,
        "sign_mode": SignMode[projection.weight_format.sign.upper()],
        # Lava asks only whether it is above 0, that is whether spikes carry integers.
        "num_message_bits": projection.payload.bit_length() if graded else 0,
        "name": projection.name,
    }
    if not delay:
        return (Dense if dense else Sparse)(**options)
    if dense:
        return DelayDense(delays=delay, **options)
    # One number for all would become a matrix of every pair of neurons, connected or not.
    delays = options["weights"].astype(np.int64)
    delays.data[:] = delay
    return DelaySparse(delays=delays, **options)


def held_by_lava(projection: QuantizedProjection, delay: int) -> bool:
    """Whether Lava's own process for a projection is exact, and of a bearable size.

    Those with delays copy all connections for each step of delay, in every time step, and add up in
    64 bits what those without add up in 32, which a right shift tells apart.
    """
    operator = projection.operator
    if not delay:
        return isinstance(operator, DenseOperator) or operator.connections <= MOST_WRITTEN_OUT
    return operator.connections * (1 + delay) <= MOST_WRITTEN_OUT and not projection.may_wrap


def run_by_hand(network: QuantizedNetwork, batches: Iterable[SampleBatch]) -> Iterator[None]:
    """Run a chain of dense LIF layers, written by hand, over batches of one and the same input.

    Nothing of this project runs inside: RingBuffer source, Dense, LIFReset and RingBuffer sink, as
    Lava's tutorials connect them. It serves only the bench of simulation, to measure against.

    Raises:
        InputError: the network is not such a chain.
    """
    require_lava()
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIFReset

    if not all(isinstance(p.operator, DenseOperator) for p in network.projections):
        raise InputError(
            "the yardstick is written for dense networks",
            fix=Text("use ", Setting("network", "mlp-...")),
        )
    batches = iter(batches)
    first = next(batches)
    steps = network.contract.steps
    length = len(first) * steps
    inputs = first.values.reshape(length, -1).T
    source = Source(data=inputs)
    layer = source
    for depth, projection in enumerate(network.projections, start=1):
        neuron = network.population(projection.target).leaky
        if neuron.threshold is None:
            raise InputError("the yardstick is written for spiking neurons")
        dense = Dense(
            weights=projection.operator.weights.astype(np.int32), weight_exp=projection.exponent
        )
        size = projection.operator.weights.shape[0]
        lif = LIFReset(
            shape=(size,),
            du=4095,
            dv=int(neuron.v_decay.flat[0]),
            vth=int(neuron.threshold.flat[0]),
            reset_interval=steps,
            reset_offset=(1 + depth) % steps,
        )
        layer.s_out.connect(dense.s_in)
        dense.a_out.connect(lif.a_in)
        # The spikes of every layer are wanted, as the engine records them.
        sink = Sink(shape=(size,), buffer=length)
        lif.s_out.connect(sink.a_in)
        layer = lif
    with GuardedRuntime(layer, Loihi2SimCfg(select_tag="fixed_pt")) as runtime:
        runtime.run(length)
        yield
        for _ in batches:
            runtime.run(length)
            yield
