"""The traces of all batches as one: every population over all samples, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.contract import Decode
from neurodeploy.simulation.trace import Overflow, PopulationTrace, SpikeTrace


@dataclass(frozen=True, eq=False, repr=False)
class WholeTrace(Mapping[str, PopulationTrace]):
    """What every population did, by name: ``trace["lif1"].spikes`` is (N, T, *shape).

    Attributes:
        populations: name to spikes and, where recorded, state over all N samples.
        classes: (N,) int64, the predicted class of each sample: argmax of what the contract
            decodes, the lowest class on a tie.
        overflow: wraps of u and saturations of v by population; empty for engines of floats.
    """

    populations: Mapping[str, PopulationTrace]
    classes: np.ndarray
    overflow: Overflow

    @staticmethod
    def of(traces: Iterable[SpikeTrace], decode: Decode, overflow: Overflow) -> WholeTrace:
        """The traces of consecutive batches, of which there is at least one, put together.

        Args:
            decode: how the class is read from the output.
            overflow: of all of them; may still be counted while ``traces`` are taken.
        """
        taken: list[SpikeTrace] = []
        classes: list[np.ndarray] = []
        for trace in traces:
            taken.append(trace)
            classes.append(trace.predictions(decode).astype(np.int64))
        populations = {
            name: _joined([trace.populations[name] for trace in taken])
            for name in taken[0].populations
        }
        return WholeTrace(populations, np.concatenate(classes), overflow)

    def __getitem__(self, name: str) -> PopulationTrace:
        return self.populations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.populations)

    def __len__(self) -> int:
        return len(self.populations)

    def __repr__(self) -> str:
        return f"WholeTrace of {len(self.classes)} samples: {', '.join(self)}"

    def keys(self) -> KeysView[str]:
        """Names of the populations, the input first."""
        return self.populations.keys()


def _joined(records: list[PopulationTrace]) -> PopulationTrace:
    """One population over several batches, each of which has the same of it."""
    arrays = {
        what: [array for record in records if (array := getattr(record, what)) is not None]
        for what in ("s", "u", "v")
    }
    return PopulationTrace(**{what: np.concatenate(a) for what, a in arrays.items() if a})
