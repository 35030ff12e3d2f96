"""What regularisers have to know of a network before it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from neurodeploy.errors import InputError
from neurodeploy.interchange.from_torch import from_torch
from neurodeploy.mapping.fan_out import fan_out
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.sparsity.priced import hidden_layers, spiking_layers
from neurodeploy.sparsity.regulariser import Regulariser, Wiring


def fan_out_of(module: nn.Module, sample_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Synapses behind each neuron of a module, int64, by layer of neurons and for the ``input``.

    They are those of the network that ``from_torch`` makes of it: what is deployed. They stay the
    same in training unless weights are pruned.

    Args:
        module: as ``from_torch`` takes it; its state is reset.
        sample_shape: shape of one sample, without batch.

    Raises:
        UnsupportedError: a layer or an operation that cannot be expressed.
    """
    was_training = module.training
    try:
        return fan_out(from_torch(module.eval(), sample_shape, steps=1))
    finally:
        module.train(was_training)


def wiring_of(
    module: nn.Module,
    steps: int,
    regularisers: Sequence[Regulariser],
    fan_outs: Mapping[str, ArrayLike] | None,
) -> Wiring:
    """What the prices of some regularisers depend on.

    Args:
        steps: T.
        fan_outs: as ``fan_out_of`` gives them; None where nobody has counted.

    Raises:
        InputError: there is nothing to put a price on, or a fan-out that is needed is not there.
    """
    names = hidden_layers(module) if isinstance(module, SpikingNetwork) else spiking_layers(module)
    kinds = ", ".join(type(regulariser).__name__ for regulariser in regularisers)
    if not names:
        raise InputError(f"{kinds}: {type(module).__name__} has no hidden layer of neurons")
    wanting = [r for r in regularisers if r.needs_fan_out]
    if not wanting:
        return Wiring(steps)
    missing = [name for name in names if name not in (fan_outs or {})]
    if missing:
        raise InputError(
            f"{type(wanting[0]).__name__} counts the synapses behind neurons, and nothing says how "
            f"many are behind {', '.join(missing)}; give fan_out = "
            "sparsity.fan_out_of(module, sample_shape)"
        )
    assert fan_outs is not None
    device = next(module.parameters()).device
    found = {name: torch.as_tensor(np.asarray(fan_outs[name]), device=device) for name in names}
    return Wiring(steps, found)
