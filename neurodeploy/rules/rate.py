"""Rate-based backpropagation (Yu et al., NeurIPS 2024)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.constants import Learning, Parameter
from neurodeploy.nn.current import LI, CubaLIF, spiking
from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.layers import Delay
from neurodeploy.nn.loss import OwnStepsLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.spikes import membrane_dtype
from neurodeploy.nn.steps import Stateful, StepsAtOnce, remembers_by_itself
from neurodeploy.rules.any_module import Forward, LossOfStep, Model, replaced
from neurodeploy.rules.feeding import parts
from neurodeploy.rules.rule import Batch, BatchResult, Loss, Rule, Update
from neurodeploy.sparsity import PricedLoss

REMEMBERING = (LI, Delay, DelayedLinear)
"""Layers whose mean does not follow from the mean of what they read, as is needed here."""


@dataclass(frozen=True)
class Rate(Rule):
    """T steps forward without a graph, then one backward pass through mean rates.

    r^l = mean_t s^l[t]                                             rate
    E^l = mean_t rho^l[t] ds^l/du^l[t]                              dr/dc of a constant input c
    rho[1] = 1, rho[t+1] = 1 + (1 - 1/tau) rho[t] dv/du             du[t]/dc
    L = l(mean_t o[t], y), dL/dc^l = dL/dr^l E^l, dL/dW^l = (dL/dc^l)^T r^(l-1)

    (Yu et al. 2024, section 4; c^l = W^l r^(l-1) + b^l.) The reset is detached: dv/du is 1 for
    ``subtract`` and 1 - s for ``zero``. Behind a synaptic current, du[t]/dc is dI[t]/dc instead of
    1 more than what is kept: dI[1]/dc = 1, dI[t+1]/dc = 1 + (1 - 1/tau_syn) dI[t]/dc. The first
    layer's rate is the mean of all T frames. Beside the weights, memory for backward is that of one
    step, whatever T is. Of samples that last different numbers of steps, every mean is one over a
    sample's own.

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
    waits_for_all_steps: ClassVar[bool] = True

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add dl(mean_t o[t], y)/dW; the loss that is reported is the mean of l(o[t], y)."""
        _check_memoryless(model)
        priced = loss if isinstance(loss, PricedLoss) else None
        if priced is not None:
            loss = priced.of_outputs
        if isinstance(loss, LossOfStep) and loss.steps:
            raise UnsupportedError(
                "rule rate compares the mean output with one target; for a target of each step use "
                "sltt, ottt or bptt"
            )
        lengths = loss.lengths if isinstance(loss, OwnStepsLoss) else None
        of_means = loss.of_step if isinstance(loss, OwnStepsLoss) else loss
        model.reset_state(cut=True)
        with _recording(model, batch.size, lengths) as stand_ins, torch.no_grad():
            outputs, summed = self._record(model, batch)
            for layer, stand_in in stand_ins.items():
                if isinstance(stand_in, RecordedLIF) and stand_in.steps > batch.steps:
                    raise UnsupportedError(
                        f"rule rate: a {type(layer).__name__} is used twice in a step, and has one "
                        "membrane"
                    )
            reported = loss.over_steps(outputs, batch.labels) / batch.steps
        with replaced({layer: stand_in.replay for layer, stand_in in stand_ins.items()}):
            rate = _over_own_steps(summed, lengths, batch.steps)
            if priced is None:
                of_means(model(rate), batch.labels).backward()
            else:
                priced.forget()
                priced.of_rates(of_means(model(rate), batch.labels)).backward()
        model.reset_state()
        update()
        return BatchResult(reported, outputs.sum(0))

    def _record(self, model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
        """Outputs (T, N, classes) of the spiking pass and the summed frames (N, *sample)."""
        feed, outputs, summed = iter(batch.frames), [], torch.zeros((), device=batch.labels.device)
        for count in parts(batch.steps, batch.steps if self.variant == "m" else 1):
            frames = torch.stack([*itertools.islice(feed, count)])
            # A layer takes the samples of several steps for one large batch.
            given = model(frames.flatten(0, 1))
            outputs.append(given.unflatten(0, (count, -1)))
            summed = summed + frames.sum(0)
        return torch.cat(outputs), summed


class StandIn(Protocol):
    """What is called in a layer's place."""

    def record(self, x: Tensor) -> Tensor:
        """In the spiking pass, without a graph: (c, N, ...) to (c, N, ...)."""
        ...

    def replay(self, x: Tensor) -> Tensor:
        """In the pass of rates that goes backward: (N, ...) to (N, ...)."""
        ...


