"""Neuron models: a function per NIR primitive, from its equation in continuous time to steps.

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
from neurodeploy.neurons.kinds import (
    discretize_cuba_li,
    discretize_cuba_lif,
    discretize_i,
    discretize_if,
    discretize_li,
    discretize_lif,
    discretize_threshold,
)

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
