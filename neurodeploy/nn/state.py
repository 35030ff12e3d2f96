"""What a module remembers from one step to the next, found and forgotten wherever it is kept."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.nn.steps import Stateful

Carried = dict[tuple[str, str], Tensor]
"""By place, the name of a module and of an attribute of it: the tensor that stands there."""


def reset(module: nn.Module, cut: bool = True) -> None:
    """Start a batch: every layer of a module forgets its state.

    Calls ``reset_state`` of the module and of all in it that have one: the layers of ``nn``, and
    modules of your own that keep something between steps. Yours may take ``cut`` or nothing.

    Args:
        module: any torch module.
        cut: whether layers carry their state without a graph, as online rules want it; False for
            backpropagation through time.
    """
    for part in module.modules():
        forget: Any = getattr(part, "reset_state", None)
        if not callable(forget):
            continue
        if _is_ours(part) or "cut" in inspect.signature(forget).parameters:
            forget(cut=cut)
        else:
            forget()


def carried(module: nn.Module) -> Carried:
    """Tensors that modules other than the layers of ``nn`` hold beside their parameters.

    These are plain attributes and buffers; among them is whatever a hand-written step keeps for
    the next one.
    """
    found: Carried = {}
    for name, part in module.named_modules():
        if _is_ours(part):
            continue
        for place in (vars(part), part._buffers):
            found |= {(name, key): v for key, v in place.items() if isinstance(v, Tensor)}
    return found


def cut_carried(module: nn.Module) -> None:
    """Detach what a hand-written step keeps for the next one, so that no gradient crosses."""
    for (name, key), value in carried(module).items():
        if value.grad_fn is not None:
            setattr(module.get_submodule(name), key, value.detach())


def check_forgotten(module: nn.Module, before: Carried) -> None:
    """Refuse a module whose own state nobody can reset.

    Args:
        before: what ``carried`` found in it before the step that has just been made.

    Raises:
        InputError: the step has put a tensor into an attribute of a module that, like all around
            it, has no ``reset_state``.
    """
    for (name, key), value in carried(module).items():
        if before.get((name, key)) is value or any(map(_forgets, _around(module, name))):
            continue
        owner = type(module.get_submodule(name)).__name__
        raise InputError(
            f"{owner}.{key} holds a tensor from step to step, and nothing says what it is before "
            f"the first one; give {owner} a method reset_state(self) that puts it back"
        )


def _around(module: nn.Module, name: str) -> Iterator[nn.Module]:
    """A part of a module and all that it is a part of."""
    parts = name.split(".") if name else []
    yield from (module.get_submodule(".".join(parts[:n])) for n in range(len(parts) + 1))


def _forgets(part: nn.Module) -> bool:
    return callable(getattr(part, "reset_state", None))


def remembers_by_itself(part: nn.Module) -> bool:
    """Whether a module of the user's keeps something between steps."""
    return _forgets(part) and not type(part).__module__.startswith("neurodeploy.")


def _is_ours(part: nn.Module) -> bool:
    """Whether it is a layer of this package with a state, which looks after itself."""
    return type(part).__module__.startswith("neurodeploy.") and isinstance(part, Stateful)
