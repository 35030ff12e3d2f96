"""Sigma-delta networks in .net files that lava-dl's slayer wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from neurodeploy.ir.operators import Shape
from support.net_networks import slayer


def slayer_changes(folder: Path) -> dict[str, Path]:
    """Sigma-delta networks that slayer built, ran once to learn their shapes, and exported."""
    import torch

    module = slayer()
    block, norm = module.block.sigma_delta, module.neuron.norm.MeanOnlyBatchNorm

    def neuron(threshold: float = 0.1, **more: Any) -> dict[str, Any]:
        return {"threshold": threshold, "activation": torch.nn.functional.relu, **more}

    torch.manual_seed(0)
    networks: dict[str, tuple[list[Any], Shape]] = {
        "dense": (
            [
                block.Input(neuron(0.0)),
                block.Dense(neuron(), 8, 6, weight_scale=2),
                block.Dense(neuron(0.3, norm=norm), 6, 4, delay=True),
            ],
            (8,),
        ),
        "conv": (
            [
                block.Input(neuron(0.05), weight=1.0, bias=-0.25),
                block.Conv(neuron(), 2, 4, 3, padding=1, stride=2, groups=2),
                block.Conv(neuron(norm=norm), 4, 3, 3, padding=1),
                block.Flatten(),
                block.Dense(neuron(0.2, norm=norm), 48, 6),
                block.Output(neuron(), 6, 3),
            ],
            (2, 8, 8),
        ),
    }
    files = {}
    for name, (blocks, shape) in networks.items():
        x = torch.rand(2, *shape, 20)
        with torch.no_grad():
            for layer in blocks:
                x = layer(x)
        for layer in blocks:
            if getattr(getattr(layer, "neuron", None), "norm", None) is not None:
                mean = layer.neuron.norm.running_mean
                mean.data = torch.randint_like(mean, -20, 20) / 64
        if name == "dense":
            blocks[2].delay.delay.data = torch.tensor([0.0, 2.7, 3.0, 1.0])
        files[name] = folder / f"changes-{name}.net"
        with h5py.File(files[name], "w") as file:
            for index, layer in enumerate(blocks):
                layer.export_hdf5(file.create_group(f"layer/{index}"))
    return files
