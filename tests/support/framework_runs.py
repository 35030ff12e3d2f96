"""Networks of other frameworks on random spikes, here and there, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import Imported, import_nir
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch

STEPS, SAMPLES = 40, 3


def spike_trains(*shape: int, seed: int = 0, rate: float = 0.4) -> np.ndarray:
    """(N, T, *shape) zeros and ones."""
    rng = np.random.default_rng(seed)
    return (rng.random((SAMPLES, STEPS, *shape)) < rate).astype(np.uint8)


def over_time(
    run: Callable[[torch.Tensor], Any],
    x: np.ndarray,
    layers: Mapping[str, nn.Module],
    dtype: torch.dtype = torch.float32,
) -> dict[str, np.ndarray]:
    """What each layer gave at every step: (N, T, *shape), by a name for it.

    Args:
        run: one step of the network, (N, *shape), its state kept by itself.
    """
    found: dict[str, list[torch.Tensor]] = {name: [] for name in layers}

    def note(name: str) -> Any:
        return lambda module, inputs, output: found[name].append(
            output[0] if isinstance(output, tuple) else output
        )

    hooks = [module.register_forward_hook(note(name)) for name, module in layers.items()]
    with torch.no_grad():
        for t in range(x.shape[1]):
            run(torch.from_numpy(x[:, t]).to(dtype))
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(values, 1).numpy() for name, values in found.items()}


def here(imported: Imported, x: np.ndarray) -> dict[str, PopulationTrace]:
    """The imported network on the same spikes, in float64."""
    network = imported.network
    how = replace(network.contract, steps=x.shape[1])
    engine = FloatEngine(replace(network, contract=how))
    ((_, trace),) = engine.run([SampleBatch(0, x, static=False)], state=True)
    return dict(trace.populations)


def imported(graph: nir.NIRGraph, folder: Path, framework: Any, **stated: Any) -> Imported:
    """Through a file, as a user would."""
    path = folder / "theirs.nir"
    write_nir(path, graph)
    return import_nir(path, framework=framework, steps=STEPS, **stated)


def assert_same_spikes(
    found: Mapping[str, PopulationTrace], expected: Mapping[str, np.ndarray]
) -> None:
    """Every neuron of every layer at every step; and some do fire, and some do not."""
    for name, spikes in expected.items():
        np.testing.assert_array_equal(found[name].s, spikes, f"spikes of {name}")
        assert 0.02 < spikes.mean() < 0.98, f"{name} fires at a rate of {spikes.mean():.2f}"


def clear_of_threshold(found: PopulationTrace, threshold: float, by: float) -> bool:
    """Whether v before its reset never came so near the threshold that rounding could matter.

    Only for resets by subtraction: v after the reset plus what the spike took.
    """
    assert found.v is not None
    return bool((np.abs(found.v + found.s * threshold - threshold) > by).all())


def on_grid(module: nn.Module, seed: int, step: float = 1 / 16, largest: int = 12) -> nn.Module:
    """Give a module weights that are small multiples of ``step``, so that sums are exact."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            values = rng.integers(-largest // 2, largest + 1, parameter.shape) * step
            parameter.copy_(torch.from_numpy(values))
    return module
