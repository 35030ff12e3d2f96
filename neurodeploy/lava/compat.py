"""Safe import of Lava 0.10.0 on Python 3.10 to 3.13 and numpy 1.26 or 2, or what to install.

Lava is archived: it says it needs Python 3.10 and numpy 1, and will never say anything else. Four
things stand in its way on later ones or in a larger program, and are dealt with here, on request:

- Python 3.11 refuses dataclass fields whose default is unhashable, and Lava has such fields;
- its ports call ``numpy.reshape`` by an argument's name that numpy 2.5 does not know any more;
- Lava sets the ``fork`` start method of ``multiprocessing`` when imported, and fails if
  anything in the program has settled the start method before, even on ``fork``;
- it is installed past its own requirements, so a dependency of it may well be missing.

A process in which one of these raises leaves Lava's own ``run`` waiting for ever, which looks like
a hang of Python's or numpy's; under our guard (``runtime``) it is an error with its traceback.

For every network Lava executes all files beside each process, to find its models; once is enough.

lava-dl's reader of .net files imports all of its training half, slayer, and that wants OpenCV.

Nothing happens when this module is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from neurodeploy.errors import MissingDependencyError, Setting, SimulationError, Text

INSTALL_COMMAND = "pip install --no-deps --ignore-requires-python lava-nc==0.10.0 lava-dl==0.6.0"

_WITHOUT_LAVA = Text(
    "the reference engine (`", Setting("engine", "reference"), "`) works without it"
)

_VAR_MODEL = "lava.magma.compiler.var_model"

# What var_model itself imports. These come first so that they see the ordinary ``dataclass``.
_BEFORE_VAR_MODEL = (
    "lava.magma.core.process.variable",
    "lava.magma.core.process.ports.connection_config",
    "lava.magma.compiler.mappable_interface",
    "lava.magma.compiler.subcompilers.address",
)

# Lava imports its compiler, and networkx with it, only for the first network; here a missing
# dependency shows itself at once.
_AFTER_VAR_MODEL = (
    "lava.magma.core.process.process",
    "lava.magma.core.run_configs",
    "lava.magma.compiler.compiler",
)


# Of slayer, netx takes one function, and that for resonate-and-fire neurons only.
_SLAYER = ("lava.lib.dl.slayer", "lava.lib.dl.slayer.neuron", "lava.lib.dl.slayer.neuron.rf")


def lava_version() -> str | None:
    """Return the installed version of lava-nc, or None, without importing Lava."""
    try:
        return metadata.version("lava-nc")
    except metadata.PackageNotFoundError:
        return None


def lava_available() -> bool:
    """Say whether Lava is installed and can be found, without importing it."""
    try:
        return lava_version() is not None and importlib.util.find_spec("lava") is not None
    except (ImportError, ValueError):
        return False


def require_installed() -> None:
    """Say what to install when Lava is absent, without importing it.

    Raises:
        MissingDependencyError: Lava is not installed.
    """
    if not lava_available():
        raise MissingDependencyError(
            f"Lava is not installed; install it with `{INSTALL_COMMAND}`", fix=_WITHOUT_LAVA
        )


def require_lava() -> None:
    """Import Lava, so that any ``from lava... import ...`` after this call works.

    May be called any number of times; it costs microseconds after the first.

    Raises:
        MissingDependencyError: Lava is absent, incomplete, or cannot run on this Python.
        SimulationError: the program uses a ``multiprocessing`` start method other than
            ``fork``, with which Lava cannot work, or the system has no ``fork``.
    """
    start_method = _checked_start_method()
    if _VAR_MODEL in sys.modules and all(name in sys.modules for name in _AFTER_VAR_MODEL):
        return
    require_installed()
    try:
        with _start_method_forgotten(start_method):
            for name in _BEFORE_VAR_MODEL:
                importlib.import_module(name)
            with _hashable_byte_encoder():
                importlib.import_module(_VAR_MODEL)
            for name in _AFTER_VAR_MODEL:
                importlib.import_module(name)
            importlib.import_module("greenlet")  # ours, for processes that take turns
            _reshape_by_our_own_name()
            _look_for_models_once()
    # A package that Lava is too old for shows itself as an AttributeError: names are gone from it.
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"Lava {lava_version()} is installed but cannot be imported ({error}); it needs "
            "numpy, scipy, networkx<=2.8.7, asteval<0.10, scikit-learn and greenlet beside "
            f"`{INSTALL_COMMAND}`",
            fix=_WITHOUT_LAVA,
        ) from error


def require_lava_dl_installed() -> None:
    """Say what to install when Lava or lava-dl is absent, without importing them.

    Raises:
        MissingDependencyError: one of them is not installed.
    """
    require_installed()
    try:
        metadata.version("lava-dl")
    except metadata.PackageNotFoundError:
        raise MissingDependencyError(
            f"lava-dl is not installed; install it with `{INSTALL_COMMAND}`", fix=_WITHOUT_LAVA
        ) from None


@contextmanager
def netx_without_slayer() -> Iterator[None]:
    """Let lava-dl's netx be imported, and its networks compiled, without slayer.

    Lava executes netx's files once more when it looks for the models of a network, so this has to
    be around that too. A slayer that is loaded already stays in use.
    """
    missing = [name for name in _SLAYER if name not in sys.modules]
    for name in missing:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    if _SLAYER[-1] in missing:
        sys.modules[_SLAYER[-1]].__dict__["neuron_params"] = _no_slayer
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def netx_with_numbers() -> Any:
    """lava-dl's netx, whose input layers read the weight and bias of a file as single numbers.

    slayer writes them as arrays of one, of which ``int`` makes no number from numpy 2.4 on.
    """
    hdf5: Any = importlib.import_module("lava.lib.dl.netx.hdf5")
    if getattr(hdf5.NetDict.__getitem__, "__module__", None) != __name__:
        hdf5.NetDict.__getitem__ = _reading_numbers(hdf5.NetDict.__getitem__)
    return hdf5


def _reading_numbers(read: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def read_numbers(layer: Any, key: Any) -> Any:
        found = read(layer, key)
        single = key in ("weight", "bias") and read(layer, "type") == "input"
        return found.reshape(()) if single else found

    return read_numbers


def _no_slayer(*_: Any) -> None:
    """In place of ``neuron_params``: networks that would call it are refused before."""
    raise SimulationError("resonate-and-fire neurons need lava-dl's slayer")


def _checked_start_method() -> str | None:
    """Return the program's start method, None when still open; refuse all but ``fork``."""
    if not hasattr(os, "fork"):
        raise SimulationError(
            "Lava's simulator starts its processes with fork, which this system lacks",
            fix=_WITHOUT_LAVA,
        )
    start_method = multiprocessing.get_start_method(allow_none=True)
    if start_method not in (None, "fork"):
        raise SimulationError(
            f"this program has set multiprocessing's start method to {start_method!r}, and "
            "Lava's simulator works with 'fork' only; call "
            "multiprocessing.set_start_method('fork') instead, or run Lava in a program of its own",
            fix=_WITHOUT_LAVA,
        )
    return start_method


