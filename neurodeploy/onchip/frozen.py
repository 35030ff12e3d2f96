"""Networks of which the output layer alone learns: what comes before it stays, whatever its form.

Rules ``delta`` and ``prototypes`` need no error before the output layer, and so of the rest of the
network nothing but its spikes: it may have shortcuts, loops, delays and neurons of any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import InputCode
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.onchip.chain import Link
from neurodeploy.onchip.learner import StreamChunk
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch

_OTHERS = "use rule sltt, local or eprop"


def output_layer(network: QuantizedNetwork) -> Link:
    """The one projection into the read-out.

    Raises:
        UnsupportedError: there are several, it has a delay, the read-out spikes or leads on, or is
            decoded by what it has not.
    """
    readout, decode = network.population(network.output), network.contract.decode
    reading = [p for p in network.projections if p.target == readout.name]
    if len(reading) != 1 or reading[0].delay:
        names = ", ".join(p.name for p in reading)
        how = "with a delay" if len(reading) == 1 else "together"
        raise UnsupportedError(
            f"read-out {readout.name!r} is reached by {names} {how}: rules delta and prototypes "
            f"change the synapses of one projection, in the step in which a spike comes; {_OTHERS}"
        )
    neuron = readout.leaky
    if neuron.spiking or decode == "spike_count":
        raise UnsupportedError(
            f"read-out {readout.name!r} is a {neuron.kind} decoded by {decode}: Lava's rule takes "
            "the error of an output as it is, and one of spikes has to go through their surrogate; "
            f"{_OTHERS}"
        )
    leading = [p.name for p in network.projections if p.source == readout.name]
    if leading:
        raise UnsupportedError(
            f"projection {leading[0]!r} leads on from {readout.name!r}, which never spikes"
        )
    return Link(reading[0], readout)


def layers_before(network: QuantizedNetwork, last: QuantizedProjection) -> QuantizedNetwork | None:
    """A network without its last projection and its read-out; None where the input leads there."""
    if last.source == network.inputs[0].name:
        return None
    return replace(
        network,
        populations=tuple(p for p in network.populations if p.name != network.output),
        projections=tuple(p for p in network.projections if p.name != last.name),
        output=last.source,
        contract=replace(network.contract, decode="spike_count"),
    )


def output_alone(network: QuantizedNetwork, link: Link) -> QuantizedNetwork:
    """The output layer as a network, whose input are the spikes of what comes before."""
    source = network.population(link.projection.source)
    return replace(
        network,
        populations=(QuantizedPopulation(source.name, source.shape, None, 1.0), link.population),
        projections=(link.projection,),
        contract=replace(network.contract, input_code=InputCode("events", 1)),
    )


class FrozenSpikes:
    """What meets the output layer, by the reference.

    Args:
        network: whose layers before ``last`` spike.
    """

    def __init__(self, network: QuantizedNetwork, last: QuantizedProjection) -> None:
        self.steps = network.contract.steps
        hidden = layers_before(network, last)
        self.engine = None if hidden is None else ReferenceEngine(hidden)
        self.input_shape = network.inputs[0].shape

    def of(self, chunk: StreamChunk) -> np.ndarray:
        """(N, T, inputs of the output layer) bool, beyond a sample's own end too."""
        values, count = chunk.values, len(chunk)
        if self.engine is None:
            return np.broadcast_to(values, (count, self.steps, values.shape[2])) > 0
        static = values.shape[1] == 1 and self.steps > 1
        frames = values[:, 0] if static else values
        shape = (count, *(() if static else (self.steps,)), *self.input_shape)
        ((_, trace),) = self.engine.run([SampleBatch(0, frames.reshape(shape), static)])
        return trace.populations[trace.output].s.reshape(count, self.steps, -1) > 0

    @property
    def overflow(self) -> Mapping[str, tuple[int, int]]:
        """Wraps of u and saturations of v by population."""
        found = {} if self.engine is None else self.engine.overflow.populations
        return {name: (c.wraps, c.saturations) for name, c in found.items()}
