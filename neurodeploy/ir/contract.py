"""What NIR leaves undefined, made explicit and carried in one metadata key of the graph.

NIR gives equations in continuous time. A deployment also needs the time step, the integrator, the
reset, the comparison, how samples become input and how the output is read. All of it stands here
and travels in ``graph.metadata["neurodeploy"]``; nothing else in a file is trusted to say it. Of a
file from elsewhere it is stated, and the contract follows from that and the file (``stated``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from neurodeploy.errors import InputError
from neurodeploy.ir.per_node import for_all, for_node, named
from neurodeploy.ir.source import DataSource
from neurodeploy.support.schema import build

METADATA_KEY = "neurodeploy"
FORMAT = 1
"""Version of the metadata layout."""

EXPORT_DT = 1e-4
"""Seconds per step in files we write: snnTorch, SpikingJelly and many Lava scripts assume it."""

MOST_INTEGER = 2**31 - 1
"""Steps of a sample and integers of an input are counted in 32 bits."""

Reset = Literal["zero", "subtract"]
NodeReset = Literal["zero", "subtract", "none"]
"""What a spike does to v in a node: of ``none``, nothing; neurons of a chip always reset."""
Comparison = Literal[">", ">="]
Integrator = Literal["euler", "exponential"]
Encoder = Literal["direct", "rate", "latency", "events"]
Decode = Literal["last_v", "sum_v", "spike_count"]
Task = Literal["classification", "regression"]
Gain = Literal["nir", "one"]
Origin = Literal["norse", "snntorch", "sinabs", "spikingjelly", "rockpool", "spyx", "nengo", "lava"]
"""Frameworks whose discretisation is known; see ``interchange.frameworks``."""


@dataclass(frozen=True)
class NodeSemantics:
    """What one node does that ``Semantics`` does not say of all; None where it says it.

    Attributes:
        reset, comparison: as in ``Semantics``.
        refractory_period: steps after a spike in which v is held and no spike can come.
    """

    reset: NodeReset | None = None
    comparison: Comparison | None = None
    refractory_period: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.refractory_period <= MOST_INTEGER:
            raise ValueError(
                f"refractory_period is in steps, at least 0, found {self.refractory_period}"
            )


@dataclass(frozen=True)
class Semantics:
    """How continuous equations become steps.

    Attributes:
        dt: seconds per step.
        reset: after a spike, v becomes ``zero``, loses (``subtract``) the threshold, or stays as it
            is (``none``).
        comparison: a neuron fires when v ``>`` or ``>=`` its threshold.
        integrator: ``euler`` keeps 1 - dt/tau of the state per step and feeds dt/tau of the input;
            ``exponential`` keeps exp(-dt/tau) and feeds 1 - exp(-dt/tau).
        nodes: by name, the nodes for which not all of that holds.
    """

    dt: float
    reset: NodeReset
    comparison: Comparison
    integrator: Integrator = "euler"
    nodes: dict[str, NodeSemantics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.dt < math.inf:
            raise ValueError(f"dt is in seconds and must be positive, found {self.dt}")

    def of(self, node: str) -> Semantics:
        """What holds for one node, said as of all."""
        own = self.nodes.get(node, NodeSemantics())
        return replace(
            self, reset=own.reset or self.reset, comparison=own.comparison or self.comparison
        )

    def refractory_period(self, node: str) -> int:
        """Steps that a node rests after a spike."""
        return self.nodes.get(node, NodeSemantics()).refractory_period

    def with_node(
        self, node: str, reset: NodeReset, comparison: Comparison, rest: int
    ) -> Semantics:
        """The same where this holds for one node; nothing is kept of one that is like all."""
        own = NodeSemantics(
            None if reset == self.reset else reset,
            None if comparison == self.comparison else comparison,
            rest,
        )
        nodes = {name: found for name, found in self.nodes.items() if name != node}
        return replace(self, nodes=nodes if own == NodeSemantics() else {**nodes, node: own})

    def stating(
        self,
        reset: NodeReset | Mapping[str, NodeReset] | None,
        comparison: Comparison | Mapping[str, Comparison] | None,
    ) -> Semantics:
        """The same with what is stated of all nodes, which then holds for each, or of some."""
        said = replace(
            self,
            reset=for_all(reset) or self.reset,
            comparison=for_all(comparison) or self.comparison,
        )
        for name in (*self.nodes, *named(reset), *named(comparison)):
            before, rest = self.of(name), self.refractory_period(name)
            own_reset: NodeReset | None = for_node(reset, name)
            own_comparison: Comparison | None = for_node(comparison, name)
            said = said.with_node(
                name, own_reset or before.reset, own_comparison or before.comparison, rest
            )
        return said


def _up_to(found: int) -> str:
    """The end of a message on a number that is out of range."""
    return f" and at most {MOST_INTEGER:,}, found {found}" if found > 0 else f", found {found}"


def own_semantics(semantics: Semantics) -> dict[str, str]:
    """What holds for single nodes only, in words, by the node."""

    def words(own: NodeSemantics) -> str:
        rest = own.refractory_period
        parts = (
            own.comparison and f"fires at v {own.comparison} threshold",
            own.reset and f"reset {own.reset}",
            rest and f"v held for {rest} step{'s' if rest > 1 else ''} after a spike",
        )
        return ", ".join(part for part in parts if part)

    return {name: words(own) for name, own in semantics.nodes.items()}


@dataclass(frozen=True)
class InputCode:
    """How a sample enters the network.

    Attributes:
        encoder: ``direct`` repeats the sample's integers at every step as graded spikes, ``rate``
            draws Bernoulli spikes with probability value/levels, ``latency`` gives each value one
            spike, the earlier the larger it is, ``events`` takes (T, ...) spikes or counts.
        levels: the largest integer; the float network sees integer/levels. 1 for binary spikes.
        biases: samples are the biases of an input layer of a ``.net``, integers from ``offset`` to
            offset + levels, or floats x from 0 to 1, which make trunc(levels x + offset), as
            lava-dl's PilotNet reads its images. The network takes them less ``offset``.
    """

    encoder: Encoder
    levels: int = 1
    biases: bool = False
    offset: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= MOST_INTEGER:
            raise ValueError(f"levels must be at least 1{_up_to(self.levels)}")
        if abs(self.offset) > MOST_INTEGER:
            raise ValueError(f"offset must be within 32 bits, found {self.offset}")

    @property
    def graded(self) -> bool:
        """Whether input carries integers instead of binary spikes."""
        return self.encoder in ("direct", "events") and self.levels > 1

    @property
    def payload(self) -> int:
        """Largest integer an input event carries: ``levels`` when graded, else 1."""
        return self.levels if self.graded else 1


@dataclass(frozen=True)
class Contract:
    """Everything a deployment assumes beyond the NIR equations.

    Attributes:
        steps: T, steps per sample.
        decode: what is read of each output: the last v, the sum of v, or the number of spikes.
        dataset: name in ``neurodeploy.data.DATASETS``, or an empty string.
        source: where that data set lay when the network was trained.
        task: of ``classification``, the class is argmax of what is read. Of ``regression``, each
            output gives a value, value_offset + value_scale r/T, for r read in units of the
            network in floats: the mean output of a step, in units of the data.
        value_scale, value_offset: of ``regression``.
    """

    semantics: Semantics
    input_code: InputCode
    steps: int
    decode: Decode
    dataset: str = ""
    source: DataSource = field(default_factory=DataSource)
    task: Task = "classification"
    value_scale: float = 1.0
    value_offset: float = 0.0

    def __post_init__(self) -> None:
        scale, offset = self.value_scale, self.value_offset
        if not (math.isfinite(scale) and math.isfinite(offset) and scale):
            raise ValueError(
                f"value_scale and value_offset are finite, the first not 0, found {scale:g} and "
                f"{offset:g}"
            )
        if self.task == "classification" and (scale, offset) != (1, 0):
            raise ValueError("value_scale and value_offset are of task = 'regression'")
        if not 1 <= self.steps <= MOST_INTEGER:
            raise ValueError(f"steps must be at least 1{_up_to(self.steps)}")

    @property
    def predicts_values(self) -> bool:
        """Whether outputs are values instead of one class together."""
        return self.task == "regression"

    def to_table(self) -> dict[str, Any]:
        """Nested dict; of a classification without what only a regression says."""
        return {key: value for key, value in asdict(self).items() if self._is_said(key)}

    def _is_said(self, key: str) -> bool:
        return self.predicts_values or key not in ("task", "value_scale", "value_offset")

    def to_metadata(self) -> dict[str, Any]:
        """Nested dict of scalars and strings, as NIR metadata can hold it.

        Of the place of the data only its last part is written: these files are handed on, and
        where somebody keeps their data is nobody else's business.
        """
        source = replace(self.source, path=Path(self.source.path).name)
        table = {**self.to_table(), "source": source.to_table()}
        # HDF5 has neither None nor empty tables.
        nodes = {
            name: {key: value for key, value in own.items() if value is not None}
            for name, own in table["semantics"].pop("nodes").items()
        }
        table["semantics"] |= {"nodes": nodes} if nodes else {}
        return {"format": FORMAT, **table}

    @staticmethod
    def from_metadata(metadata: Mapping[str, Any], where: str) -> Contract:
        """Read back what ``to_metadata`` wrote.

        Raises:
            InputError: another layout, unknown or missing keys, or values of the wrong type, named
                with ``where``.
        """
        table = plain(metadata)
        found = table.pop("format", None)
        if found != FORMAT:
            raise InputError(f"{where}: format {found!r}; this version reads format {FORMAT}")
        return build(Contract, table, where)


def plain(value: Any) -> Any:
    """NIR gives numpy scalars and byte strings back; make them plain Python values."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    # Of an array, tolist makes a list, which no field of the contract takes.
    return value.tolist() if hasattr(value, "tolist") else value
