"""Changes of the parameters: optimiser, learning rate, and the update that rules call.

On several processes, each holds the whole network and a share of every batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import DivergedError
from neurodeploy.nn.constants import Learning
from neurodeploy.nn.delays import DelayedLinear
from neurodeploy.nn.device import laid_out_as
from neurodeploy.recipe import TrainingRecipe
from neurodeploy.sparsity import Masks
from neurodeploy.support.processes import Processes
from neurodeploy.training.averaging import Average
from neurodeploy.training.checkpoint import copied

SCALER = "scaler"
"""Whose state this is, among the numbers of parameters."""

AVERAGE = "average"
"""Likewise."""

FACTOR = "rate_factor"
"""On the learning rate of a group of parameters."""

LEAST_SCALE = 2.0**-8
"""Of a loss in fp16. Where gradients overflow even with this, they have really become so large."""


class Updater:
    """Changes the parameters by the gradients of all processes, and clears these.

    What is cut down to a length is their sum, the gradient of the whole batch.

    In ``fp16`` the loss is multiplied by ``scale``, so that small gradients do not become zero. It
    halves when a gradient overflows, which skips the update, and doubles after long peace.

    Attributes:
        masks: parameters' values that stay zero.
    """

    def __init__(self, model: nn.Module, training: TrainingRecipe, processes: Processes) -> None:
        self.optimizer = make_optimizer(model, training)
        self.masks = Masks()
        self._model = model
        self._processes = processes
        self._clip_norm = training.clip_norm
        self._average = Average(model, training.average) if training.average else None
        device = next(model.parameters()).device
        self._scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "fp16")
        # The loss is scaled elsewhere, but torch's scaler begins only with a tensor that it scales.
        self._scaler.scale(torch.zeros(1, device=device))

    @property
    def scale(self) -> float:
        """Factor that the loss must have; 1 but for ``fp16``."""
        return self._scaler.get_scale()

    def set_learning_rate(self, rate: float) -> None:
        """From the next update on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(FACTOR, 1.0)

    def __call__(self) -> None:
        """Update once, by gradients cut down to the recipe's ``clip_norm``.

        Raises:
            DivergedError: gradients have outgrown fp16.
        """
        add_gradients(self._model, self._processes)
        self.masks.mask_gradients()
        if self._clip_norm:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._scaler.step(self.optimizer)
        self.masks.apply()
        self._scaler.update()
        self.optimizer.zero_grad()
        if self._average:
            self._average.update()
        if self.scale < LEAST_SCALE:
            raise DivergedError(
                "gradients have become too large for fp16; lower training.learning_rate or set "
                "training.precision=bf16"
            )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has the weights that are to be kept: their average where the recipe has one."""
        if self._average is None:
            yield
            return
        with self._average.in_place():
            self.masks.apply()
            yield

    def state(self) -> dict[str, Tensor]:
        """Tensors by ``number.name`` of the parameter; options come from the recipe."""
        tensors = {
            f"{number}.{name}": copied(value)
            for number, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        scaler = {name: torch.tensor(value) for name, value in self._scaler.state_dict().items()}
        average = self._average.state() if self._average else {}
        return {
            **tensors,
            **{f"{SCALER}.{name}": value for name, value in scaler.items()},
            **{f"{AVERAGE}.{name}": value for name, value in average.items()},
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``state`` took.

        Raises:
            ValueError, IndexError, KeyError, RuntimeError: it is of other parameters.
        """
        state: dict[int, dict[str, Tensor]] = {}
        scaler: dict[str, float] = {}
        average: dict[str, Tensor] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for key, value in tensors.items():
            owner, _, name = key.partition(".")
            if owner == SCALER:
                scaler[name] = value.item()
            elif owner == AVERAGE:
                average[name] = value
            else:
                parameter = parameters[int(owner)]
                if value.shape not in ((), parameter.shape):
                    raise ValueError(f"{name} of parameter {owner} has shape {tuple(value.shape)}")
                fitting = laid_out_as(value, parameter)
                state.setdefault(int(owner), {})[name] = fitting
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if scaler:
            self._scaler.load_state_dict(scaler)
        if self._average:
            self._average.restore(average)


def make_optimizer(model: nn.Module, training: TrainingRecipe) -> torch.optim.Optimizer:
    """Adam, or SGD with momentum."""
    parameters = _grouped(model, training)
    if training.optimizer == "adam":
        return torch.optim.Adam(
            parameters, lr=training.learning_rate, weight_decay=training.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )


def _grouped(model: nn.Module, training: TrainingRecipe) -> list[dict[str, Any]]:
    """All parameters, those of neurons' time apart where they have a learning rate of their own."""
    constants = [parameter for part in model.modules() for parameter in _of_time(part)]
    known = {id(parameter) for parameter in constants}
    if not known or training.constants_rate == 1:
        return [{"params": [*model.parameters()]}]
    shared_once = [p for p in model.parameters() if id(p) in known]
    return [
        {"params": [p for p in model.parameters() if id(p) not in known]},
        {
            "params": shared_once,
            "lr": training.learning_rate * training.constants_rate,
            FACTOR: training.constants_rate,
        },
    ]


def _of_time(part: nn.Module) -> list[nn.Parameter]:
    """Parameters of a module that stand for a time constant or a delay."""
    if isinstance(part, DelayedLinear):
        return [part.delay]
    if not isinstance(part, Learning):
        return []
    return [w for name in part.learns if (w := part.learned(name)) is not None]


def learning_rate(training: TrainingRecipe, epoch: int) -> float:
    """Learning rate of an epoch, counted from 1.

    It rises linearly over the first W epochs (lr epoch/(W + 1)), then follows half a cosine, lr
    (1 + cos(pi k/(E - W)))/2 with k = epoch - W - 1, as Meng et al. 2023 without the rise. A pure
    function of the epoch: a resumed run has no schedule to restore.
    """
    if epoch <= training.warmup_epochs:
        return training.learning_rate * epoch / (training.warmup_epochs + 1)
    done = (epoch - training.warmup_epochs - 1) / (training.epochs - training.warmup_epochs)
    return training.learning_rate * (1 + math.cos(math.pi * done)) / 2


def add_gradients(model: nn.Module, processes: Processes) -> None:
    """Give every process the sum of all processes' gradients.

    This happens once per update, not once per backward pass: rules go backward many times before
    they update, and between that nothing needs to be exchanged.

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