def _check_memoryless(model: Model) -> None:
    """Refuse networks whose layers act on the next step, which mean rates do not see."""
    if isinstance(model, SpikingNetwork):
        fed_back = f"layers {', '.join(model.fed_back)}" if model.fed_back else ""
    else:
        own = (part for part in model.modules() if remembers_by_itself(part))
        fed_back = ", ".join(sorted({type(part).__name__ for part in own}))
    if any(isinstance(part, Learning) and part.learns for part in model.modules()):
        raise UnsupportedError(
            "rule rate: mean rates say nothing of time constants that are to be learned; use bptt, "
            "ottt or sltt"
        )
    if any(isinstance(part, LIF) and part.refractory_period for part in model.modules()):
        raise UnsupportedError(
            "rule rate: neurons that rest after a spike (refractory_period) are not driven by "
            "their mean input; use bptt or sltt"
        )
    ours = {type(part).__name__ for part in model.modules() if isinstance(part, REMEMBERING)}
    fed_back = fed_back or ", ".join(sorted(ours))
    if fed_back:
        raise UnsupportedError(
            f"rule rate: {fed_back} act on the next step, which mean rates do not see; use bptt, "
            "ottt or sltt"
        )


@contextmanager
def _recording(
    model: Model, samples: int, lengths: Tensor | None = None
) -> Iterator[dict[nn.Module, StandIn]]:
    """Let layers take c N samples as c steps of N, and yield the stand-ins that take notes."""
    found: dict[nn.Module, StandIn] = {}
    calls: dict[nn.Module, Forward] = {}
    inner = {part.lif for part in model.modules() if isinstance(part, CubaLIF)}
    for layer in model.modules():
        if layer in inner:
            continue
        if isinstance(layer, LIF | CubaLIF):
            found[layer] = RecordedLIF(layer, lengths)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
            found[layer] = RecordedNorm(layer)
        elif not isinstance(layer, Stateful) or isinstance(layer, SpikingNetwork):
            continue
        several = found[layer].record if layer in found else partial(_each, layer)
        calls[layer] = partial(_on_steps, several, samples)
    with replaced(calls):
        yield found


