"""Memory of one engine in a process of its own: ``python -m support.engine_memory NAME T ...``.

Arguments: network, as ``neurodeploy bench simulate`` names it, T, engine, samples in a batch, 1 for
u and v of all populations or 0, and how many batches. Prints one JSON object: bytes that were
estimated before, and bytes that the engine took on top of the network, in all of its processes.
"""

from __future__ import annotations

import json
import sys

from neurodeploy.bench.configuration import bench_network
from neurodeploy.bench.paper_networks import PAPER_NETWORKS, paper_network
from neurodeploy.bench.process import forget_high_water, peak_memory_mb, resident_mb
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.quantization.post_training import quantize
from neurodeploy.target import load_target
from neurodeploy.workflow.engines import EngineSettings, network_engine
from neurodeploy.workflow.memory import needed
from neurodeploy.workflow.samples import random_samples

SPIKES = 0.1


def integers(name: str, steps: int) -> QuantizedNetwork:
    """A network of the bench, quantised for Loihi 2."""
    make = paper_network if name in PAPER_NETWORKS else bench_network
    return quantize(make(name, steps), load_target("loihi2"))


def main(name: str, steps: int, engine: str, batch: int, state: bool, batches: int) -> dict:
    network = integers(name, steps)
    (source,) = network.inputs
    samples = random_samples(batch * batches, SPIKES, 0, network.contract, source.shape)
    estimate = needed(engine, network, batch, state=state)
    resident_mb()  # gives back what nobody uses
    forget_high_water()
    before, used = peak_memory_mb(), 0.0
    with network_engine(engine, network, EngineSettings(batch, state)) as running:
        for _ in running.run(samples.batches(batch), state=state):
            used = peak_memory_mb() - before
    return {"estimate": estimate, "used": used * 2**20}


if __name__ == "__main__":
    name, steps, engine, *numbers = sys.argv[1:]
    batch, state, batches = map(int, numbers)
    print(json.dumps(main(name, int(steps), engine, batch, bool(state), batches)))
