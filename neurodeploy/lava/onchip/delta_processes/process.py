"""The processes; their behaviour is in ``models``."""

from __future__ import annotations

from typing import Any

from lava.magma.core.process.neuron import LearningNeuronProcess
from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess

from neurodeploy.lava.onchip.shared import DeltaTimetable, LearningFiles
from neurodeploy.onchip.loihi_rule import DeltaPlan


class FrozenLayers(AbstractProcess):
    """The layers that do not learn: their last spikes, one model step per epoch.

    Args:
        plan: whose network they are part of.
        size: neurons of the last of them.
    """

    def __init__(
        self, *, files: LearningFiles, timetable: DeltaTimetable, plan: DeltaPlan, size: int
    ) -> None:
        super().__init__(files=files, timetable=timetable, plan=plan)
        self.s_out = OutPort(shape=(size,))


class DeltaReadout(LearningNeuronProcess, AbstractProcess):
    """A read-out that sends minus its error as third factor y1."""

    def __init__(
        self,
        *,
        files: LearningFiles,
        timetable: DeltaTimetable,
        plan: DeltaPlan,
        size: int,
        learning_rule: Any,
    ) -> None:
        super().__init__(
            shape=(size,),
            learning_rule=learning_rule,
            files=files,
            timetable=timetable,
            plan=plan,
            size=size,
        )
        self.a_in = InPort(shape=(size,))


class WeightProbe(AbstractProcess):
    """Records the weights of a ``LearningDense`` after every update."""

    def __init__(
        self,
        *,
        files: LearningFiles,
        timetable: DeltaTimetable,
        projection: str,
        shape: tuple[int, int],
    ) -> None:
        super().__init__(files=files, timetable=timetable, projection=projection)
        self.weights = RefPort(shape=shape)
