"""Networks of a user's own: a function that a recipe names, and the module it returns."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import nn

from neurodeploy.errors import InputError, NeurodeployError, UnsupportedError
from neurodeploy.nn.expressible import check_expressible
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.tracing import spiking_network
from neurodeploy.support.files import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from neurodeploy.recipe import NeuronRecipe


def is_users(family: str) -> bool:
    """Whether a family names a function, and not one of ``FAMILIES``."""
    return ":" in family


def pinned(network: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's ``[network]`` that means the same code later, and from another working directory.

    A file is named by its whole path and the hash of its content; a package is taken as it is.
    """
    place, _, name = str(network["family"]).rpartition(":")
    if not place.endswith(".py") or not Path(place).is_file():
        return dict(network)
    path = Path(place).resolve()
    return {"sha256": sha256(path), **network, "family": f"{path}:{name}"}


def build_users(
    family: str,
    options: Mapping[str, Any],
    sample_shape: tuple[int, ...],
    classes: int,
    neuron: NeuronRecipe,
    where: str,
) -> SpikingNetwork:
    """Call a user's function and follow the module that it returns.

    Args:
        family: ``file.py:function``, or ``package.module:function`` as Python would import it from
            the working directory.
        options: what else the recipe's ``[network]`` says, given by name; but ``sha256``, which a
            file's content must have.
        sample_shape, classes, neuron: the function's arguments. ``neuron`` has the constants of
            ``[neuron]``, of which ``nn.LIF.of(neuron)`` makes a layer.
        where: names the recipe in messages.

    Raises:
        InputError: there is no such function, or it fails, or what it returns is no module with one
            output per class.
        UnsupportedError: the module cannot be expressed as a network; see ``nn.tracing``.
    """
    arguments = dict(options)
    build = _function(family, arguments.pop("sha256", ""), where)
    with _named(f"{where} {family}"):
        module = build(sample_shape, classes, neuron, **arguments)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{where} {family} returned a {type(module).__name__}; it must return a torch module"
        )
    try:
        network = spiking_network(module, sample_shape)
        check_expressible(network)
    except UnsupportedError as error:
        raise UnsupportedError(f"{where} {family}: {error}") from None
    *_, last = network.layers
    if network.shapes[last] != (classes,):
        raise InputError(
            f"{where} {family} gives outputs of shape {network.shapes[last]} for samples of shape "
            f"{sample_shape}; the data has {classes} classes, so it must be ({classes},)"
        )
    return network


def module_from(place: str) -> nn.Module:
    """The module that a user's function returns, which takes nothing.

    Args:
        place: ``file.py:function``, or ``package.module:function``.

    Raises:
        InputError: there is no such function, or it fails, or returns something else.
    """
    if not is_users(place):
        raise InputError(f"{place!r}: name a function as FILE.py:FUNCTION")
    build = _function(place, "", "network")
    with _named(f"network {place}"):
        module = build()
    if not isinstance(module, nn.Module):
        raise InputError(
            f"network {place} returned a {type(module).__name__}; it must return a torch module"
        )
    return module


def _function(family: str, expected: str, where: str) -> Callable[..., Any]:
    place, _, name = family.rpartition(":")
    if expected and Path(place).is_file() and sha256(Path(place)) != expected:
        raise InputError(
            f"{place}: changed since the run began (SHA-256 is not {expected[:12]}...); put the "
            "old file back, or start a new run"
        )
    with _named(f"{where} {family}"):
        module = _from_file(Path(place), where) if place.endswith(".py") else _imported(place)
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"{where} {place} has no function {name!r}")
    return found


def _imported(name: str) -> ModuleType:
    """A module as ``python -m`` would find it."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(Path.cwd()))


def _from_file(path: Path, where: str) -> ModuleType:
    """A file run as a module of its own; it may import its neighbours, as a script may."""
    if not path.is_file():
        raise InputError(f"{where} family names {path}, which does not exist")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


@contextmanager
def _named(where: str) -> Iterator[None]:
    """One message for whatever goes wrong in a user's code, with the line of it."""
    try:
        yield
    except NeurodeployError:
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise InputError(f"{where} fails: {type(error).__name__}: {error}{place}") from None
