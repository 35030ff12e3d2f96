"""Spiking networks from training to a validated deployment on Loihi-style hardware.

    import neurodeploy as nd

    network = nd.from_torch(module, sample_shape=(1, 8, 8), steps=4, levels=16)
    integers = nd.quantize(network, "loihi2", bits=8)
    trace = nd.simulate(integers, images, engine="lava")

Everything here is loaded when it is first used, so the import itself is fast. Docstrings describe
each function; ``docs/library.md`` shows them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurodeploy import nn, rules, sparsity
    from neurodeploy.api import (
        Deployment,
        Late,
        deploy,
        early_exits,
        import_net,
        import_nir,
        learn,
        load,
        map,
        quantize,
        simulate,
        train,
        validate,
    )
    from neurodeploy.errors import NeurodeployError
    from neurodeploy.interchange.from_torch import from_torch
    from neurodeploy.ir.network import Network
    from neurodeploy.ir.quantized import QuantizedNetwork
    from neurodeploy.nn.from_network import to_torch
    from neurodeploy.recipe import Recipe, load_recipe
    from neurodeploy.target import Target, load_target

    __version__: str

__all__ = [
    "Deployment",
    "Late",
    "Network",
    "NeurodeployError",
    "QuantizedNetwork",
    "Recipe",
    "Target",
    "__version__",
    "deploy",
    "early_exits",
    "from_torch",
    "import_net",
    "import_nir",
    "learn",
    "load",
    "load_recipe",
    "load_target",
    "map",
    "nn",
    "quantize",
    "rules",
    "simulate",
    "sparsity",
    "to_torch",
    "train",
    "validate",
]

_HOME = {
    "NeurodeployError": "errors",
    "Network": "ir.network",
    "QuantizedNetwork": "ir.quantized",
    "Recipe": "recipe",
    "load_recipe": "recipe",
    "Target": "target",
    "load_target": "target",
    "from_torch": "interchange.from_torch",
    "to_torch": "nn.from_network",
    **dict.fromkeys(("Deployment", "deploy", "import_net", "import_nir", "load", "map"), "api"),
    **dict.fromkeys(("Late", "learn"), "api"),
    **dict.fromkeys(("early_exits", "quantize", "simulate", "train", "validate"), "api"),
}
"""The module that each name is taken from when it is first asked for."""

_ROOMS = ("nn", "rules", "sparsity")
"""Packages that are names of their own."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return _imported(name)
    if name in _HOME:
        found = getattr(_imported(_HOME[name]), name)
    elif name == "__version__":
        from importlib.metadata import version

        found = version(__name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def _imported(module: str) -> Any:
    from importlib import import_module

    return import_module(f"{__name__}.{module}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
