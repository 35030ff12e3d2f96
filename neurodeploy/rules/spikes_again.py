"""Spikes that are not kept for backward but computed again, from membranes that are kept anyway.

The gradient of a weight needs the spikes that it saw, that of a surrogate the membrane. The second
gives the first: one comparison instead of a third of what a step keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from neurodeploy.nn.neuron import LIF
from neurodeploy.rules.any_module import Model


class _Fired(NamedTuple):
    """Spikes, as what they came from."""

    layer: LIF
    u: Tensor
    dtype: torch.dtype


@contextmanager
def spikes_computed_again(model: Model) -> Iterator[None]:
    """Let one step computed in this context keep no outputs of ``LIF`` layers for backward.

    The gradients stay the same to the last bit.
    """
    known: dict[int, tuple[StorageWeakRef, LIF, Tensor]] = {}

    def note(layer: nn.Module, given: Any, spikes: Tensor) -> None:
        if isinstance(layer, LIF) and layer.u is not None:
            # While it is referred to, no other storage gets its address.
            reference = StorageWeakRef(spikes.untyped_storage())
            known[reference.cdata] = reference, layer, layer.u

    def pack(kept: Tensor) -> Tensor | _Fired:
        place = kept.untyped_storage()._cdata
        if place not in known:
            return kept
        reference, layer, u = known[place]
        whole = kept.shape == u.shape and kept.stride() == u.stride()
        return _Fired(layer, u, kept.dtype) if whole and not reference.expired() else kept

    def unpack(kept: Tensor | _Fired) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept.layer.fired(kept.u).to(kept.dtype)

    layers = [layer for layer in model.modules() if isinstance(layer, LIF)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with saved_tensors_hooks(pack, unpack):
            yield
    finally:
        for handle in handles:
            handle.remove()
