"""What spiking networks are made of in torch, usable in any module.

A layer's call is one step: spikes or values of (N, ...) in and out. ``reset`` starts a new batch.
"""

from __future__ import annotations

from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.delays import DelayedLinear, anneal_delays
from neurodeploy.nn.layers import Dropout, Scale, SkipInit, WSConv2d
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.populations import Neurons
from neurodeploy.nn.steps import reset
from neurodeploy.nn.surrogate import SURROGATES

__all__ = [
    "LI",
    "LIF",
    "SURROGATES",
    "CubaLIF",
    "DelayedLinear",
    "Dropout",
    "Neurons",
    "Scale",
    "SkipInit",
    "SpikingNetwork",
    "WSConv2d",
    "anneal_delays",
    "reset",
]
