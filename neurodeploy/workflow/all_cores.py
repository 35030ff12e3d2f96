"""When a simulation on the ``reference`` is worth more processes than this one, and how many."""

from __future__ import annotations

import math
import os

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.memory import available_memory
from neurodeploy.workflow.engines import batch_size
from neurodeploy.workflow.memory import needed

UPDATE, OPERATION = 1e-8, 5e-11
"""Seconds that a core takes for a step of one neuron and of one connection, roughly."""

WORTH = 0.5
"""Seconds of work for each process at least: starting them takes less than a tenth."""


def workers_worthwhile(network: QuantizedNetwork, samples: Samples, *, state: bool) -> int:
    """Processes that simulate samples on the ``reference`` soonest; 1 for this one alone.

    No more than there are cores, than have ``WORTH`` to do, and than fit into memory together.
    Threads would do no better: two of them take 1.3 times as much CPU time as one, as Python runs
    one at a time.

    Args:
        state: whether u and v of every population are asked for.
    """
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        return 1
    most = min(cores, int(seconds(network, samples) / WORTH))
    free = available_memory()
    if free is not None:
        batch = min(batch_size(network), samples.count)
        # A half is left to what else there is.
        most = min(most, free // (2 * max(1, needed("reference", network, batch, state=state))))
    return max(1, most)


def seconds(network: QuantizedNetwork, samples: Samples) -> float:
    """What one core takes for the samples, roughly."""
    neurons = sum(math.prod(p.shape) for p in network.populations if p.neuron is not None)
    connections = sum(projection.operator.connections for projection in network.projections)
    return samples.count * network.contract.steps * (neurons * UPDATE + connections * OPERATION)
