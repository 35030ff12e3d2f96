"""How much memory the Lava engines take, from shapes and connections, before anything is built.

Counted is what comes on top of the network itself, in all processes together and with what they
share once, until the second batch is done. Lava and Python take what was measured with lava-nc
0.10.0; arrays take what their shapes say. ``tests/test_engine_memory.py`` holds the estimates
against what the kernel counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.ir.schedule import depths, guard_steps, pipeline_delay
from neurodeploy.lava.shared import Timetable
from neurodeploy.lava.stock import held_by_lava
from neurodeploy.lava.synapses import COLUMNS, column_values
from neurodeploy.lava.turns import best_in_turns
from neurodeploy.simulation.footprint import recorded, sizes_of

LAVA = 60 * 2**20
"""Bytes of Lava's modules, and of the networkx and asteval that it brings."""

PROCESS = 7 * 2**20
"""Bytes of its own that a forked process takes before it computes anything."""

SIBLING = 6 * 2**10
"""Bytes that it takes more for each of the others, whose Vars and channels it is a copy of."""

SLOTS = 64
"""Messages that one of Lava's channels has room for (``pypy_channel_size``)."""

NEURON = 64
"""Bytes per neuron while a LIF steps: its Vars, and the 64-bit products of u and v."""

WRITING_OUT = 64
"""Bytes per connection while a kernel is written out as a matrix."""


def fused_bytes(network: QuantizedNetwork, capacity: int, *, state: bool) -> int:
    """Of ``lava-fused``, with batches of ``capacity`` samples."""
    sizes = sizes_of(network)
    largest = max(sizes.values())
    steps = network.contract.steps
    records = capacity * sum(recorded(network, steps, state=state).values())
    neurons = capacity * (8 * sum(sizes.values()) + NEURON * largest)
    messages = capacity * steps * math.prod(network.inputs[0].shape) * 4
    synapses = sum(map(_weights, network.projections))
    at_work = max((_at_work(p, capacity) for p in network.projections), default=0)
    # The records lie in files, in the trace of this batch and in that of the one before.
    return LAVA + 2 * PROCESS + 3 * records + neurons + messages + synapses + at_work


def stock_bytes(network: QuantizedNetwork, capacity: int, *, state: bool) -> int:
    """Of ``lava``, with batches of ``capacity`` samples."""
    sizes, depth = sizes_of(network), depths(network)
    timetable = Timetable(network.contract.steps, guard_steps(network), depth)
    length = timetable.run_length(capacity)
    records = sum(recorded(network, length, state=state).values())
    slots = 4 * min(SLOTS, length)
    decoded = network.output if network.contract.decode != "spike_count" else None
    with_state = [name for name in sizes if state or name == decoded]
    processes = 2
    if not best_in_turns(network):
        processes += 2 * len(sizes) + len(with_state) + len(network.projections)
    sent = sum(sizes.values()) + sum(_ends(network.projections))
    sent += 2 * sum(sizes[name] for name in with_state)
    neurons = NEURON * sum(sizes.values())
    synapses = sum(_as_a_process(p, pipeline_delay(depth, p)) for p in network.projections)
    own = processes * (PROCESS + processes * SIBLING)
    return LAVA + own + 3 * records + slots * sent + neurons + synapses


def _ends(projections: Iterable[QuantizedProjection]) -> Iterable[int]:
    """Numbers that go into and out of each projection in a step."""
    for projection in projections:
        yield math.prod(projection.operator.input_shape)
        yield math.prod(projection.operator.output_shape)


def _weights(projection: QuantizedProjection) -> int:
    """Bytes of a projection made ready to multiply: weights in 32 bits, as floats and integers."""
    operator = projection.operator
    per_weight = 8 if isinstance(operator, Dense | Convolution) else 16
    return per_weight * operator.weights.size


def _at_work(projection: QuantizedProjection, samples: int) -> int:
    """Bytes that multiplying a batch takes for as long as it lasts."""
    inputs, outputs = _ends([projection])
    laid_out = 0
    if isinstance(projection.operator, Convolution):
        each = column_values(projection.operator)
        laid_out = max(each, min(COLUMNS, samples * each))
    return 4 * (laid_out + samples * (inputs + 3 * outputs))


def _as_a_process(projection: QuantizedProjection, delay: int) -> int:
    """Bytes of a projection that is one process of the stock engine."""
    operator = projection.operator
    if not held_by_lava(projection, delay):
        outputs = math.prod(operator.output_shape)
        return _weights(projection) + _at_work(projection, 1) + 4 * (1 + delay) * outputs
    copies = 1 + delay
    if isinstance(operator, Dense):
        return operator.weights.size * 24 * copies
    return operator.connections * WRITING_OUT * copies
