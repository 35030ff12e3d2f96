"""The ``netx`` engine: the deployment's ``.net`` file, read and built by lava-dl itself.

lava-dl's reader and Lava's fixed-point models are used as they are. What is ours stands around
them: the source of spikes, the probes, and Lava's own ``Reset`` on what netx does not reset.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.errors import SimulationError
from neurodeploy.interchange.netx.changes import message_exponent
from neurodeploy.interchange.netx.layers import image_shape
from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import (
    netx_with_numbers,
    netx_without_slayer,
    require_lava_dl_installed,
)
from neurodeploy.lava.engine import LavaEngineBase
from neurodeploy.lava.shared import SampleFiles, Timetable
from neurodeploy.neurons.sigma_delta import DELTA, SIGMA, SIGMA_DELTA
from neurodeploy.simulation.trace import SampleBatch

VARS = {
    SIGMA: {"v": "sigma"},
    DELTA: {"v": "act", "residue": "residue", "error": "error"},
    SIGMA_DELTA: {"sigma": "sigma", "v": "act", "residue": "residue", "error": "error"},
}
"""Of neurons that send changes, the Var of Lava that holds each state."""


class NetxEngine(LavaEngineBase):
    """A ``.net`` in lava-dl's reader.

    A layer runs one step behind the one before it, whatever the delay of its synapses. netx resets
    u and v of layer after layer in that rhythm, once per sample. What else a sample leaves behind
    is in the buffers of delayed and recurrent synapses and in sigma-delta neurons, which Lava's
    ``Reset`` empties; delayed synapses and these neurons need a step for that in which they carry
    nothing.

    Args:
        net_file: the ``.net`` of this network.
        options: as for the other Lava engines.
    """

    name = "netx"

    def __init__(self, network: QuantizedNetwork, net_file: Path, **options: Any) -> None:
        require_lava_dl_installed()
        super().__init__(network, **options)
        self.net_file = net_file
        self._drive_weight = 0

    def _start(self, static: bool) -> None:
        with netx_without_slayer():
            super()._start(static)

    def _build(self, folder: Path, static: bool) -> Any:
        network = self.network
        # Delays within a layer are recurrent ones, of the one step that netx gives them anyway.
        self._delayed = {p.target for p in network.projections if p.delay and p.source != p.target}
        kinds = {p.name: p.neuron.kind for p in network.populations if p.neuron}
        self._changes = {name: VARS[kind] for name, kind in kinds.items() if kind in VARS}
        # Delta reads the input of the same step, all others that of the step before.
        self._early = next(iter(kinds.values())) == DELTA
        depth = {p.name: max(i - self._early, 0) for i, p in enumerate(network.populations)}
        # A state that netx does not reset is emptied in a step of its own, when it has been read.
        guard = int(bool(self._delayed or self._changes))
        self._timetable = Timetable(network.contract.steps, guard, depth)
        self._files = SampleFiles(
            folder,
            self._timetable,
            network,
            self.capacity,
            static=static,
            state=self._state_populations,
        )
        net = self._read()
        self._connect(net)
        return net

    def _read(self) -> Any:
        """lava-dl's process of the network."""
        make: Any = netx_with_numbers().Network
        (source,) = self.network.inputs
        payload = self.network.contract.input_code.payload
        try:
            with warnings.catch_warnings():
                # netx divides by the largest weight, which may be 0, and takes arrays for numbers.
                warnings.simplefilter("ignore", RuntimeWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                # That it resets no sigma-delta neurons: Lava's Reset does.
                warnings.filterwarnings("ignore", "Reset is not supported with Sigma Delta")
                net = make(
                    str(self.net_file),
                    input_message_bits=0 if payload == 1 else payload.bit_length(),
                    input_shape=image_shape(source.shape)[::-1],
                    reset_interval=self._timetable.interval,
                    # Without neurons in the input, netx would reset one step early; with them, the
                    # first sample starts at step 2, since biases are written at the end of a step;
                    # Delta takes it at step 1.
                    reset_offset=1 - self._early,
                    spike_exp=message_exponent(self.network),
                )
            # netx leaves the file open, and a new one could not be written in its place.
            net.net_config.f.close()
        except Exception as error:
            raise SimulationError(
                f"lava-dl cannot load {self.net_file}: {type(error).__name__}: {error}"
            ) from error
        if len(net.layers) != len(self._sizes):
            raise SimulationError(
                f"{self.net_file}: lava-dl finds {len(net.layers)} layers with neurons, the "
                f"deployed network has {len(self._sizes)}"
            )
        return net

    def _connect(self, net: Any) -> None:
        from lava.lib.dl.netx.blocks.process import Input

        from neurodeploy.lava.processes.process import (
            BiasDrive,
            SampleSource,
            SpikeProbe,
            StateProbe,
            VarProbe,
        )

        first, driven = net.in_layer, isinstance(net.in_layer, Input)
        inputs, *_ = self._sizes
        if driven and inputs in self._changes:
            source = SampleSource(files=self._files, **first.transform)
            source.s_out.reshape(first.shape).connect(first.neuron.a_in)
        elif driven:
            self._drive_weight = first.transform["weight"]
            drive = BiasDrive(files=self._files, shape=first.shape, **first.transform)
            drive.mantissa.connect_var(first.neuron.bias_mant)
        else:
            source = SampleSource(files=self._files)
            source.s_out.reshape(net.inp.shape).connect(net.inp)
        (inputs,) = self.network.inputs
        self._lava_shapes = {inputs.name: net.inp.shape}
        for name, layer in zip(self._sizes, net.layers, strict=True):
            depth = self._timetable.depth[name]
            shape = self._lava_shapes[name] = layer.neuron.a_in.shape
            probe = SpikeProbe(files=self._files, population=name, size=math.prod(shape))
            layer.neuron.s_out.flatten().connect(probe.s_in)
            held = self._changes.get(name, {})
            for what, var in held.items():
                if name in self._files.state:
                    values = VarProbe(files=self._files, population=name, what=what, shape=shape)
                    values.values.connect_var(getattr(layer.neuron, var))
                self._empty(getattr(layer.neuron, var), after=depth)
            if name in self._files.state and not held:
                state = StateProbe(files=self._files, population=name, shape=shape)
                state.u.connect_var(layer.neuron.u)
                state.v.connect_var(layer.neuron.v)
            # A buffer is emptied when the layer that fills it has ended a sample.
            if name in self._delayed:
                self._empty(layer.synapse.a_buff, after=depth - 1)
            if hasattr(layer, "synapse_rec"):
                self._empty(layer.synapse_rec.a_buff, after=depth)

    def _empty(self, buffer: Any, after: int) -> None:
        """Empty a buffer at the end of every interval of a layer that runs ``after`` steps late."""
        from lava.proc.io.reset import Reset

        interval = self._timetable.interval
        # Lava's Reset counts steps from 0, all else from 1.
        Reset(interval=interval, offset=(after - 1) % interval).connect_var(buffer)

    def _load(self, batch: SampleBatch) -> None:
        (source,) = self.network.inputs
        lead = batch.values.ndim - len(source.shape)
        shape = self._lava_shapes[source.name][::-1]
        values = batch.values.reshape(*batch.values.shape[:lead], *shape)
        self._files.load(replace(batch, values=_turned(values, lead)), self._lava.elapsed)

    def _run_length(self, batch: SampleBatch) -> int:
        return self._timetable.run_length(len(batch))

    def _recorded(self, population: str, what: str, samples: int) -> np.ndarray:
        rows = self._files.recorded(population, what, samples)
        if what == "u" and population == next(iter(self._sizes)) and self._drive_weight:
            # What enters through a bias is no current in Lava, but one in the deployed network.
            drive = self._files.arrays["drive"][:samples]
            rows += drive * self._drive_weight << ACTIVATION_SHIFT
        turned = _turned(rows.reshape(*rows.shape[:2], *self._lava_shapes[population]), 2)
        return turned.reshape(rows.shape)


def _turned(values: np.ndarray, lead: int) -> np.ndarray:
    """The axes behind the first ``lead`` in reverse: (channels, height, width) is Lava's whc."""
    return values.transpose(*range(lead), *range(values.ndim - 1, lead - 1, -1))
