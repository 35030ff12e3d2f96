"""The process; its behaviour is in ``models``."""

from __future__ import annotations

from lava.magma.core.process.process import AbstractProcess

from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.shared import SharedArrays


class FusedNetwork(AbstractProcess):
    """A whole network in one process; a batch of samples per Lava time step.

    Args:
        network: the quantised network.
        arrays: ``clock`` (1,) samples in the batch, ``drive``, and the records to fill.
    """

    def __init__(self, *, network: QuantizedNetwork, arrays: SharedArrays) -> None:
        super().__init__(network=network, arrays=arrays)
