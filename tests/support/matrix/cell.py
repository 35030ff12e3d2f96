"""One cell of the matrix, and how it is found out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import nir
import numpy as np
from torch.fx.proxy import TraceError

from neurodeploy.errors import NeurodeployError
from neurodeploy.simulation.trace import PopulationTrace
from support.framework_runs import here, imported

EXPORTERS_RAISE = (NotImplementedError, TraceError, AssertionError, AttributeError, ValueError)
"""What exporters raise at what they cannot write; some by accident."""

Spikes = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Cell:
    """A network of one framework: exported by it, imported here, and run by both.

    Attributes:
        framework: with the version that ran.
        subject: the class of neuron or layer.
        reset: how it resets; empty for layers.
        parameters: what is not as by default.
        options: of the command line, that say what the file does not.
        export: makes the graph.
        theirs: runs the framework's network on an input; spikes (N, T, ...) by node.
        x: input (N, T, ...).
        late: steps by which its spikes come later there, as the notes say.
    """

    framework: str
    subject: str
    reset: str
    parameters: str
    export: Callable[[], nir.NIRGraph]
    theirs: Callable[[np.ndarray], Spikes]
    x: np.ndarray
    options: Mapping[str, Any] = field(default_factory=dict)
    late: int = 0

    @property
    def name(self) -> str:
        """All that says which cell it is."""
        parts = (self.framework, self.subject, self.reset, self.parameters)
        return ", ".join(part for part in parts if part)

    def outcome(self, folder: Path) -> str:
        """``equal``, or ``refused`` with the reason.

        Raises:
            AssertionError: the spikes of some neuron differ at some step, or none fires.
        """
        with quiet():
            try:
                graph = self.export()
            except EXPORTERS_RAISE as error:
                return f"refused by its exporter: {type(error).__name__}, {short(str(error))}"
            try:
                found = imported(graph, folder, self.framework.split()[0].lower(), **self.options)
            except NeurodeployError as error:
                return f"refused: {short(str(error))}"
            traces, theirs = here(found, self.x), self.theirs(self.x)
        for name, expected in theirs.items():
            self._compare(traces[name], expected, name)
        return "equal"

    def _compare(self, trace: PopulationTrace, expected: np.ndarray, name: str) -> None:
        """Every spike; of a readout, which has none, every potential."""
        steps = expected.shape[1] - self.late
        if set(np.unique(expected)) <= {0, 1}:
            np.testing.assert_array_equal(trace.s[:, :steps], expected[:, self.late :], name)
            assert expected.any(), f"{name} never fires"
            assert not expected.all(), f"{name} fires at every step"
        else:
            assert trace.v is not None
            np.testing.assert_allclose(trace.v[:, :steps], expected[:, self.late :], atol=1e-5)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what frameworks print, log and warn of."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def short(message: str) -> str:
    """The first reason, without the name of the file, in a line that a table can hold."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    first = lines[0].removeprefix("theirs.nir: ") if lines else "no reason given"
    plain = first.replace("|", "/").replace("<", "").replace(">", "")
    return plain if len(plain) <= MOST else f"{plain[:MOST].rstrip()} ..."


MOST = 130
"""Characters of a reason in the table."""
