"""A perceptron of two hidden layers with many spikes, and what it is shown, in float64."""

from __future__ import annotations

import numpy as np
import torch

from neurodeploy.nn.families.dense import Mlp
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe import NeuronRecipe

SAMPLES, INPUTS, HIDDEN, CLASSES = 5, 6, (8, 7), 4


def make_network(neuron: NeuronRecipe, seed: int = 0) -> SpikingNetwork:
    """Two hidden layers in float64, with weights large enough for many spikes."""
    torch.manual_seed(seed)
    network = Mlp(HIDDEN).build((INPUTS,), CLASSES, neuron).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)
    return network


def make_batch(steps: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, N, inputs) that differ from step to step, and labels (N,)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 2, (steps, SAMPLES, INPUTS)), rng.integers(0, CLASSES, SAMPLES)


def tau_of(neuron: NeuronRecipe) -> float:
    """The time constant of neurons that share one."""
    assert isinstance(neuron.tau, float)
    return neuron.tau
