"""The model of the process: ``BatchedNetwork``, and what it is asked to record."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from neurodeploy.lava.fused import BatchedNetwork
from neurodeploy.lava.fused_processes.process import FusedNetwork
from neurodeploy.support.system import freed_memory_kept


@implements(proc=FusedNetwork, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyFusedNetworkModel(PyLoihiProcessModel):
    """Simulates the loaded batch from reset in every Lava time step."""

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.arrays = proc_params["arrays"]
        network = proc_params["network"]
        self.network = BatchedNetwork(network)
        self.states = {p.name: p.neuron.states for p in network.populations if p.neuron}

    def run_spk(self) -> None:
        """Run the batch and record it."""
        samples = int(self.arrays["clock"][0])
        with freed_memory_kept():
            self.network.run(self.arrays["drive"][:samples], self._keep)

    def _keep(self, name: str, step: int, spikes: np.ndarray, neurons: Any) -> None:
        self.arrays[f"{name}.s"][: len(spikes), step] = spikes
        if f"{name}.v" in self.arrays.layout:
            for what in self.states[name]:
                self.arrays[f"{name}.{what}"][: len(spikes), step] = getattr(neurons, what)
