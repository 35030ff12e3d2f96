"""A torch module, trained in any loop, as a ``Network``."""

from __future__ import annotations

from pathlib import Path
from typing import overload

import torch
from torch import nn

from neurodeploy.errors import InputError
from neurodeploy.interchange.from_relu import ReluNetwork
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.ir.contract import Encoder, InputCode
from neurodeploy.ir.network import Network
from neurodeploy.nn.export import module_to_nir
from neurodeploy.nn.tracing import spiking_network
from neurodeploy.target import Target, load_target


@overload
def from_torch(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    steps: int,
    *,
    levels: int = 1,
    encoder: Encoder = "direct",
    name: str = "",
    target: str | Path | Target | None = None,
) -> Network: ...


@overload
def from_torch(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    steps: None = None,
    *,
    levels: int = 1,
    encoder: Encoder = "direct",
    name: str = "",
) -> ReluNetwork: ...


def from_torch(
    module: nn.Module,
    sample_shape: tuple[int, ...],
    steps: int | None = None,
    *,
    levels: int = 1,
    encoder: Encoder = "direct",
    name: str = "",
    target: str | Path | Target | None = None,
) -> Network | ReluNetwork:
    """The network that a module computes in evaluation mode, in discrete time and float64.

    Without ``steps`` the module is an ordinary ReLU network, and the result a ``ReluNetwork``,
    which ``as_spiking`` turns into a ``Network``.

    The module is traced once (``nn.tracing``), through nested modules, sums, constant factors,
    average pooling, flattening, batch norm, weight standardisation, and recurrence through
    attributes. Layers of ``nn`` are its neurons. A population has the name of its layer, with ``.``
    written as ``_``; a linear read-out is the population ``readout``. The module's state is reset;
    nothing else of it changes.

    Args:
        module: its call is one step, from (N, *sample_shape) to o[t], (N, ...). It ends in a linear
            layer, whose outputs are added up, or in neurons, whose spikes are counted.
        sample_shape: shape of one sample, without batch.
        steps: T, steps per sample; None for a ReLU network, which has none.
        levels: the deployed network takes integers 0 to ``levels``, the module integer/levels.
        encoder: how a sample becomes input; ``direct`` presents its integers at every step, the
            others are as in ``ir.contract.InputCode``. For a ReLU network, give it to
            ``as_spiking``.
        name: of the network; the module's class when empty.
        target: the chip that the network is for. If it has graded spikes, sums of real numbers that
            several neurons read, such as a residual stream, become populations of relays; without a
            target they do not.

    Raises:
        InputError: ``steps`` or ``levels`` below 1.
        UnsupportedError: a layer or an operation that cannot be expressed, named with its place in
            the module's code.
    """
    if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
        raise InputError(f"from_torch: a torch module is needed, found a {type(module).__name__}")
    try:
        shape = tuple(int(size) for size in sample_shape)
        code = InputCode(encoder, int(levels))
        if steps is not None and int(steps) < 1:
            raise ValueError(f"steps must be at least 1, found {steps}")
        if not shape or min(shape) < 1:
            raise ValueError(f"sizes of sample_shape must be at least 1, found {shape}")
    except (TypeError, ValueError) as error:
        raise InputError(f"from_torch: {error}") from None
    name = name or type(module).__name__
    if steps is None:
        if code.encoder != "direct":
            raise InputError("from_torch: a network of ReLUs gets its encoder in as_spiking")
        if target is not None:
            raise InputError("from_torch: a network of ReLUs is for any target until it spikes")
        return ReluNetwork.of(module, shape, code.levels, name)
    graph = module_to_nir(spiking_network(module, shape, steps), code, steps)
    contract = contract_of(graph, name)
    assert contract is not None  # it was just written
    chip = load_target(target) if isinstance(target, (str, Path)) else target
    return to_network(graph, contract, name, relays=chip and chip.relay_fan_in)
