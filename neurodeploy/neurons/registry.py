"""Neuron models beside the leaky one: a line for each file of this room that has one.

Its Lava process stands in the file of the same name in ``neurodeploy/lava/neuron_models``.
"""

from __future__ import annotations

from neurodeploy.ir.models import IntegerModel
from neurodeploy.neurons.adaptive import ADAPTIVE, QuantizedAdaptive
from neurodeploy.neurons.readout import READOUT, QuantizedReadout
from neurodeploy.neurons.relay import RELAY, QuantizedRelay
from neurodeploy.neurons.resonators import RESONATOR, QuantizedResonator
from neurodeploy.neurons.sigma_delta import (
    DELTA,
    SIGMA,
    SIGMA_DELTA,
    QuantizedDelta,
    QuantizedSigma,
    QuantizedSigmaDelta,
)

MODELS: dict[str, type[IntegerModel]] = {
    ADAPTIVE: QuantizedAdaptive,
    RELAY: QuantizedRelay,
    RESONATOR: QuantizedResonator,
    SIGMA: QuantizedSigma,
    DELTA: QuantizedDelta,
    SIGMA_DELTA: QuantizedSigmaDelta,
    READOUT: QuantizedReadout,
}
"""By the name that deployments and reports have for it: its integers."""
