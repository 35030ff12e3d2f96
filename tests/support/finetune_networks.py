"""Networks for digits, trained and exported by the frameworks that they are made of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neurodeploy.data import load_dataset

STEPS, EPOCHS = 8, 12


class Theirs(NamedTuple):
    """A network of another framework.

    Attributes:
        options: of the command line, that say what its file does not.
        reset: given the batch's size, starts one.
        step: spikes (N, 10) of one step for values (N, ...).
        exported: its file as the framework writes it.
    """

    network: nn.Module
    options: tuple[str, ...]
    reset: Callable[[int], None]
    step: Callable[[torch.Tensor], torch.Tensor]
    exported: Callable[[], nir.NIRGraph]


def digits(flat: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Training images, values 0 to 1, and their labels."""
    dataset = load_dataset("digits")
    x = torch.from_numpy(np.asarray(dataset.x_train[:])).float() / dataset.levels
    return x.flatten(1) if flat else x, torch.from_numpy(dataset.y_train)


def trained(theirs: Theirs, flat: bool = False, rate: float = 5e-3) -> Theirs:
    """Their surrogate, backpropagation through time, cross-entropy of spike counts, Adam."""
    x, y = digits(flat)
    optimizer = torch.optim.Adam(theirs.network.parameters(), rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            theirs.reset(len(batch))
            counts = torch.stack([theirs.step(x[batch]) for _ in range(STEPS)]).sum(0)
            F.cross_entropy(counts, y[batch]).backward()
            optimizer.step()
    theirs.reset(1)
    return theirs


def of_snntorch() -> Theirs:
    snn: Any = import_module("snntorch")
    export: Any = import_module("snntorch.export_nir")
    surrogate: Any = import_module("snntorch.surrogate").fast_sigmoid()

    def leaky(*shape: int) -> nn.Module:
        betas, thresholds = torch.full(shape, 0.8), torch.full(shape, 1.0)
        return snn.Leaky(beta=betas, threshold=thresholds, spike_grad=surrogate, init_hidden=True)

    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        leaky(16, 8, 8),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
        leaky(10),
    )

    def reset(_: int) -> None:
        for module in network.modules():
            forget: Any = getattr(module, "reset_mem", None)
            if forget is not None:
                forget()

    def exported() -> nir.NIRGraph:
        return export.export_to_nir(network, torch.zeros(1, 1, 8, 8), ignore_dims=[0])

    return trained(Theirs(network, ("--from", "snntorch"), reset, network, exported))


def of_sinabs() -> Theirs:
    layers: Any = import_module("sinabs.layers")
    single: Any = import_module("sinabs.activation").SingleSpike
    to_nir: Any = import_module("sinabs.nir").to_nir

    def lif() -> nn.Module:
        return layers.LIFSqueeze(
            tau_mem=4.0, spike_threshold=torch.tensor(0.3), spike_fn=single, num_timesteps=1
        )

    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        lif(),
        layers.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
        layers.IAFSqueeze(spike_threshold=torch.tensor(1.0), spike_fn=single, num_timesteps=1),
    )
    shapes = (16, 8, 8), (10,)

    def reset(count: int) -> None:
        neurons: tuple[Any, ...] = network[1], network[5]
        for module, shape in zip(neurons, shapes, strict=True):
            module.init_state_with_shape((count, 1, *shape))

    def exported() -> nir.NIRGraph:
        return to_nir(network, torch.zeros(1, 1, 8, 8))

    return trained(Theirs(network, ("--from", "sinabs"), reset, network, exported))


def of_spikingjelly() -> Theirs:
    based = "spikingjelly.activation_based"
    neuron, layer, functional, exchange, surrogate = (
        import_module(f"{based}.{name}")
        for name in ("neuron", "layer", "functional", "nir_exchange", "surrogate")
    )

    def lif() -> nn.Module:
        return neuron.LIFNode(tau=2.0, v_reset=0.0, surrogate_function=surrogate.ATan())

    network = nn.Sequential(
        layer.Conv2d(1, 16, 3, padding=1),
        lif(),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(256, 10),
        neuron.IFNode(surrogate_function=surrogate.ATan()),
    )

    def exported() -> nir.NIRGraph:
        return exchange.export_to_nir(network, torch.zeros(1, 1, 8, 8))

    def reset(_: int) -> None:
        functional.reset_net(network)

    return trained(Theirs(network, ("--from", "spikingjelly"), reset, network, exported))


def of_norse() -> Theirs:
    norse: Any = import_module("norse.torch")
    dt = 2.0**-10

    def box() -> nn.Module:
        inverse = torch.tensor(1 / (4 * dt))
        how = norse.LIFBoxParameters(inverse, v_th=torch.tensor(0.5), alpha=torch.tensor(10.0))
        return norse.LIFBoxCell(how, dt=dt)

    network = norse.SequentialState(nn.Linear(64, 96), box(), nn.Linear(96, 10), box())
    state: Any = None

    def reset(_: int) -> None:
        nonlocal state
        state = None

    def step(x: torch.Tensor) -> torch.Tensor:
        nonlocal state
        spikes, state = network(x, state)
        return spikes

    def exported() -> nir.NIRGraph:
        return norse.to_nir(network, torch.zeros(1, 64), dt=dt)

    options = "--from", "norse", "--dt", str(dt)
    return trained(Theirs(network, options, reset, step, exported), flat=True)


FRAMEWORKS = {
    "snntorch": of_snntorch,
    "sinabs": of_sinabs,
    "spikingjelly": of_spikingjelly,
    "norse": of_norse,
}


def made(framework: str) -> Theirs:
    """A trained network, without the warnings of its framework."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return FRAMEWORKS[framework]()
