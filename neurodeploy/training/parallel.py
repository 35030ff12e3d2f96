"""Training on several processes: each holds the whole network and a share of every batch.

Gradients add up once per update, not once per backward pass: rules go backward many times before
they update, and between that nothing needs to be exchanged.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from neurodeploy.data import SampleArray, choose
from neurodeploy.ir.contract import InputCode
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.support.processes import Processes
from neurodeploy.training.evaluate import Evaluation, evaluate


def add_gradients(model: nn.Module, processes: Processes) -> None:
    """Give every process the sum of all processes' gradients.

    Each has already been multiplied by its share of the batch (``InstantaneousLoss.factor``), so
    that the sum is the gradient of the whole batch.
    """
    processes.add([p.grad for p in model.parameters() if p.grad is not None])


def average_statistics(model: nn.Module, share: float, processes: Processes) -> None:
    """Give every process the mean of all processes' running statistics.

    Batch norm normalises with the samples of its own process. What it remembers of them is
    averaged here, so that all processes go on, and are evaluated, as the same network.

    Args:
        share: this process's part of the batch, 0 to 1; the weight of its statistics.
    """
    if processes.count == 1:
        return
    statistics = [buffer for buffer in _saved_buffers(model) if buffer.is_floating_point()]
    for buffer in statistics:
        buffer.mul_(share)
    processes.add(statistics)


def _saved_buffers(model: nn.Module) -> list[Tensor]:
    """Buffers that change and are saved; the rest are constants."""
    saved = model.state_dict(keep_vars=True)
    return [buffer for name, buffer in model.named_buffers() if name in saved]


def evaluate_shared(
    model: SpikingNetwork,
    samples: SampleArray,
    labels: np.ndarray,
    code: InputCode,
    steps: int,
    loss: InstantaneousLoss,
    processes: Processes,
) -> Evaluation:
    """``evaluate``, each process a part of the samples; all get the result of the whole."""
    if processes.count == 1:
        return evaluate(model, samples, labels, code, steps, loss)
    numbers = np.array_split(np.arange(len(labels)), processes.count)[processes.index]
    summed_loss, right = 0.0, 0
    with processes.together():
        if len(numbers):
            own = choose(samples, numbers)
            found = evaluate(model, own, labels[numbers], code, steps, loss, int(numbers[0]))
            summed_loss = found.loss * len(numbers)
            # An integer again: equal counts must give equal accuracies, however they came about.
            right = round(found.accuracy * len(numbers))
    summed_loss, right = processes.total(summed_loss, right)
    return Evaluation(summed_loss / len(labels), right / len(labels))
