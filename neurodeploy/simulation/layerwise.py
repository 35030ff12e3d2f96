"""Computing a network in model time: layer by layer over all steps, stepwise where it is recurrent.

Shared by the float and the integer engine, which differ in their steppers and in the number type of
each projection. Inside, tensors are time-first: (T, N, *shape).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from neurodeploy.ir.contract import Contract
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.schedule import components, is_recurrent, step_order
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch, SpikeTrace

if TYPE_CHECKING:
    from neurodeploy.ir.operators import TorchMap


class Stepper(Protocol):
    """One population's state and its step; see ``neurons.dynamics``.

    Attributes:
        sends: type that messages are recorded in.
    """

    sends: torch.dtype

    @property
    def state(self) -> Mapping[str, torch.Tensor]: ...
    def reset(self) -> None: ...
    def step(self, activation: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, eq=False)
class ReadyProjection:
    """A projection made ready to run.

    Attributes:
        apply: from (N, *source) spikes or input integers to (N, *target) activations.
    """

    source: str
    target: str
    delay: int
    apply: TorchMap


class LayerwiseSimulator:
    """Runs batches through a graph.

    Args:
        graph: float or quantised network (``populations``, ``projections``, ``output``).
        contract: gives T.
        steppers: per population with neurons.
        links: one per projection.
        state_dtype: type that states are recorded in.
        device: where steppers and links compute; None for the CPU.
    """

    def __init__(
        self,
        graph: Any,
        contract: Contract,
        steppers: Mapping[str, Stepper],
        links: list[ReadyProjection],
        *,
        state_dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        self.graph = graph
        self.device = device or torch.device("cpu")
        self.steps = contract.steps
        self.steppers = steppers
        self.state_dtype = state_dtype
        self.shapes: dict[str, Shape] = {p.name: p.shape for p in graph.populations}
        self.components = components(graph)
        self.stepped = {group[0] for group in self.components if is_recurrent(graph, group)}
        """The first population of each component that is computed step by step."""
        self.into: dict[str, list[ReadyProjection]] = {name: [] for name in self.shapes}
        for link in links:
            self.into[link.target].append(link)
        self.step_order = step_order(graph)

    @torch.no_grad()
    def run(self, batch: SampleBatch, *, state: bool) -> SpikeTrace:
        """Simulate one batch from reset; ``state`` records the states of every step."""
        with _one_thread():
            return self._run(batch, state)

    def _run(self, batch: SampleBatch, state: bool) -> SpikeTrace:
        recorder = _Recorder(self, len(batch), state, self.graph.output)
        drive = torch.from_numpy(np.ascontiguousarray(batch.values)).to(self.device)
        for component in self.components:
            if component[0] not in self.steppers:
                values = drive if batch.static else drive.transpose(0, 1)
                recorder.input(component[0], values, batch.static)
            elif component[0] in self.stepped:
                self._run_stepwise(component, recorder)
            else:
                self._run_layer(component[0], recorder)
        return recorder.trace(batch.first, self.graph.output)

    def _activations(self, name: str, recorder: _Recorder, inside: set[str]) -> list[torch.Tensor]:
        """Summed input of each step from projections that start outside ``inside``."""
        shape = (recorder.samples, *self.shapes[name])
        total: list[torch.Tensor] | None = None
        for link in self.into[name]:
            if link.source in inside:
                continue
            current = self._over_time(link, recorder)
            total = (
                current if total is None else [a + b for a, b in zip(total, current, strict=True)]
            )
        # Of integers, which sums of any type leave exact: of float32 they would round.
        if total is None:
            return [torch.zeros(shape, dtype=torch.int32, device=self.device)] * self.steps
        return total

    def _over_time(self, link: ReadyProjection, recorder: _Recorder) -> list[torch.Tensor]:
        """Activation of each step through one projection, its delay applied."""
        spikes = recorder.spikes[link.source]
        if link.source in recorder.static:
            current = [link.apply(spikes)] * self.steps
        else:
            current = list(link.apply(spikes.flatten(0, 1)).unflatten(0, (self.steps, -1)))
        if link.delay:
            silence = [torch.zeros_like(current[0])] * min(link.delay, self.steps)
            current = silence + current[: self.steps - len(silence)]
        return current

    def _run_layer(self, name: str, recorder: _Recorder) -> None:
        stepper = self.steppers[name]
        stepper.reset()
        for t, activation in enumerate(self._activations(name, recorder, set())):
            recorder.step(name, t, stepper.step(activation), stepper)

    def _run_stepwise(self, component: list[str], recorder: _Recorder) -> None:
        inside = set(component)
        outside = {name: self._activations(name, recorder, inside) for name in component}
        order = [name for name in self.step_order if name in inside]
        internal = {
            name: [link for link in self.into[name] if link.source in inside] for name in order
        }
        for name in order:
            self.steppers[name].reset()
        for t in range(self.steps):
            for name in order:
                activation = outside[name][t]
                for link in internal[name]:
                    if t >= link.delay:
                        earlier = recorder.spikes[link.source][t - link.delay]
                        activation = activation + link.apply(earlier)
                recorder.step(name, t, self.steppers[name].step(activation), self.steppers[name])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Operations here are short; waiting for a second thread costs more than it computes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Recorder:
    """Collects spikes, and state where asked, of one batch."""

    def __init__(
        self, simulator: LayerwiseSimulator, samples: int, state: bool, needs_v: str
    ) -> None:
        self.simulator = simulator
        self.samples = samples
        self.state = state
        self.spikes: dict[str, torch.Tensor] = {}
        self.static: set[str] = set()
        self.kept: dict[str, dict[str, torch.Tensor]] = {}
        self.needs_v = needs_v

    def input(self, name: str, values: torch.Tensor, static: bool) -> None:
        self.spikes[name] = values
        if static:
            self.static.add(name)

    def step(self, name: str, t: int, sent: torch.Tensor, stepper: Stepper) -> None:
        if name not in self.spikes:
            size = (self.simulator.steps, *sent.shape)
            self.spikes[name] = torch.zeros(size, dtype=stepper.sends, device=sent.device)
            state = stepper.state if self.state or name == self.needs_v else {}
            dtype = self.simulator.state_dtype
            self.kept[name] = {
                what: torch.zeros(size, dtype=dtype, device=value.device)
                for what, value in state.items()
                if self.state or what == "v"
            }
        self.spikes[name][t] = sent
        if self.kept[name]:
            state = stepper.state
            for what, record in self.kept[name].items():
                record[t] = state[what]

    def trace(self, first: int, output: str) -> SpikeTrace:
        populations = {}
        for name, recorded in self.spikes.items():
            spikes = recorded.cpu()
            if name in self.static:
                s = spikes.unsqueeze(1).expand(-1, self.simulator.steps, *spikes.shape[1:])
            else:
                s = spikes.transpose(0, 1)
            kept = self.kept.get(name, {})
            state = {what: record.transpose(0, 1).cpu().numpy() for what, record in kept.items()}
            populations[name] = PopulationTrace.of(s.numpy(), state)
        return SpikeTrace(first, populations, output)
