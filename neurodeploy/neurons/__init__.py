"""Neuron models: one file per NIR primitive, from its equation in continuous time to steps.

``NEURONS`` maps the NIR primitive's name to a function that takes the node, the semantics and the
place to name in messages, and returns the discrete ``Neuron`` and the gain of its input (a factor
per neuron that is folded into the incoming weights). Every model reduces to the equations in
``network``; how those are computed in floats and in integers is in ``dynamics``.
"""

from __future__ import annotations

from collections.abc import Callable

import nir
import numpy as np

from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.network import Neuron
from neurodeploy.neurons.cuba_li import discretize_cuba_li
from neurodeploy.neurons.cuba_lif import discretize_cuba_lif
from neurodeploy.neurons.integrate import discretize_i
from neurodeploy.neurons.integrate_fire import discretize_if
from neurodeploy.neurons.li import discretize_li
from neurodeploy.neurons.lif import discretize_lif
from neurodeploy.neurons.threshold import discretize_threshold

Discretize = Callable[[nir.NIRNode, Semantics, str], tuple[Neuron, np.ndarray]]

NEURONS: dict[str, Discretize] = {
    "LIF": discretize_lif,
    "CubaLIF": discretize_cuba_lif,
    "IF": discretize_if,
    "LI": discretize_li,
    "CubaLI": discretize_cuba_li,
    "I": discretize_i,
    "Threshold": discretize_threshold,
}
