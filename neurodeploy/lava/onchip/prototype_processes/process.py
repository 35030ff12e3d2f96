"""The processes; their behaviour is in ``models``."""

from __future__ import annotations

from lava.magma.core.process.ports.ports import InPort, OutPort, RefPort
from lava.magma.core.process.process import AbstractProcess

from neurodeploy.lava.onchip.shared import LearningFiles
from neurodeploy.onchip.prototype_plan import PrototypePlan


class PrototypeSource(AbstractProcess):
    """The layers that do not learn, and the labels.

    It sends a sample's spikes, counted and centred; then how much of them a prototype has to agree
    with that knows it; then what it learns, and the label.
    """

    def __init__(self, *, files: LearningFiles, plan: PrototypePlan) -> None:
        super().__init__(files=files, plan=plan)
        self.s_out = OutPort(shape=(plan.rows.shape[1],))
        self.limit_out = OutPort(shape=(1,))
        self.label_out = OutPort(shape=(1,))


class WinnerTakesAll(AbstractProcess):
    """Lets the prototype through that agrees most with a sample, and no other.

    It knows whose prototypes are, and sends which one is to learn, or that one is to be allocated;
    and for Lava's detector of what is new that it waits for one, and that one was heard.
    """

    def __init__(self, *, files: LearningFiles, plan: PrototypePlan) -> None:
        super().__init__(files=files, plan=plan)
        shape = (len(plan.rows),)
        self.a_in = InPort(shape=shape)
        self.limit_in = InPort(shape=(1,))
        self.s_out = OutPort(shape=shape)
        self.id_out = OutPort(shape=(1,))
        self.allocate_out = OutPort(shape=(1,))
        self.asked_out = OutPort(shape=(1,))
        self.heard_out = OutPort(shape=(1,))


class PrototypeRates(AbstractProcess):
    """Makes a prototype's y1 the smaller, the more samples it has learnt from."""

    def __init__(self, *, plan: PrototypePlan) -> None:
        super().__init__(plan=plan)
        shape = (len(plan.rows),)
        self.y1_in = InPort(shape=shape)
        self.bap_in = InPort(shape=shape)
        self.y1_out = OutPort(shape=shape)


class PrototypeProbe(AbstractProcess):
    """Records the class that the read-out names, and the weights after every sample."""

    def __init__(self, *, files: LearningFiles, plan: PrototypePlan) -> None:
        super().__init__(files=files, plan=plan)
        self.answer_in = InPort(shape=(1,))
        self.weights = RefPort(shape=plan.rows.shape)
