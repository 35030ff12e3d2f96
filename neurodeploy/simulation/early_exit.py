"""Early exit: the class of a sample is read at the first step at which it is sure.

After step t the classes have scores: by ``sum_v`` sum_{k<=t} v[k], by ``spike_count`` the spikes
of the steps up to t, by ``last_v`` v[t]. A sample is sure once the highest score is at least
``margin`` above the second, and is read at its last step in any case. Every engine whose outputs
are equal exits at the same steps.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import SpikeTrace


@dataclass(frozen=True, eq=False)
class Exits:
    """Where samples were read.

    Attributes:
        classes: (N,) int64, the class of each.
        steps: (N,) int64, how many steps were used, from 1.
    """

    classes: np.ndarray
    steps: np.ndarray

    @staticmethod
    def joined(parts: list[Exits]) -> Exits:
        """Those of consecutive batches, of which there is at least one."""
        return Exits(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.steps for part in parts]),
        )


class EarlyReader:
    """Reads the samples of a network as soon as they are sure.

    Attributes:
        margin: as it was given: potentials in units of the network in floats, or spikes.
        unit: what that is, in words.
    """

    def __init__(self, network: Network | QuantizedNetwork, margin: float) -> None:
        """Take the network's decode.

        Raises:
            InputError: the margin is not above 0, or the network tells no classes apart.
        """
        given = Setting("early_exit", f"{margin:g}")
        if not (margin > 0 and math.isfinite(margin)):
            raise InputError(Text(given, ": needs a margin above 0"))
        if network.contract.predicts_values:
            found = f"{network.name} predicts values, so there is no class to be sure of"
            raise InputError(Text(given, f": {found}"))
        if network.classes < 2:
            raise InputError(Text(given, f": {network.name} has one output, and no second class"))
        self.margin = margin
        self.decode = network.contract.decode
        counts = self.decode == "spike_count"
        self.unit = "spikes" if counts else "potentials in floats"
        self._least = margin
        if isinstance(network, QuantizedNetwork) and not counts:
            self._least = margin * network.population(network.output).state_unit

    def read(self, trace: SpikeTrace, lengths: np.ndarray | None = None) -> Exits:
        """Read the samples of a batch.

        Args:
            lengths: (N,) steps of each sample; None for T of all.
        """
        record = trace.populations[trace.output]
        values = record.s if self.decode == "spike_count" else record.v
        if values is None:
            raise ValueError(f"decoding by {self.decode!r} needs v of {trace.output!r} recorded")
        values = values.reshape(*values.shape[:2], -1)
        if self.decode != "last_v":
            wide = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float64
            values = values.cumsum(axis=1, dtype=wide)
        highest = np.partition(values, -2, axis=2)
        sure = highest[..., -1].astype(np.float64) - highest[..., -2] >= self._least
        count, steps = sure.shape
        last = np.full(count, steps - 1) if lengths is None else np.asarray(lengths) - 1
        sure[np.arange(count), last] = True
        at = np.minimum(sure.argmax(axis=1), last)
        return Exits(values[np.arange(count), at].argmax(axis=1).astype(np.int64), at + 1)


@dataclass(frozen=True)
class EarlyExit:
    """What early exit makes of a simulation's samples.

    Attributes:
        margin, unit: as of ``EarlyReader``.
        decode: how scores come about.
        accuracy: share of samples whose class, read early, is the label; None without labels.
        agreement: share of samples that are read as after all their steps.
        mean_steps: that were used.
        all_steps: mean of those that samples last.
        steps, predicted: of each sample.
        synaptic_ops: of a sample, counted as for all steps, of the spikes of the steps used.
        energy_nj: ``low`` and ``high``, estimated as for all steps, from the spikes of the steps
            used and as many updates of neurons; None where the target has no figures.
    """

    margin: float
    unit: str
    decode: str
    accuracy: float | None
    agreement: float
    mean_steps: float
    all_steps: float
    steps: tuple[int, ...]
    predicted: tuple[int, ...]
    synaptic_ops: float
    energy_nj: dict[str, float] | None

    @property
    def saved_steps(self) -> float:
        """Mean of the steps that were not used."""
        return self.all_steps - self.mean_steps

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return {**asdict(self), "saved_steps": self.saved_steps}
