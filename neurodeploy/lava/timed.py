"""What Lava processes of neurons share that run one sample after the other.

Import it only after ``compat.require_lava``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var

from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Shape


class TimedNeurons(AbstractProcess):
    """Neurons of one population, with a Var for everything that they keep.

    Args:
        neuron: their parameters.
        population: shape of the population.
        reset_interval, reset_offset: samples start where time_step % interval == offset.
        guard: steps at the end of each interval in which it is held silent.
    """

    def __init__(
        self,
        *,
        neuron: IntegerModel,
        population: Shape,
        reset_interval: int,
        reset_offset: int,
        guard: int,
        name: str,
    ) -> None:
        super().__init__(
            neuron=neuron,
            population=population,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            guard=guard,
            name=name,
        )
        shape = (math.prod(population),)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        for state in neuron.states:
            setattr(self, state, Var(shape=shape, init=0))


class TimedNeuronsModel(PyLoihiProcessModel):
    """Their model; what they keep is declared in it as Lava declares Vars, by the same names."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.neuron: Any = proc_params["neuron"]
        self.population: Shape = proc_params["population"]
        self.reset_interval = proc_params["reset_interval"]
        self.reset_offset = proc_params["reset_offset"] % self.reset_interval
        self.guard = proc_params["guard"]

    def per_neuron(self, values: np.ndarray) -> np.ndarray:
        """A parameter as int32 per neuron; (1,) where all share one, which computes faster."""
        array = np.broadcast_to(values, self.population).ravel()
        return (array[:1] if (array == array[0]).all() else array).astype(np.int32)

    @abstractmethod
    def advance(self, activation: np.ndarray) -> np.ndarray:
        """One step: from the summed input to what is sent, int32.

        Shapes are (neurons,) in a process of its own, and (N, neurons) in a batch.
        """

    def batch(self, shape: tuple[int, ...]) -> None:
        """Take a state of that shape, at the start of a sample."""
        for state in self.neuron.states:
            setattr(self, state, np.zeros(shape, np.int32))
        self.begin_sample()

    def begin_sample(self) -> None:
        """As at the start of a sample: everything at 0."""
        for state in self.neuron.states:
            getattr(self, state)[:] = 0

    def run_spk(self) -> None:
        """Reset at the first step of a sample, hold still in guard steps, else one step."""
        position = (self.time_step - self.reset_offset) % self.reset_interval
        if position >= self.reset_interval - self.guard:
            self.a_in.recv()
            self.begin_sample()
            self.s_out.send(np.zeros(self.s_out.shape, np.int32))
            return
        if position == 0:
            self.begin_sample()
        self.s_out.send(self.advance(self.a_in.recv()))
