"""Behaviour of the process; what it computes is in ``neurodeploy.lava.onchip.graph``."""

from __future__ import annotations

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.onchip.graph_processes.process import GraphLearner


@implements(proc=GraphLearner, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyGraphLearnerModel(PyLoihiProcessModel):
    """Learns from a chunk per time step."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.files, self.graph = proc_params["files"], proc_params["graph"]
        self.updates = 0

    def run_spk(self) -> None:
        """One sample after the other."""
        for synapses in self.graph.synapses:
            self.files.record_end(synapses.name, "first", synapses.state)
        for sample in range(self.files.samples):
            self._learn(sample)
        for synapses in self.graph.synapses:
            synapses.check()
            self.files.record_end(synapses.name, "last", synapses.state)

    def _learn(self, sample: int) -> None:
        graph, files = self.graph, self.files
        block, lasts = graph.block, files.lasts(sample, graph.steps)
        graph.rest()
        for step in range(graph.steps):
            if step < lasts:
                graph.step(files.frame(sample, step), files.label(sample))
            if (step + 1) % block:
                continue
            for synapses in graph.synapses:
                synapses.update(self.updates)
                files.record_changes(
                    *(synapses.name, sample, step // block, synapses.numbers, synapses.values)
                )
            self.updates += 1
        files.record_scores(sample, graph.scores)