def _each(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer itself, whatever stands in its place, makes of each of c steps, (c, N, ...)."""
    if isinstance(layer, StepsAtOnce):
        return layer.over_steps(x)
    return torch.stack([type(layer).forward(layer, step) for step in x])


def _on_steps(call: Forward, samples: int, x: Tensor) -> Tensor:
    """What a call on (c, N, ...) makes of (c N, ...)."""
    return call(x.unflatten(0, (-1, samples))).flatten(0, 1)


class RecordedLIF:
    """A neuron layer that first sums up its rate and eligibility, then stands in for itself.

    Behind a current, the eligibility of a bias of the membrane itself is kept beside it.
    """

    def __init__(self, layer: LIF | CubaLIF, lengths: Tensor | None = None) -> None:
        """``lengths``: (N,) steps of each sample that count; None for all."""
        self.layer = layer
        self.lif = spiking(layer)
        self.lengths = lengths
        self.steps = 0
        self._rate = torch.zeros(())
        self._of_input, self._of_bias = Eligibility(), Eligibility()
        self._by_current: Tensor | float = 1.0

    def record(self, x: Tensor) -> Tensor:
        """Spikes of some steps; rho[t] is du[t]/dc, with the reset detached."""
        lif, layer = self.lif, self.layer
        drive = layer.driven(x) if isinstance(layer, CubaLIF) else x
        membranes = torch.empty_like(drive, dtype=membrane_dtype(drive))
        spikes = lif.integrate(drive, membranes.unbind())
        if self.steps == 0:
            self._rate = torch.zeros_like(membranes[0])
        for t, (u, s) in enumerate(zip(membranes, spikes, strict=True), self.steps):
            own = 1.0 if self.lengths is None else _per_sample(t < self.lengths, s).to(s.dtype)
            derivative = lif.surrogate(u - lif.v_threshold, lif.v_threshold) * own
            self._rate += s * own
            forgotten = 1.0 if lif.reset == "subtract" else 1 - s
            self._of_input.add(self._by_current, derivative, lif.keep, forgotten)
            if isinstance(layer, CubaLIF):
                self._by_current = 1 + layer.u_keep * self._by_current
                if layer.bias is not None:
                    self._of_bias.add(1.0, derivative, lif.keep, forgotten)
        self.steps += len(x)
        return spikes.to(x.dtype)

    def replay(self, x: Tensor) -> Tensor:
        """The rate as value, the eligibility as derivative."""
        rate, of_input = self._mean(self._rate), self._mean(self._of_input.total)
        eligible = x * of_input
        if isinstance(self.layer, CubaLIF) and self.layer.bias is not None:
            eligible = eligible + self.layer.bias * self._mean(self._of_bias.total)
        return rate + (eligible - eligible.detach())

    def _mean(self, summed: Tensor) -> Tensor:
        return _over_own_steps(summed, self.lengths, self.steps)


def _over_own_steps(summed: Tensor, lengths: Tensor | None, steps: int) -> Tensor:
    """The mean over steps of what was summed up, (N, ...): a sample's own, or all of them."""
    return summed / (steps if lengths is None else _per_sample(lengths, summed).to(summed.dtype))


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    """(N,) values with as many axes as (N, ...) has."""
    return values.view(-1, *[1] * (like.ndim - 1))


class Eligibility:
    """sum_t rho[t] ds/du[t] of one constant that drives neurons.

    Attributes:
        total: the sum so far.
    """

    def __init__(self) -> None:
        self.total: Tensor = torch.zeros(())
        self._kept: Tensor | float = 0.0

    def add(
        self,
        arriving: Tensor | float,
        derivative: Tensor,
        keep: Parameter,
        forgotten: Tensor | float,
    ) -> None:
        """One more step.

        Args:
            arriving: what the constant adds to u in this step, as a derivative.
            derivative: ds/du.
            forgotten: dv/du of the reset.
        """
        rho = arriving + self._kept
        self.total = self.total.to(derivative) + rho * derivative
        self._kept = keep * (rho * forgotten)


class RecordedNorm:
    """A batch norm that first notes its statistics, then normalises rates with them."""

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        self.layer = layer
        self._calls = 0
        self._mean = self._precision = torch.zeros(())

    def record(self, x: Tensor) -> Tensor:
        """Normalise all these steps together; add up the mean and 1/(variance + eps)."""
        samples = x.flatten(0, 1)
        variance, mean = torch.var_mean(samples, self._axes(samples), correction=0, keepdim=True)
        self._mean = self._mean.to(x) + mean
        self._precision = self._precision.to(x) + 1 / (variance + self.layer.eps)
        self._calls += 1
        # The layer itself: its call leads here.
        normal = type(self.layer).forward(self.layer, samples)  # pyright: ignore[reportArgumentType]
        return normal.unflatten(0, x.shape[:2])

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


def _with_gradient(value: Tensor, source: Tensor) -> Tensor:
    """``value`` with the gradient of ``source``."""
    return value + (source - source.detach())