@contextmanager
def _start_method_forgotten(start_method: str | None) -> Iterator[None]:
    """Leave the start method open, because Lava insists on being the first to set it."""
    multiprocessing.set_start_method(None, force=True)
    try:
        yield
    finally:
        if multiprocessing.get_start_method(allow_none=True) is None and start_method:
            multiprocessing.set_start_method(start_method)


@contextmanager
def _hashable_byte_encoder() -> Iterator[None]:
    """Let ``dataclass`` make Lava's ``ByteEncoder`` hashable while one module is imported.

    ``var_model`` uses ``ByteEncoder()`` as a default of dataclass fields. Python 3.11 takes an
    unhashable default for a mutable one and refuses it. Every other class stays as written.
    """
    original = dataclasses.dataclass

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        def decorate(cls: type) -> type:
            if cls.__module__ == _VAR_MODEL and cls.__qualname__ == "ByteEncoder":
                options.setdefault("unsafe_hash", True)
            return original(**options)(cls)

        return decorate if cls is None else decorate(cls)

    patched: Callable[..., Any] = dataclass
    dataclasses.dataclass = patched
    try:
        yield
    finally:
        dataclasses.dataclass = original


def _reshape_by_our_own_name() -> None:
    """Let Lava's ``ReshapePort`` do without ``newshape``, which numpy 2.5 has no more."""
    ports: Any = importlib.import_module("lava.magma.core.process.ports.ports")
    ports.ReshapePort.get_transform_func_fwd = lambda port: functools.partial(
        _reshaped, to=port.shape
    )
    ports.ReshapePort.get_transform_func_bwd = lambda port: functools.partial(
        _reshaped, to=port.old_shape
    )


def _look_for_models_once() -> None:
    """Let Lava find the models of a process by its class once, not for every network.

    It looks by executing all files beside the process, which takes longer than all else that
    compiling does. Processes that others wrote, perhaps in a notebook, may get further models.
    """
    graphs: Any = importlib.import_module("lava.magma.compiler.compiler_graphs").ProcGroupDiGraphs
    look: Callable[[Any], list[Any]] = graphs._find_proc_models
    found: dict[type, list[Any]] = {}

    def find(proc: Any) -> list[Any]:
        kind = type(proc)
        if not kind.__module__.startswith(("lava.proc.", "neurodeploy.")):
            return look(proc)
        if kind not in found:
            found[kind] = look(proc)
        return list(found[kind])

    graphs._find_proc_models = staticmethod(find)


def _reshaped(data: Any, *, to: tuple[int, ...]) -> Any:
    return data.reshape(to)
