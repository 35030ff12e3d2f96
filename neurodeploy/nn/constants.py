"""Constants in the equations of a layer: one number, or one for each neuron."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError

Parameter = float | Tensor
"""One value for all neurons, or one for each: a tensor that broadcasts to the layer's shape."""


def constant(value: Any, name: str) -> Parameter:
    """A number, or an array as a tensor.

    Raises:
        InputError: it is neither, or it is to be learnt.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        raise InputError(
            f"{name} is a tensor with a gradient, but constants of neurons are not learnt; give "
            f"{name}.detach()"
        )
    if isinstance(value, int | float | Tensor):
        return value
    try:
        return torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        kind = type(value).__name__
        raise InputError(f"{name} is a number or one for each neuron, found a {kind}") from None


def hold(module: nn.Module, name: str, value: Parameter) -> None:
    """Keep a constant of an equation: a number as it is, a tensor as a buffer."""
    if isinstance(value, Tensor) and value.numel() > 1:
        module.register_buffer(name, value.detach().clone())
    else:
        setattr(module, name, float(value))


def check_above(value: Parameter, bound: float, name: str) -> None:
    """Refuse constants that are not above a bound.

    Raises:
        InputError: one is not.
    """
    lowest = float(value.min()) if isinstance(value, Tensor) else value
    if not lowest > bound:
        raise InputError(f"LIF: {name} must be above {bound}, found {lowest:g}")
