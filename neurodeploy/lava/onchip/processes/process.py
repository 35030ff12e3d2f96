"""The processes; their behaviour is in ``models``."""

from __future__ import annotations

from typing import Any

from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

from neurodeploy.lava.onchip.shared import LearningFiles, LearningTimetable


class StreamSource(AbstractProcess):
    """Sends the input of each model step at its time, and silence in between."""

    def __init__(self, *, files: LearningFiles, timetable: LearningTimetable) -> None:
        super().__init__(files=files, timetable=timetable)
        self.s_out = OutPort(shape=(files.inputs,))


class PlasticSynapses(AbstractProcess):
    """Synapses that learn from the spikes before them and the errors behind them.

    Args:
        synapses: what they compute, ``FixedSynapses`` or ``FloatSynapses``.
        layer: 1 for the first.
    """

    def __init__(
        self, *, files: LearningFiles, timetable: LearningTimetable, synapses: Any, layer: int
    ) -> None:
        super().__init__(files=files, timetable=timetable, synapses=synapses, layer=layer)
        outputs, inputs = synapses.table.shape
        self.s_in = InPort(shape=(inputs,))
        self.a_out = OutPort(shape=(outputs,))
        self.e_in = InPort(shape=(outputs,))
        self.b_out = OutPort(shape=(inputs,))


class PlasticNeurons(AbstractProcess):
    """A hidden population that spikes, and turns what comes back through its synapses into errors.

    Args:
        neurons: what they compute, ``FixedNeurons`` or ``FloatNeurons``.
    """

    def __init__(
        self, *, files: LearningFiles, timetable: LearningTimetable, neurons: Any, layer: int
    ) -> None:
        super().__init__(files=files, timetable=timetable, neurons=neurons, layer=layer)
        self.a_in = InPort(shape=(neurons.size,))
        self.s_out = OutPort(shape=(neurons.size,))
        self.b_in = InPort(shape=(neurons.size,))
        self.e_out = OutPort(shape=(neurons.size,))


class ErrorReadout(AbstractProcess):
    """The read-out, which knows the label and sends the error of every step.

    Args:
        readout: what it computes, ``FixedReadout`` or ``FloatReadout``.
    """

    def __init__(self, *, files: LearningFiles, timetable: LearningTimetable, readout: Any) -> None:
        super().__init__(files=files, timetable=timetable, readout=readout)
        self.a_in = InPort(shape=(readout.size,))
        self.e_out = OutPort(shape=(readout.size,))


class FusedLearner(AbstractProcess):
    """All layers in one process; a chunk of samples per Lava time step.

    Args:
        layers: (synapses, neurons) of each layer, the last neurons being the read-out.
    """

    def __init__(self, *, files: LearningFiles, timetable: LearningTimetable, layers: Any) -> None:
        super().__init__(files=files, timetable=timetable, layers=layers)
