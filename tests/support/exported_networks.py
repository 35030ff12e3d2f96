"""Small networks of every kind of layer, with weights that make them spike, to be exported."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from neurodeploy.data import Dataset
from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.layers import SkipInit, WSConv2d
from neurodeploy.recipe import DataRecipe, EncoderRecipe, NeuronRecipe, Recipe, TrainingRecipe
from neurodeploy.training.assembly import network_of

STEPS, SAMPLES, SHAPE, CLASSES = 6, 4, (2, 8, 8), 5

NETWORKS = {
    "conv": {"family": "conv", "channels": [4, 6], "strides": [1, 2]},
    "conv_bn_pool": {
        "family": "conv",
        "channels": [4, 6],
        "strides": [1, 1],
        "pool": [2, 3],
        "batch_norm": True,
    },
    "conv_kernel5": {"family": "conv", "channels": [3], "strides": [2], "kernel": 5},
    "mlp": {"family": "mlp", "hidden": [20, 16]},
    "mlp_bn": {"family": "mlp", "hidden": [20, 16], "batch_norm": True},
}


def make_dataset(shape: tuple[int, ...] = SHAPE) -> Dataset:
    """Only shapes, levels and the number of classes matter here."""
    samples, labels = np.zeros((CLASSES, *shape), np.uint8), np.arange(CLASSES)
    return Dataset("made_up", 16, samples, labels, samples, labels)


def make_recipe(
    network: str = "conv",
    tau: float = 2.0,
    reset: Reset = "subtract",
    comparison: Comparison = ">=",
    encoder: EncoderRecipe | None = None,
) -> Recipe:
    return Recipe(
        name=network,
        description="for tests",
        data=DataRecipe("made_up"),
        neuron=NeuronRecipe(tau, v_threshold=0.7, reset=reset, comparison=comparison),
        training=TrainingRecipe(steps=STEPS, epochs=1, batch_size=4, learning_rate=0.1),
        network=NETWORKS[network],
        encoder=encoder or EncoderRecipe(),
    )


def make_model(recipe: Recipe, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> SpikingNetwork:
    """A float64 network in evaluation mode that spikes a lot, with statistics in its norms."""
    torch.manual_seed(seed)
    model = network_of(recipe, make_dataset(shape)).double().eval()
    with torch.no_grad():
        for layer in model.layers.values():
            if isinstance(layer, WSConv2d):
                assert layer.bias is not None
                layer.gain.uniform_(0.5, 1.5)
                layer.bias.normal_(0.3, 0.2)
            elif isinstance(layer, SkipInit):
                layer.gain.uniform_(0.5, 1.5)
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                # Excitation and inhibition that make a good part of the neurons fire.
                fan_in = layer.weight[0].numel()
                layer.weight.normal_(1 / fan_in, 1.5 / math.sqrt(fan_in))
                if layer.bias is not None:
                    layer.bias.uniform_(-0.1, 0.1)
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (layer.running_mean, layer.bias):
                    assert values is not None
                    values.uniform_(-0.2, 0.3)
                for values in (layer.running_var, layer.weight):
                    assert values is not None
                    values.uniform_(0.5, 1.5)
    return model
