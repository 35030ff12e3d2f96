"""One torch layer as one node of NIR; every parameter float64 and of full shape."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.contract import EXPORT_DT, Semantics
from neurodeploy.ir.convolution import Convolution, paddable
from neurodeploy.ir.network import Neuron
from neurodeploy.ir.operators import Shape
from neurodeploy.neurons.kinds import to_node
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.layers import Factors, SparseLinear
from neurodeploy.nn.neuron import LIF

NEURONS = (LIF, CubaLIF, LI)
"""Layers that become populations."""


def neuron_node(
    name: str, layer: LIF | CubaLIF | LI, bias: np.ndarray, shape: Shape, semantics: Semantics
) -> Any:
    """The node of a layer of neurons.

    Args:
        bias: what constants add to the drive, (*shape).

    Raises:
        UnsupportedError: NIR has no place for a bias.
    """
    if isinstance(layer, LIF) and not (layer.by_keep or np.any(bias) or _endless(layer)):
        return _lif(layer, shape)
    if not isinstance(layer, LIF) and np.any(bias) and np.any(full(layer.u_keep, shape)):
        raise UnsupportedError(
            f"layer {name!r}: NIR has no node for a constant into its current, which can stand in "
            "a linear layer, or in a convolution as one number per channel"
        )
    lif = layer.lif if isinstance(layer, CubaLIF) else layer
    own = None if isinstance(layer, LIF) else layer.bias
    if own is not None:
        bias = bias + full(own, shape)
    neuron = Neuron(
        kind=_kind(layer),
        u_keep=np.zeros(shape) if isinstance(layer, LIF) else full(layer.u_keep, shape),
        v_keep=full(lif.keep, shape),
        bias=bias,
        v_threshold=full(lif.v_threshold, shape) if isinstance(lif, LIF) else None,
        reset=lif.reset if isinstance(lif, LIF) else "zero",
        comparison=lif.comparison if isinstance(lif, LIF) else ">",
    )
    if np.any(bias) and not np.all(neuron.v_keep < 1):
        raise UnsupportedError(
            f"layer {name!r}: NIR has no node for its bias, which can stand in a linear layer, in "
            "a convolution as one number per channel, or in neurons that leak"
        )
    return to_node(neuron, shape, bias, semantics)


def plain_node(
    name: str,
    layer: nn.Module,
    weights: tuple[np.ndarray, np.ndarray] | None,
    shape: Shape,
    pad: nn.Module | None,
) -> Any:
    """The node of any other layer.

    Args:
        weights: of a weighted layer, with what was folded into them.
        shape: of the input without batch, before a ``pad``.
        pad: zeros that the layer before a convolution adds, or None.

    Raises:
        UnsupportedError: NIR has no such node.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d) and weights is not None:
        return _convolution(layer, weights, shape, pad)
    if pad is not None:
        raise UnsupportedError(f"layer {name!r}: reads a padding, which NIR has for convolutions")
    if isinstance(layer, nn.Linear) and weights is not None:
        return nir.Affine(weight=weights[0], bias=weights[1])
    if isinstance(layer, Factors):
        return nir.Scale(scale=full(layer.weight, shape))
    if isinstance(layer, SparseLinear) and len(shape) == len(layer.output_shape) == 1:
        matrix = layer.matrix().detach().cpu().double().numpy()
        return nir.Affine(weight=matrix, bias=np.zeros(len(matrix)))
    if isinstance(layer, nn.AvgPool2d):
        return nir.AvgPool2d(
            kernel_size=np.array(_pair(layer.kernel_size)),
            stride=np.array(_pair(layer.stride)),
            padding=np.array(_pair(layer.padding)),
        )
    if isinstance(layer, nn.Flatten):
        # NIR shapes have no batch.
        start, end = (n - 1 if n > 0 else n for n in (layer.start_dim, layer.end_dim))
        last = -1 if end == len(shape) - 1 else end
        return nir.Flatten(input_type=typed(shape), start_dim=start, end_dim=last)
    raise UnsupportedError(f"layer {name!r}: {type(layer).__name__} has no counterpart in NIR")


def full(value: float | Tensor, shape: Shape) -> np.ndarray:
    """One value, or one per neuron, as a float64 array of full shape."""
    array = value.detach().cpu().double().numpy() if isinstance(value, Tensor) else value
    return np.broadcast_to(np.asarray(array, np.float64), shape).copy()


def per_channel(factor: np.ndarray, shape: Shape) -> np.ndarray:
    """One factor, or one per channel, as an array of full shape."""
    spread = factor.reshape(factor.shape + (1,) * (len(shape) - 1)) if factor.ndim else factor
    return np.broadcast_to(spread, shape).copy()


def typed(shape: Shape, key: str = "input") -> dict[str, np.ndarray]:
    """A shape as NIR types want it."""
    return {key: np.array(shape)}


def _kind(layer: LIF | CubaLIF | LI) -> str:
    if isinstance(layer, LIF):
        return "IF" if np.all(full(layer.keep, np.shape(layer.keep)) == 1) else "LIF"
    if isinstance(layer, CubaLIF):
        return "CubaLIF"
    current = np.any(full(layer.u_keep, np.shape(layer.u_keep)))
    leaks = np.any(full(layer.keep, np.shape(layer.keep)) != 1)
    return "CubaLI" if current else "LI" if leaks or layer.bias is not None else "I"


def _endless(layer: LIF) -> bool:
    """Whether some neurons keep everything, for which they have no time constant."""
    return bool(np.any(full(layer.keep, np.shape(layer.keep)) == 1))


def _lif(neuron: LIF, shape: Shape) -> nir.LIF:
    """The neuron as NIR's LIF; tau is in seconds there, in steps here."""
    tau = full(neuron.tau, shape)
    return nir.LIF(
        tau=tau * EXPORT_DT,
        r=tau,
        v_leak=np.zeros(shape),
        v_threshold=full(neuron.v_threshold, shape),
        v_reset=np.zeros(shape),
    )


def _convolution(
    layer: nn.Conv1d | nn.Conv2d,
    weights: tuple[np.ndarray, np.ndarray],
    shape: Shape,
    pad: Any,
) -> Any:
    axes = len(shape) - 1
    weight: Any = weights[0]
    padding: Any = layer.padding if isinstance(layer.padding, str) else _pair(layer.padding)
    dilation = _pair(layer.dilation)
    if pad is not None:
        # torch begins with the last axis.
        ends = [pad.padding[2 * axis : 2 * axis + 2] for axis in reversed(range(axes))]
        pads = tuple(
            (before + n, after + n) for (before, after), n in zip(ends, padding, strict=False)
        )
        stride = _pair(layer.stride)[:axes]
        operator = Convolution(weight, shape, stride, pads, dilation[:axes], layer.groups)
        weight, padding, dilation = paddable(operator)

    def numbers(value: Any) -> Any:
        """NIR's Conv1d takes numbers, Conv2d pairs."""
        if isinstance(value, str):
            return value
        return _pair(value)[0] if axes == 1 else _pair(value)

    make: Any = nir.Conv1d if axes == 1 else nir.Conv2d
    return make(
        input_shape=shape[1] if axes == 1 else shape[1:],
        weight=weight,
        stride=numbers(layer.stride),
        padding=numbers(padding),
        dilation=numbers(dilation),
        groups=layer.groups,
        bias=weights[1],
    )


def _pair(value: Any) -> tuple[int, int]:
    """torch keeps some options as one number, some as a tuple."""
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))
