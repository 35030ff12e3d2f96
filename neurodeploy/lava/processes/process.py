"""The processes; their behaviour is in ``models``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.proc.lif.process import LIF

from neurodeploy.ir.quantized import QuantizedProjection
from neurodeploy.lava.shared import SampleFiles


class DeployedLIF(LIF):
    """Lava's LIF with what no stock process has: soft reset, >=, no spikes, silent guard steps.

    And a refractory period in fixed point, which Lava's LIFRefractory has in floats alone.

    It also resets u and v before the first step of every sample, as Lava's LIFReset does.

    Args:
        soft_reset: subtract the threshold after a spike instead of going to 0.
        at_threshold: fire at v >= threshold instead of v > threshold.
        spiking: False for a readout that only integrates.
        refractory_period: steps after a spike in which v is held and no spike can come.
        reset_interval, reset_offset: samples start where time_step % interval == offset.
        guard: steps at the end of each interval in which it is held silent at 0.
        vth: one threshold, or one per neuron, which Lava's LIF cannot hold.
        kwargs: as for Lava's LIF.
    """

    def __init__(
        self,
        *,
        soft_reset: bool,
        at_threshold: bool,
        spiking: bool,
        refractory_period: int,
        reset_interval: int,
        reset_offset: int,
        guard: int,
        vth: int | np.ndarray,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            soft_reset=soft_reset,
            at_threshold=at_threshold,
            spiking=spiking,
            refractory_period=refractory_period,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            guard=guard,
            **kwargs,
        )
        self.vth = Var(shape=np.shape(vth) or (1,), init=vth)


class DeployedSynapses(AbstractProcess):
    """A projection that is too large to be written out for Lava's Sparse: a kernel stays a kernel.

    As with Lava's own, what arrives is sent on one step later, or ``delay`` steps after that.

    Args:
        projection: as quantised.
        delay: extra steps.
    """

    def __init__(self, *, projection: QuantizedProjection, delay: int, name: str) -> None:
        super().__init__(projection=projection, delay=delay, name=name)
        operator = projection.operator
        self.s_in = InPort(shape=(math.prod(operator.input_shape),))
        self.a_out = OutPort(shape=(math.prod(operator.output_shape),))


class SampleSource(AbstractProcess):
    """Sends the encoded input of one sample after the other, then silence.

    Args:
        files: memory-mapped input shared with the program that started the simulation.
        weight, bias: what is sent is value * weight + bias.
    """

    def __init__(self, *, files: SampleFiles, weight: int = 1, bias: int = 0) -> None:
        super().__init__(files=files, weight=weight, bias=bias)
        self.s_out = OutPort(shape=(files.inputs,))


class SpikeProbe(AbstractProcess):
    """Writes the spikes of a population, step by step, into its memory-mapped record."""

    def __init__(self, *, files: SampleFiles, population: str, size: int) -> None:
        super().__init__(files=files, population=population)
        self.s_in = InPort(shape=(size,))


class StateProbe(AbstractProcess):
    """Writes u and v of a population after every step into their memory-mapped records."""

    def __init__(self, *, files: SampleFiles, population: str, shape: tuple[int, ...]) -> None:
        super().__init__(files=files, population=population)
        self.u = RefPort(shape=shape)
        self.v = RefPort(shape=shape)


class VarProbe(AbstractProcess):
    """Writes one Var of a population after every step into its memory-mapped record."""

    def __init__(
        self, *, files: SampleFiles, population: str, what: str, shape: tuple[int, ...]
    ) -> None:
        super().__init__(files=files, population=population, what=what)
        self.values = RefPort(shape=shape)


class BiasDrive(AbstractProcess):
    """Feeds samples to neurons through their biases, one step ahead, for the step that follows.

    Args:
        files: memory-mapped input shared with the program that started the simulation.
        shape: of the neurons.
        weight, bias: a neuron's bias mantissa becomes value * weight + bias.
    """

    def __init__(
        self, *, files: SampleFiles, shape: tuple[int, ...], weight: int, bias: int
    ) -> None:
        super().__init__(files=files, shape=shape, weight=weight, bias=bias)
        self.mantissa = RefPort(shape=shape)
