"""Constants in the equations of a layer: one number, or one for each neuron, given or learned."""

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
    # On torch's meta device there are sizes without values.
    if isinstance(value, Tensor) and (value.numel() > 1 or value.is_meta):
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


SHARES = {"tau_w": ("tau", "keep"), "tau_syn_w": ("tau_syn", "u_keep")}
"""By the parameter that is learned, the time constant and the share that follow from it."""


class Learning(nn.Module):
    """A layer whose time constants may be learned.

    A parameter w stands for a time constant tau and for the share that is kept per step:

    1/tau = sigmoid(w),  1 - 1/tau = sigmoid(-w)                (Fang et al. 2021, ICCV, eq. 12)

    so that tau stays above 1 step whatever is learned.
    """

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of its parameters that stand for a time constant."""
        return tuple(name for name in SHARES if name in self._parameters)

    def learned(self, name: str) -> nn.Parameter | None:
        """The parameter ``tau_w`` or ``tau_syn_w``, None where the constant is fixed."""
        return self._parameters.get(name)

    def __getattr__(self, name: str) -> Any:
        """As of any module; what is learned is computed, with its graph, from its parameter."""
        for parameter, (tau, share) in SHARES.items():
            if name in (tau, share):
                w = vars(self).get("_parameters", {}).get(parameter)
                if w is not None:
                    return torch.sigmoid(-w) if name == share else 1 + torch.exp(-w)
        return super().__getattr__(name)


def learn_share(module: nn.Module, name: str, share: Parameter) -> None:
    """Learn the share kept per step through the parameter ``name`` of ``SHARES``.

    Args:
        share: to start with, above 0 and below 1; one, or one per neuron.

    Raises:
        InputError: it is out of range.
    """
    values = torch.as_tensor(share, dtype=torch.float64)
    tau, _ = SHARES[name]
    # On torch's meta device there are sizes without values.
    if not values.is_meta and not (float(values.min()) > 0 and float(values.max()) < 1):
        raise InputError(
            f"{type(module).__name__}: a learned {tau} starts above 1 step and is finite, found "
            f"{given(1 / (1 - values))}"
        )
    start = -torch.logit(values)
    own = values.dtype if isinstance(share, Tensor) and share.dtype == torch.float64 else None
    start = start.to(own or torch.get_default_dtype())
    setattr(module, name, nn.Parameter(start.reshape(()) if start.numel() == 1 else start))


def given(value: Parameter) -> str:
    """A constant in words."""
    value = value.detach() if isinstance(value, Tensor) else value
    if isinstance(value, Tensor) and value.numel() > 1:
        low, high = (float(end) for end in torch.aminmax(value))
        return "one per neuron" if low == high else f"one per neuron from {low:g} to {high:g}"
    return f"{float(value):g}"
