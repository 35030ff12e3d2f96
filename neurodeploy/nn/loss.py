"""The loss of one step, l(o[t], y) in L = (1/T) sum_t l(o[t], y) (Meng et al. 2023, eq. 14).

A sample that lasts fewer steps has a mean over its own. L may be that of the mean output instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from neurodeploy.recipe import LossOver, MseTarget


@dataclass(frozen=True)
class InstantaneousLoss:
    """l = (1 - a) CE(o, y) + a MSE(o, target), each a mean over samples (MSE also over classes).

    With class weights w, a sample counts w_y times in the mean, which still divides by the number
    of samples: the losses of a batch's pieces add up whatever classes are in them.

    With target ``ones`` the second term does not classify: it keeps all outputs near 1. That is
    the authors' default (a = 0.05, their option ``loss_means`` = 1); ``one_hot`` is their choice
    for DVS-CIFAR10 (option ``mse_n_reg``).

    It is computed in float32, or in the outputs' dtype where that is wider.

    Attributes:
        mse_weight: a, 0 <= a <= 1.
        mse_target: what the outputs are drawn to.
        over: whether a batch's loss is the mean of l over ``steps``, or l of the ``mean`` output.
        class_weights: w, one per class; none when empty.
        factor: of the whole. For a piece of a batch, its share: the losses of all pieces then add
            up to the batch's, and their gradients to the batch's gradient.
    """

    mse_weight: float = 0.0
    mse_target: MseTarget = "ones"
    class_weights: tuple[float, ...] = ()
    factor: float = 1.0
    over: LossOver = "steps"

    def of_batch(self, lengths: Tensor | None, samples: Tensor, steps: int) -> OwnStepsLoss | None:
        """What looks after the steps of a batch; None where all count alike.

        Args:
            lengths: steps that each sample lasts, (N,), from 1 to T; None where all last T.
            samples: anything of N entries on the device of the outputs.
            steps: T.
        """
        if self.over == "steps":
            return None if lengths is None else OwnStepsLoss(self, lengths, steps)
        if lengths is None:
            lengths = torch.full((len(samples),), steps, device=samples.device)
        return MeanOutputLoss(self, lengths, steps)

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of one step, a scalar.

        Args:
            outputs: o[t], (N, classes).
            labels: y, (N,) int64.
        """
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        loss = self._mean(outputs, labels)
        return loss if self.factor == 1 else self.factor * loss

    def over_steps(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Sum of the losses of c steps, a scalar.

        Args:
            outputs: o[t], (c, N, classes).
            labels: y, (N,) int64.
        """
        steps = len(outputs)
        # Every step has as many samples, so the mean over all of them is the mean over steps.
        return steps * self(outputs.flatten(0, 1), _repeated(labels, steps))

    def each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of each sample, (N,), of which the loss of a step is the mean."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        loss = self._each(outputs, labels)
        return loss if self.factor == 1 else self.factor * loss

    def read(self, total: Tensor, steps: Tensor) -> Tensor:
        """The class of each sample, argmax of sum_t o[t], (N,) int64.

        Args:
            total: that sum over a sample's own steps, (N, classes).
            steps: how many these are, (N,).
        """
        _ = steps
        return total.argmax(1)

    def summed_score(self, total: Tensor, steps: Tensor, labels: Tensor) -> float:
        """How many samples have their largest output at their label."""
        return float((self.read(total, steps) == labels).sum())

    def _mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean over samples, as the class says it."""
        if self.class_weights:
            return self._each(outputs, labels).mean()
        cross_entropy = F.cross_entropy(outputs, labels)
        if self.mse_weight == 0:
            return cross_entropy
        error = F.mse_loss(outputs, self._target(outputs, labels))
        return (1 - self.mse_weight) * cross_entropy + self.mse_weight * error

    def _each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Of each sample, which counts as often as its class's weight says."""
        loss = F.cross_entropy(outputs, labels, reduction="none")
        if self.mse_weight:
            error = (outputs - self._target(outputs, labels)).square().mean(1)
            loss = (1 - self.mse_weight) * loss + self.mse_weight * error
        if not self.class_weights:
            return loss
        return loss * outputs.new_tensor(self.class_weights)[labels]

    def _target(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """What the squared error draws the outputs to."""
        if self.mse_target == "ones":
            return torch.ones_like(outputs)
        return F.one_hot(labels, outputs.shape[1]).to(outputs.dtype)


@dataclass(frozen=True)
class ValueLoss(InstantaneousLoss):
    """l = MSE(o, (y - mean) / deviation), a mean over samples and outputs, of values y.

    Outputs so learn numbers about 0 and 1, in whatever units the data are. What the other
    attributes say of classes plays no part.

    Attributes:
        mean, deviation: of the training samples' values.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def read(self, total: Tensor, steps: Tensor) -> Tensor:
        """Values in units of the data, (N, outputs) float64.

        Args:
            total: sum of o[t] over a sample's own steps, (N, outputs).
            steps: how many these are, (N,).
        """
        return self.mean + self.deviation * total.double() / steps[:, None]

    def summed_score(self, total: Tensor, steps: Tensor, labels: Tensor) -> float:
        """Sum over samples of the symmetric percentage error, 0 to 200, of a mean over outputs."""
        found, wanted = self.read(total, steps), labels.double()
        size = (found.abs() + wanted.abs()).clamp(min=torch.finfo(torch.float64).tiny)
        return float((200 * (found - wanted).abs() / size).mean(1).sum())

    def _mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self._each(outputs, labels).mean()

    def _each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        wanted = ((labels - self.mean) / self.deviation).to(outputs.dtype)
        return (outputs - wanted).square().mean(1)


def _repeated(labels: Tensor, steps: int) -> Tensor:
    """Labels of c steps one after the other, (c N, ...)."""
    return labels.repeat(steps, *[1] * (labels.ndim - 1))


class OwnStepsLoss:
    """The loss of samples that last different numbers of steps: only a sample's own steps count.

    L = (1/N) sum_n (1/T_n) sum_{t=1..T_n} l(o_n[t], y_n)

    Rules divide the sum over the T steps of a batch by T, so that sample n counts T/T_n times in
    each of its own steps, and not at all in those after its end. The steps of a batch are told in
    their order; the T-th is followed by the first of another pass.

    Attributes:
        lengths: T_n, (N,) int64, from 1 to T.
        steps: T.
        outputs: sum of o[t] over the own steps of this pass so far, (N, classes), without a graph.
    """

    def __init__(self, loss: InstantaneousLoss, lengths: Tensor, steps: int) -> None:
        """``loss`` is l; see the class."""
        self.of_step = loss
        self.lengths = lengths
        self.steps = steps
        self.begin()

    def begin(self) -> None:
        """Start a pass: the next step is the first."""
        self._step = 0
        self._summed = self.outputs = torch.zeros((), device=self.lengths.device)

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of the next step, a scalar."""
        return self.over_steps(outputs.unsqueeze(0), labels)

    def over_steps(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Sum of the losses of the next c steps, (c, N, classes), a scalar."""
        own = self._next(len(outputs))
        each = self.of_step.each(outputs.flatten(0, 1), _repeated(labels, len(outputs)))
        each = torch.where(own, each.view(own.shape), 0)
        self._summed = self._summed + each.detach().sum(0)
        self.outputs = self.outputs + torch.where(own[..., None], outputs.detach(), 0).sum(0)
        return (each.sum(0) * self.steps / self.lengths.to(each.dtype)).mean()

    def _next(self, count: int) -> Tensor:
        """Which samples have the next steps for their own, (c, N); after the last, begin anew."""
        if self._step == self.steps:
            self.begin()
        now = torch.arange(self._step, self._step + count, device=self.lengths.device)
        self._step += count
        return now[:, None] < self.lengths

    @property
    def seen(self) -> Tensor:
        """L over the steps of this pass so far, a scalar without a graph: all of it in the end."""
        return (self._summed / self.lengths.clamp(max=self._step)).mean()


class MeanOutputLoss(OwnStepsLoss):
    """The loss of the mean output over a sample's own steps.

    L = (1/N) sum_n l((1/T_n) sum_{t=1..T_n} o_n[t], y_n)

    A step has none of its own: the loss told for it is 0 until the last one, which tells T L with
    the graphs of all. So it is for rules that go backward when all steps are over.
    """

    def begin(self) -> None:
        """Start a pass: the next step is the first."""
        super().begin()
        self._total = self.outputs

    def over_steps(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Sum of the losses of the next c steps, (c, N, classes), a scalar."""
        own = self._next(len(outputs))
        wide = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        self._total = self._total + torch.where(own[..., None], wide, 0).sum(0)
        self.outputs = self._total.detach()
        if self._step < self.steps:
            return self.outputs.new_zeros(())
        each = self.of_step.each(self._total / self.lengths[:, None].to(wide.dtype), labels)
        # Nothing holds on to the graph of all steps but what is returned.
        self._summed, self._total = each.detach(), self.outputs
        return self.steps * each.mean()

    @property
    def seen(self) -> Tensor:
        """L, a scalar without a graph, once the last step of a pass has been told."""
        return self._summed.mean()
