"""Loss of a network over a data set, and its accuracy or the error of its values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from neurodeploy.data import SampleArray, choose
from neurodeploy.ir.contract import InputCode
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.rules.feeding import Feed, parts, steps_at_once
from neurodeploy.simulation.values import smape
from neurodeploy.support.processes import Processes
from neurodeploy.training.encoding import evaluation_frames, is_constant
from neurodeploy.training.firing import SpikeCount

BATCH, VALUES = 512, 1 << 22
"""Samples evaluated at once, fewer where one step of them would have more values than that.
Without a graph, memory is one step's activations, which grow with the samples' size."""


class Evaluation(NamedTuple):
    """What came of showing samples to a network.

    Attributes:
        loss: mean over samples and their steps.
        score: share of right answers, 0 to 1; of values their symmetric mean absolute percentage
            error, 0 to 200.
        predicted: (N,) int64 class of each sample; of values (N, K) float64.
        spikes: of every neuron, counted.
    """

    loss: float
    score: float
    predicted: np.ndarray
    spikes: SpikeCount

    @property
    def firing_rates(self) -> dict[str, float]:
        """As ``SpikeCount.rates`` gives them."""
        return self.spikes.rates()


@torch.no_grad()
def evaluate(
    model: SpikingNetwork,
    samples: SampleArray,
    labels: np.ndarray,
    code: InputCode,
    steps: int,
    loss: InstantaneousLoss,
    offset: int = 0,
    lengths: np.ndarray | None = None,
) -> Evaluation:
    """Run the network in evaluation mode; what it says is read from sum_t o[t], t a sample's own.

    The mode the network was in is restored.

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        labels: (N,) class numbers, or (N, K) values.
        code: encoder and levels.
        steps: T.
        loss: l of one step, which also says what is read; the result is the mean of l over steps
            and samples, or over samples where it is the loss of the mean output.
        offset: number of the first sample in its data set.
        lengths: (N,) steps that each sample lasts, 1..T; None where all last T.
    """
    was_training = model.training
    first_parameter = next(model.parameters())
    device, dtype = first_parameter.device, first_parameter.dtype
    model.eval()
    summed_loss, count = 0.0, SpikeCount(model)
    predicted = np.empty_like(labels)
    size = max(1, min(BATCH, VALUES // math.prod(model.sample_shape)))
    for first in range(0, len(samples), size):
        here = slice(first, first + size)
        target = torch.from_numpy(labels[here]).to(device)
        lasting = np.full(len(target), steps) if lengths is None else lengths[here]
        # After the end of the longest nothing counts.
        shown = int(lasting.max())
        lasts = torch.from_numpy(lasting).to(device)
        total = torch.zeros((), device=device)
        batch_loss = torch.zeros((), device=device)
        own_loss = loss.of_batch(None if lengths is None else lasts, target, shown)
        model.reset_state()
        batch = samples[here]
        frames = evaluation_frames(batch, code, shown, offset + first, device)
        count.begin(None if lengths is None else lasts)
        frames = count.inputs(frame.to(dtype) for frame in frames)
        with count:
            feed = Feed(model, frames, shown, is_constant(code))
            for several in parts(shown, steps_at_once(model, len(batch), shown)):
                outputs = feed.show(several)
                batch_loss = batch_loss + (own_loss or loss).over_steps(outputs, target) / shown
                total = total + outputs.sum(0)
        summed_loss += batch_loss.item() * len(target)
        total = total if own_loss is None else own_loss.outputs
        predicted[here] = loss.read(total, lasts).cpu().numpy()
    model.reset_state()
    model.train(was_training)
    score = _score(predicted, labels)
    return Evaluation(summed_loss / len(samples), score, predicted, count)


def _score(predicted: np.ndarray, labels: np.ndarray) -> float:
    """As ``Evaluation`` says it."""
    if labels.ndim > 1:
        return smape(predicted, labels)
    return float((predicted == labels).mean())


def evaluate_shared(
    model: SpikingNetwork,
    samples: SampleArray,
    labels: np.ndarray,
    code: InputCode,
    steps: int,
    loss: InstantaneousLoss,
    processes: Processes,
    lengths: np.ndarray | None = None,
) -> Evaluation:
    """``evaluate``, each process a part of the samples; all get the result of the whole."""
    if processes.count == 1:
        return evaluate(model, samples, labels, code, steps, loss, lengths=lengths)
    numbers = np.array_split(np.arange(len(labels)), processes.count)[processes.index]
    summed_loss, predicted = 0.0, torch.zeros_like(torch.from_numpy(labels))
    count = SpikeCount(model)
    with processes.together():
        if len(numbers):
            own = choose(samples, numbers)
            found = evaluate(
                *(model, own, labels[numbers], code, steps, loss, int(numbers[0])),
                lengths=None if lengths is None else lengths[numbers],
            )
            summed_loss = found.loss * len(numbers)
            predicted[numbers] = torch.from_numpy(found.predicted)
            count = found.spikes
    summed_loss, *seen = processes.total(summed_loss, *count.steps.values())
    # Whole numbers in float64: equal counts give equal rates, however they came about.
    processes.add([*count.spikes.values()])
    count.steps = {name: int(n) for name, n in zip(count.steps, seen, strict=True)}
    everyone = predicted.to(next(model.parameters()).device)
    processes.add([everyone])
    found = everyone.cpu().numpy()
    return Evaluation(summed_loss / len(labels), _score(found, labels), found, count)
