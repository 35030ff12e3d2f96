"""How far two ways to add up the same numbers may lie apart.

A library adds in an order that suits the processor, so no order may be relied on. Where terms
cancel, a sum can be all rounding, as the gradient of a bias before batch norm is: what it may
differ by follows from the terms, and not from the sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

ROUNDINGS = 4096
"""In units of the last place of all terms together: one for each addition of a sum of some hundred
terms, through some ten layers. In float64 that is 1e-12."""


def assert_equal_but_for_rounding(
    found: np.ndarray | Tensor,
    expected: np.ndarray | Tensor,
    magnitude: np.ndarray | Tensor | float,
    name: str = "",
) -> None:
    """Hold two arrays of sums of the same terms against each other.

    Args:
        found: of floats.
        expected: of the same shape and dtype.
        magnitude: sums of the terms' absolute values; the largest counts for all elements, because
            terms are sums themselves.
        name: for the message.
    """
    mine, theirs, terms = _array(found), _array(expected), _array(magnitude)
    assert mine.shape == theirs.shape, (name, mine.shape, theirs.shape)
    assert mine.dtype == theirs.dtype, (name, mine.dtype, theirs.dtype)
    allowed = ROUNDINGS * float(np.finfo(mine.dtype).eps) * float(np.abs(terms).max())
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=allowed, err_msg=name)


def _array(values: np.ndarray | Tensor | float) -> np.ndarray:
    return np.asarray(values.detach().numpy() if isinstance(values, Tensor) else values)


@contextmanager
def gradient_magnitudes(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Add up the absolute values of all that backward adds up within, by name of the parameter.

    For the biases of all layers and the weights of those that multiply them with their input:
    dense, convolution and batch norm in training. Other parameters are left out.
    """
    found: dict[str, Tensor] = {}
    names = {module: name for name, module in network.named_modules()}

    def note(module: nn.Module, kind: str, value: Tensor) -> None:
        key = ".".join(filter(None, [names[module], kind]))
        found[key] = found.get(key, torch.zeros_like(value)) + value

    def watch(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            x = given[0].detach()
            output.register_hook(lambda error: add(module, x, error.abs()))

    def add(module: nn.Module, x: Tensor, error: Tensor) -> None:
        if module.bias is not None:
            note(module, "bias", error.transpose(0, 1).flatten(1).sum(1))
        if type(module) is nn.Linear:
            note(module, "weight", error.T @ x.abs())
        elif type(module) is nn.Conv2d:
            how: Any = module.stride, module.padding, module.dilation, module.groups
            terms = conv2d_weight(x.abs(), module.weight.shape, error, *how)
            note(module, "weight", terms)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            normal = functional.batch_norm(x, None, None, training=True, eps=module.eps)
            terms = (error * normal.abs()).transpose(0, 1).flatten(1).sum(1)
            note(module, "weight", terms)

    hooks = [
        module.register_forward_hook(watch)
        for module in names
        if isinstance(module, nn.Linear | nn.Conv2d | nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def statistic_magnitudes(statistics: dict[str, Tensor]) -> dict[str, Tensor]:
    """What running statistics of batch norm were added up from, by name of the buffer.

    Means of values about as large as mean and deviation together, and their squares.
    """
    found = {}
    for name, value in statistics.items():
        found[name] = value.abs()
        prefix, _, kind = name.rpartition("running_")
        if kind in ("mean", "var"):
            mean, var = statistics[f"{prefix}running_mean"], statistics[f"{prefix}running_var"]
            size = mean.abs() + var.sqrt()
            found[name] = size if kind == "mean" else size**2
    return found
