"""Rate-based backpropagation (Yu et al., NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.networks.network import SpikingNetwork, Stateful
from neurodeploy.training.neuron import LIF
from neurodeploy.training.rules.rule import Batch, BatchResult, Rule, Update


@dataclass(frozen=True)
class Rate(Rule):
    """T steps forward without a graph, then one backward pass through mean rates.

    r^l = mean_t s^l[t]                                             rate
    E^l = mean_t rho^l[t] ds^l/du^l[t]                              dr/dc of a constant input c
    rho[1] = 1, rho[t+1] = 1 + (1 - 1/tau) rho[t] dv/du             du[t]/dc
    L = l(mean_t o[t], y), dL/dc^l = dL/dr^l E^l, dL/dW^l = (dL/dc^l)^T r^(l-1)

    (Yu et al. 2024, section 4; c^l = W^l r^(l-1) + b^l.) The reset is detached: dv/du is 1 for
    ``subtract`` and 1 - s for ``zero``. The first layer's rate is the mean of all T frames. Beside
    the weights, memory for backward is that of one step, whatever T is.

    Batch norm has the statistics of the spiking passes, and its gradient is that of the ordinary
    batch norm of the rate with those statistics.

    The authors' code further divides the gradient by T; here it is that of L itself, and so
    exact for the readout. Their results use tau = 1.25 (a decay of 0.2) and the sigmoid surrogate.

    Attributes:
        variant: ``m`` runs all T steps layer by layer, with batch norm over steps and samples at
            once, and so holds a layer's values of T steps, without a graph, while it runs; ``s``
            runs step by step, with batch norm over the samples of each step.
    """

    variant: Literal["m", "s"] = "m"

    def train_batch(
        self,
        model: SpikingNetwork,
        batch: Batch,
        loss: InstantaneousLoss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add dl(mean_t o[t], y)/dW; the loss that is reported is the mean of l(o[t], y)."""
        if model.fed_back:
            raise UnsupportedError(
                f"rule rate: layers {', '.join(model.fed_back)} act on the next step, which mean "
                "rates do not see; use bptt, ottt or sltt"
            )
        stand_ins = self._stand_ins(model, batch.steps if self.variant == "m" else 1)
        model.reset_state(cut=True)
        recording = {module: stand_in.record for module, stand_in in stand_ins.items()}
        with torch.no_grad(), forwards_replaced(recording):
            outputs, rate = self._run(model, batch)
            losses = torch.stack([loss(step, batch.labels) for step in outputs])
        with forwards_replaced({module: stand_in.replay for module, stand_in in stand_ins.items()}):
            loss(model(rate), batch.labels).backward()
        model.reset_state()
        update()
        return BatchResult(losses.mean(), outputs.sum(0))

    def _run(self, model: SpikingNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
        """Outputs (T, N, classes) of the spiking pass and the mean frame (N, *sample)."""
        if self.variant == "m":
            frames = torch.stack(list(batch.frames))
            outputs = model(frames.flatten(0, 1))
            return outputs.unflatten(0, frames.shape[:2]), frames.mean(0)
        outputs, summed = [], torch.zeros((), device=batch.labels.device)
        for frame in batch.frames:
            outputs.append(model(frame))
            summed = summed + frame
        return torch.stack(outputs), summed / batch.steps

    @staticmethod
    def _stand_ins(model: SpikingNetwork, steps_per_call: int) -> dict[nn.Module, StandIn]:
        """For each module to which it matters that samples of several steps come at once."""
        found: dict[nn.Module, StandIn] = {}
        for module in model.layers.modules():
            if isinstance(module, LIF):
                found[module] = RecordedLIF(module, steps_per_call)
            elif isinstance(module, BATCH_NORMS):
                if module.training:
                    found[module] = RecordedNorm(module)
            elif isinstance(module, Stateful):
                found[module] = StepByStep(module, steps_per_call)
        return found


class StandIn(Protocol):
    """What is called in a module's place."""

    def record(self, x: Tensor) -> Tensor:
        """In the spiking pass, without a graph."""
        ...

    def replay(self, x: Tensor) -> Tensor:
        """In the pass of rates that goes backward."""
        ...


class StepByStep:
    """Gives a module with a state of its own one step at a time, for example a dropout mask."""

    def __init__(self, module: nn.Module, steps_per_call: int) -> None:
        self._forward = module.forward
        self.steps_per_call = steps_per_call

    def record(self, x: Tensor) -> Tensor:
        """(steps N, ...) to the same."""
        return torch.cat([self.replay(part) for part in x.chunk(self.steps_per_call)])

    def replay(self, x: Tensor) -> Tensor:
        """What the module does at any step."""
        return self._forward(x)


class RecordedLIF:
    """A neuron layer that first sums up its rate and eligibility, then stands in for itself."""

    def __init__(self, layer: LIF, steps_per_call: int) -> None:
        self.layer = layer
        self.steps_per_call = steps_per_call
        self._steps = 0
        self._rate = self._eligibility = torch.zeros(())
        self._rho: Tensor | float = 1.0

    def record(self, x: Tensor) -> Tensor:
        """Spikes (steps N, ...) of one or more steps, whose inputs are stacked in ``x``."""
        return torch.cat([self._record_step(part) for part in x.chunk(self.steps_per_call)])

    def _record_step(self, x: Tensor) -> Tensor:
        """One step; rho[t] is du[t]/dc, with the reset detached."""
        neuron = self.layer.recipe
        u, s = self.layer.step(x)
        if self._steps == 0:
            self._rate, self._eligibility = torch.zeros_like(s), torch.zeros_like(s)
        derivative = self.layer.surrogate(u - neuron.v_threshold, neuron.v_threshold)
        self._rate += s
        self._eligibility += self._rho * derivative
        kept = self._rho if neuron.reset == "subtract" else self._rho * (1 - s)
        self._rho = 1 + (1 - 1 / neuron.tau) * kept
        self._steps += 1
        return s

    def replay(self, x: Tensor) -> Tensor:
        """The rate as value, the eligibility as derivative."""
        eligible = x * (self._eligibility / self._steps)
        return self._rate / self._steps + (eligible - eligible.detach())


class RecordedNorm:
    """A batch norm that first notes its statistics, then normalises rates with them."""

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        self.layer = layer
        self._forward = layer.forward
        self._calls = 0
        self._mean = self._precision = torch.zeros(())

    def record(self, x: Tensor) -> Tensor:
        """Normalise as ever; add up the mean and 1/(variance + eps) of each call."""
        variance, mean = torch.var_mean(x, self._axes(x), correction=0, keepdim=True)
        self._mean = self._mean.to(x) + mean
        self._precision = self._precision.to(x) + 1 / (variance + self.layer.eps)
        self._calls += 1
        return self._forward(x)

    def replay(self, x: Tensor) -> Tensor:
        """Batch norm of rates: statistics of the spiking pass, gradient also through them."""
        axes = self._axes(x)
        mean = _with_gradient(self._mean / self._calls, x.mean(axes, keepdim=True))
        variance = (x - mean).square().mean(axes, keepdim=True)
        normal = (x - mean) * _with_gradient(self._calls / self._precision, variance).rsqrt()
        if self.layer.affine:
            shape = mean.shape
            normal = normal * self.layer.weight.view(shape) + self.layer.bias.view(shape)
        return normal

    @staticmethod
    def _axes(x: Tensor) -> list[int]:
        """All but the channels."""
        return [axis for axis in range(x.ndim) if axis != 1]


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _with_gradient(value: Tensor, source: Tensor) -> Tensor:
    """``value`` with the gradient of ``source``."""
    return value + (source - source.detach())


@contextmanager
def forwards_replaced(forwards: Mapping[nn.Module, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Let modules compute something else for a while, wherever in a network they are."""
    for module, forward in forwards.items():
        # An attribute of the object, which hides the method of its class until it is removed.
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.__dict__["forward"]
