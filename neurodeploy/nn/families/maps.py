"""Sizes of feature maps, and the start values that the convolutional families share."""

from __future__ import annotations

from torch import nn

from neurodeploy.errors import InputError
from neurodeploy.nn.layers import GridLinear

Size = tuple[int, int]
"""Height and width."""


def check_hidden(hidden: tuple[int, ...]) -> None:
    """Refuse hidden layers that cannot be built.

    Raises:
        ValueError: there are none, or one without neurons.
    """
    if not hidden:
        raise ValueError("hidden needs at least one layer")
    if min(hidden) < 1:
        raise ValueError(f"hidden sizes must be at least 1, found {list(hidden)}")


def channels_and_size(
    sample_shape: tuple[int, ...], family: str, smallest: int = 1
) -> tuple[int, Size]:
    """Channels and size of samples (C, H, W).

    Raises:
        InputError: samples have another number of axes, or are smaller than ``smallest``.
    """
    if len(sample_shape) != 3:
        raise InputError(
            f"[network] family {family!r} needs samples (C, H, W), found {sample_shape}; use 'mlp'"
        )
    channels, height, width = sample_shape
    if min(height, width) < smallest:
        raise InputError(
            f"[network] family {family!r} pools samples down to nothing below {smallest}x{smallest}"
            f", found {height}x{width}; use 'conv' or larger samples"
        )
    return channels, (height, width)


def strided(size: Size, stride: int) -> Size:
    """Size after a convolution or pooling with odd kernel k and padding k // 2."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def halved(size: Size) -> Size:
    """Size after 2 x 2 pooling, which leaves an odd last row or column out."""
    return size[0] // 2, size[1] // 2


def grid_readout(channels: int, size: Size, grid: int, classes: int) -> dict[str, nn.Module]:
    """Average maps to grid x grid cells, flatten and map to classes.

    The linear layer is called ``fc`` and has channels grid^2 inputs per class at every size.
    """
    if size[0] % grid or size[1] % grid:
        return {"flatten": nn.Flatten(), "fc": GridLinear(channels, size, grid, classes)}
    cell = (size[0] // grid, size[1] // grid)
    layers: dict[str, nn.Module] = {} if cell == (1, 1) else {"pool": nn.AvgPool2d(cell)}
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels * grid**2, classes)
    return layers


def init_convolutions(layers: dict[str, nn.Module], zero_bias: bool) -> None:
    """Kaiming normal over fan out, as in the official codes; biases at 0 or torch's own draw."""
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if zero_bias and layer.bias is not None:
                nn.init.zeros_(layer.bias)
