"""Rules ``sltt``, ``eprop``, ``local`` and ``delta`` in Lava.

Rules ``sltt`` and ``local`` have two forms on chains that give the same weights: ``StockLearner``
has one process per layer of synapses and per population, as on a chip, and a pipeline between them;
``FusedLavaLearner`` holds all layers in one process. So does ``GraphLavaLearner``, for networks
that are no chains and for ``eprop``. Rule ``delta`` is Lava's own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.engine import LavaNetwork
from neurodeploy.lava.onchip.shared import DeltaTimetable, LearningFiles, LearningTimetable
from neurodeploy.onchip.delta_reference import with_learned
from neurodeploy.onchip.graph_plan import GraphPlan
from neurodeploy.onchip.learner import StreamChunk, Trajectory
from neurodeploy.onchip.local_signal import LocalSignal
from neurodeploy.onchip.loihi_rule import EPOCH, DeltaPlan
from neurodeploy.onchip.plan import LearningPlan, SynapsePlan, SynapticPlan


class LavaLearner(ABC):
    """A network that learns inside Lava's runtime, chunk after chunk, always cleaned up.

    Args:
        capacity: most samples in a chunk.
        timeout: wall-clock seconds that all of it may take, or None.
    """

    name: str
    tag = "fixed_pt"

    def __init__(self, *, capacity: int, timeout: float | None) -> None:
        self.capacity = capacity
        self._lava = LavaNetwork(tag=self.tag, timeout=timeout)
        self._files: LearningFiles | None = None

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other.

        Raises:
            SimulationError: Lava failed, or the time limit passed; nothing is left running.
        """
        try:
            if self._files is None:
                _, steps, inputs = chunk.values.shape
                self._lava.start(lambda folder: self._processes(folder, (steps, inputs)))
            assert self._files is not None
            self._files.load(chunk, self._lava.elapsed)
            self._lava.run(self._run_length(len(chunk)))
            return self._files.trajectory(len(chunk))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the Lava processes and remove their files; harmless when done before."""
        self._lava.close()
        self._files = None

    @abstractmethod
    def _make_files(self, folder: Path, drive: tuple[int, int]) -> LearningFiles:
        """The arrays that processes and program share."""

    @abstractmethod
    def _build(self, files: LearningFiles) -> Any:
        """Make the Lava processes; returns one of them."""

    @abstractmethod
    def _run_length(self, samples: int) -> int:
        """Lava time steps that so many samples take."""

    def _processes(self, folder: Path, drive: tuple[int, int]) -> Any:
        self._files = self._make_files(folder, drive)
        return self._build(self._files)


class PlannedLearner(LavaLearner):
    """What has weights and tags in fixed point.

    Attributes:
        changes: whether what changed is recorded, and not every weight after every update.
    """

    changes = False

    def __init__(
        self, plan: SynapticPlan, *, capacity: int = 16, timeout: float | None = None
    ) -> None:
        super().__init__(capacity=capacity, timeout=timeout)
        self.plan = plan
        self._last: Mapping[str, np.ndarray] = {
            synapses.projection.name: synapses.initial() for synapses in plan.synapses
        }

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        trajectory = super().learn(chunk)
        self._last = trajectory.last
        return trajectory

    def learned(self) -> QuantizedNetwork:
        """The network with the weights as they are now."""
        return self.plan.learned(self._last)

    def _make_files(self, folder: Path, drive: tuple[int, int]) -> LearningFiles:
        projections = [synapses.projection for synapses in self.plan.synapses]
        return LearningFiles(
            folder,
            drive,
            {p.name: p.operator.weights.size for p in projections},
            self.plan.steps // self.plan.block,
            self.plan.network.classes,
            self.capacity,
            changes=self.changes,
        )


class ChainLearner(PlannedLearner):
    """Both forms of ``sltt`` and ``local`` on chains."""

    def __init__(self, plan: LearningPlan, **options: Any) -> None:
        super().__init__(plan, **options)
        self.chain = plan
        self.timetable = LearningTimetable(
            *(plan.steps, len(plan.layers), plan.options.update), local=plan.options.rule == "local"
        )

    def _layers(self, synapses: Callable[[SynapsePlan, int], Any]) -> list[tuple[Any, Any]]:
        """Synapses and neurons of each layer, the last neurons being the read-out."""
        from neurodeploy.lava.onchip.layer import FixedNeurons, FixedReadout

        seed = self.plan.options.seed
        return [
            (
                synapses(layer.synapses, seed),
                FixedNeurons(layer) if layer.neurons else FixedReadout(layer, self.plan.readout),
            )
            for layer in self.chain.layers
        ]


class StockLearner(ChainLearner):
    """A process for each layer of synapses and each population."""

    name = "lava"

    def _build(self, files: LearningFiles) -> Any:
        from neurodeploy.lava.onchip.layer import FixedSynapses

        return connect(self._layers(FixedSynapses), files, self.timetable)

    def _run_length(self, samples: int) -> int:
        return samples * self.timetable.interval


class FusedLavaLearner(ChainLearner):
    """All layers in one process, which learns from a chunk in a time step."""

    name = "lava-fused"
    changes = True

    def _build(self, files: LearningFiles) -> Any:
        from neurodeploy.lava.onchip.events import EventSynapses
        from neurodeploy.lava.onchip.processes.process import FusedLearner

        layers = self._layers(EventSynapses)
        return FusedLearner(files=files, timetable=self.timetable, layers=layers)

    def _run_length(self, samples: int) -> int:
        return 1


class GraphLavaLearner(PlannedLearner):
    """Rules ``sltt``, ``eprop`` and ``local`` on networks that are no chains, in one process."""

    name = "lava-fused"
    changes = True

    def __init__(self, plan: GraphPlan, **options: Any) -> None:
        super().__init__(plan, **options)
        self.graph = plan

    def _build(self, files: LearningFiles) -> Any:
        from neurodeploy.lava.onchip.graph import FusedGraph
        from neurodeploy.lava.onchip.graph_processes.process import GraphLearner

        return GraphLearner(files=files, graph=FusedGraph(self.graph))

    def _run_length(self, samples: int) -> int:
        return 1


def connect(
    layers: list[tuple[Any, Any]], files: LearningFiles, timetable: LearningTimetable
) -> Any:
    """Build and connect a process for everything; returns one of them."""
    from neurodeploy.lava.onchip.processes.process import (
        ErrorReadout,
        PlasticNeurons,
        PlasticSynapses,
        StreamSource,
    )

    shared: dict[str, Any] = {"files": files, "timetable": timetable}
    before: Any = StreamSource(**shared)
    for layer, (synapses, neurons) in enumerate(layers, start=1):
        here = PlasticSynapses(synapses=synapses, layer=layer, **shared)
        before.s_out.connect(here.s_in)
        if layer > 1 and not timetable.local:
            here.b_out.connect(before.b_in)
        last = layer == len(layers)
        behind: Any = (
            ErrorReadout(readout=neurons, **shared)
            if last
            else PlasticNeurons(neurons=neurons, layer=layer, **shared)
        )
        here.a_out.connect(behind.a_in)
        behind.e_out.connect(here.e_in)
        before = behind
    return before


class FloatStockLearner(LavaLearner):
    """A process for each layer and population in floating point, to be held against PyTorch.

    Its trajectories hold, instead of weights, the gradient that each projection has accumulated
    over a sample.

    Args:
        signals: of hidden populations, for rule ``local``; rule ``sltt`` has none.
    """

    name = "lava-float"
    tag = "floating_pt"

    def __init__(
        self,
        network: Network,
        *,
        signals: Sequence[LocalSignal] = (),
        capacity: int = 16,
        timeout: float | None = None,
    ) -> None:
        super().__init__(capacity=capacity, timeout=timeout)
        self.network, self.signals = network, signals
        self.timetable = LearningTimetable(
            network.contract.steps, len(network.projections), "sample", local=bool(signals)
        )

    def _make_files(self, folder: Path, drive: tuple[int, int]) -> LearningFiles:
        classes = self.network.classes
        sizes = {p.name: p.operator.weights.size for p in self.network.projections}
        return LearningFiles(folder, drive, sizes, 1, classes, self.capacity, np.float64)

    def _build(self, files: LearningFiles) -> Any:
        from neurodeploy.lava.onchip.layer import float_layers

        return connect(float_layers(self.network, self.signals), files, self.timetable)

    def _run_length(self, samples: int) -> int:
        return samples * self.timetable.interval


class DeltaLavaLearner(LavaLearner):
    """Rule ``delta`` by Lava's own ``LearningDense`` under its own ``Loihi3FLearningRule``.

    Before it are frozen layers, behind it a read-out that sends its error, and a probe.
    """

    name = "lava"

    def __init__(
        self, plan: DeltaPlan, *, capacity: int = 16, timeout: float | None = None
    ) -> None:
        super().__init__(capacity=capacity, timeout=timeout)
        self.plan, self.timetable = plan, DeltaTimetable.of(plan)
        self.projection = plan.link.projection
        self._last = self.projection.operator.weights

    def learn(self, chunk: StreamChunk) -> Trajectory:
        """Go on with these samples, one after the other."""
        trajectory = super().learn(chunk)
        self._last = trajectory.states[self.projection.name][-1, -1].astype(np.int64)
        return trajectory

    def learned(self) -> QuantizedNetwork:
        """The network with the learnt weights, in the format of the deployment."""
        return with_learned(self.plan, self._last)

    def _make_files(self, folder: Path, drive: tuple[int, int]) -> LearningFiles:
        return LearningFiles(
            folder,
            drive,
            {self.projection.name: self.projection.operator.weights.size},
            1 if self.timetable.by_sample else self.plan.steps,
            math.prod(self.plan.link.population.shape),
            self.capacity,
        )

    def _build(self, files: LearningFiles) -> Any:
        from lava.magma.core.learning.learning_rule import Loihi3FLearningRule
        from lava.proc.dense.process import LearningDense
        from lava.utils.weightutils import SignMode

        from neurodeploy.lava.onchip.delta_processes.process import (
            DeltaReadout,
            FrozenLayers,
            WeightProbe,
        )

        weights = self.projection.operator.weights.astype(np.int32)
        outputs, inputs = weights.shape
        rules: dict[str, Any] = dict(self.plan.rules)
        rule = Loihi3FLearningRule(**rules, t_epoch=EPOCH, rng_seed=self.plan.options.seed)
        shared: dict[str, Any] = {"files": files, "timetable": self.timetable}
        source = FrozenLayers(plan=self.plan, size=inputs, **shared)
        dense = LearningDense(
            weights=weights,
            weight_exp=self.projection.exponent,
            sign_mode=SignMode[self.plan.sign.upper()],
            learning_rule=rule,
            name=self.projection.name,
        )
        readout = DeltaReadout(plan=self.plan, size=outputs, learning_rule=rule, **shared)
        probe = WeightProbe(projection=self.projection.name, shape=(outputs, inputs), **shared)
        source.s_out.connect(dense.s_in)
        dense.a_out.connect(readout.a_in)
        readout.s_out_y1.connect(dense.s_in_y1)
        probe.weights.connect_var(dense.weights)
        return readout

    def _run_length(self, samples: int) -> int:
        return samples * self.timetable.interval
