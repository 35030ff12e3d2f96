"""The running mean of a network's weights over its updates (Polyak and Juditsky 1992).

Late in training weights wander about a good place; their mean lies nearer to it than any of them.
After the k-th update, counted from 0,

    a = d_k a + (1 - d_k) w,    d_k = min(decay, (1 + k) / (10 + k))

so that the mean of a short training is not that of its start. Running statistics of batch norm are
averaged along with the weights that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neurodeploy.training.checkpoint import copied

STATISTICS = ("running_mean", "running_var")
"""Buffers that change in training along with weights."""

UPDATES = "updates"
"""How many there were, among the names of averaged tensors."""


class Average:
    """The running mean of a module's parameters and batch statistics."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Begin with what the module has.

        Args:
            decay: share of the mean that an update leaves, above 0 and below 1.
        """
        self._decay = decay
        self._updates = 0
        self._live: dict[str, Tensor] = {
            **dict(module.named_parameters()),
            **{k: b for k, b in module.named_buffers() if k.rpartition(".")[2] in STATISTICS},
        }
        self._mean = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the module has now."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        for name, value in self._live.items():
            self._mean[name].lerp_(value, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module holds the mean for as long as this lasts."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, value in self._live.items():
            kept = value.detach().clone()
            value.copy_(self._mean[name])
            self._mean[name].copy_(kept)

    def state(self) -> dict[str, Tensor]:
        """Tensors on the CPU, by name."""
        found = {name: copied(value) for name, value in self._mean.items()}
        return found | {UPDATES: torch.tensor(self._updates)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what ``state`` took.

        Raises:
            KeyError, ValueError: it is of another module.
        """
        self._updates = int(tensors[UPDATES].item())
        for name, mean in self._mean.items():
            if tensors[name].shape != mean.shape:
                raise ValueError(f"the average of {name} has shape {tuple(tensors[name].shape)}")
            mean.copy_(tensors[name])
