"""The process; its behaviour is in ``models``."""

from __future__ import annotations

from lava.magma.core.process.process import AbstractProcess

from neurodeploy.lava.onchip.graph import FusedGraph
from neurodeploy.lava.onchip.shared import LearningFiles


class GraphLearner(AbstractProcess):
    """A network with loops, shortcuts and traces; a chunk of samples per Lava time step."""

    def __init__(self, *, files: LearningFiles, graph: FusedGraph) -> None:
        super().__init__(files=files, graph=graph)
