"""A multi-layer perceptron written by hand with Lava's own processes, to measure against.

Nothing of this project runs inside: RingBuffer source, Dense, LIFReset and RingBuffer sink, as
Lava's tutorials connect them. It serves only the bench of simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.operators import Dense as DenseOperator
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import require_lava
from neurodeploy.lava.runtime import GuardedRuntime
from neurodeploy.simulation.trace import SampleBatch


def run_by_hand(network: QuantizedNetwork, batches: Iterable[SampleBatch]) -> Iterator[None]:
    """Run a chain of dense LIF layers over batches of one and the same input.

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
        neuron = network.population(projection.target).neuron
        if neuron is None or neuron.threshold is None:
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
