"""Samples cut into shards, which workers simulate or compare as one process would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import NET_FILE
from neurodeploy.errors import Setting, Text
from neurodeploy.farm import Ask, Place
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.reporting.parity import ParityComparison
from neurodeploy.reporting.parity_report import ParityReport
from neurodeploy.simulation.early_exit import EarlyReader
from neurodeploy.simulation.trace import Overflow, SampleBatch, Samples, SpikeTrace
from neurodeploy.support.partial import temporary_folder
from neurodeploy.workflow.engines import (
    ENGINES,
    FLOAT_ENGINES,
    LAVA_ENGINES,
    DeploymentSource,
    Engine,
    EngineSettings,
    OverflowCount,
    batch_size,
)
from neurodeploy.workflow.tally import Tally

if TYPE_CHECKING:
    import nir

FOR_EACH_WORKER = 4
"""Batches that each worker should get: of fewer, one that is slow holds up all."""

SHARDS_FOR_EACH = 8
"""Shards that each worker should get where there are batches for them."""

MOST_BYTES = 2**26
"""That the input of a shard may take, roughly: it may travel, and several wait for their turn."""

MOST_BATCHES = 16


@dataclass(frozen=True)
class Cut:
    """How samples are cut.

    Attributes:
        batch: samples at a time. What floats add up depends on it in their last digits, so where
            they take part it is that of one process.
        batches: of each shard.
        count: of all samples.
        start: the sample to begin with.
    """

    batch: int
    batches: int
    count: int
    start: int = 0

    @property
    def size(self) -> int:
        """Samples of a shard."""
        return self.batch * self.batches

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-(self.count - self.start) // self.size)

    def name(self, number: int) -> str:
        """Of a shard, for messages."""
        first = self.start + number * self.size
        last = min(first + self.size, self.count) - 1
        return f"samples {first:,} to {last:,}" if last > first else f"sample {first:,}"

    def firsts(self) -> range:
        """The shards, each by the number of its first sample."""
        return range(self.start, self.count, self.size)

    def of(self, samples: Samples) -> Callable[[int], list[SampleBatch]]:
        """What makes the batches of a shard from the number of its first sample."""
        return lambda first: [*samples.batches(self.batch, first, first + self.size)]

    def too_many(self, place: Place | None) -> tuple[str, ...]:
        """What to say when some workers have nothing to do."""
        if place is None or not place.here or place.workers <= self.shards:
            return ()
        return (
            Text(
                Setting("workers", str(place.workers)),
                f": {self.count:,} samples make {self.shards} piece{'s' * (self.shards > 1)} of "
                f"work, so {self.shards} of them had something to do",
            ),
        )


def cut(
    samples: Samples,
    network: Network | QuantizedNetwork,
    engines: Sequence[str],
    workers: int,
    *,
    whole_batches: bool = False,
) -> Cut:
    """Shards of equal length, as many for each worker.

    Args:
        workers: that there are at least.
        whole_batches: batches are to be those of one process, whatever computes; the last shard
            may be shorter then.
    """
    count, size = samples.count, batch_size(network)
    fixed = whole_batches or bool(set(engines) & set(FLOAT_ENGINES))
    if not fixed:
        size = min(size, max(1, count // (workers * FOR_EACH_WORKER)))
    first = next(iter(samples.batches(min(size, count))))
    heavy = max(1, MOST_BYTES // max(first.values.nbytes, 1))
    batches = max(1, min(count // (size * workers * SHARDS_FOR_EACH), heavy, MOST_BATCHES))
    if not fixed:
        rounds = -(-count // (size * batches * workers))
        size = -(-count // (rounds * workers * batches))
    return Cut(size, batches, count)


@dataclass(frozen=True, eq=False)
class Packed:
    """What engines are made from, by value, where no folder is shared with this machine."""

    network: QuantizedNetwork
    in_floats: Network | None
    in_nir: nir.NIRGraph | None
    net: bytes | None
    folder: Path | None = None

    def integers(self) -> QuantizedNetwork:
        """The integers."""
        return self.network

    def floats(self) -> Network:
        """The floats, if they were asked for."""
        assert self.in_floats is not None
        return self.in_floats

    def graph(self) -> tuple[nir.NIRGraph, QuantizedNetwork]:
        """The floats in NIR, if they were asked for, and a network with the same populations."""
        assert self.in_nir is not None
        return self.in_nir, self.network

    def net_file(self) -> Path:
        """The integers as lava-dl reads them, if they were asked for."""
        assert self.net is not None and self.folder is not None
        path = self.folder / NET_FILE
        path.write_bytes(self.net)
        return path


def packed(deployment: Deployment, engines: Sequence[str]) -> Packed:
    """What these engines ask for.

    Raises:
        InputError, UnsupportedError: as the source says where something is missing.
    """
    source = DeploymentSource(deployment)
    return Packed(
        source.integers(),
        source.floats() if "float" in engines else None,
        source.graph()[0] if "norse" in engines else None,
        source.net_file().read_bytes() if "netx" in engines else None,
    )


def load_for(engines: Sequence[str]) -> None:
    """Load what engines need, so that helpers, which are copies of this process, have it."""
    # The reference counts the overflow of those in Lava.
    from neurodeploy.simulation import engines as own

    _ = own
    if set(engines) & set(LAVA_ENGINES):
        from neurodeploy.lava import fused, netx, stock
        from neurodeploy.lava.compat import require_lava

        _ = fused, netx, stock
        require_lava()


class _Session:
    """An engine that simulates batch after batch as they come, in one run."""

    def __init__(self, engine: Engine, state: bool) -> None:
        self.engine = engine
        self._state = state
        self._coming: list[SampleBatch] = []
        self._run = engine.run(self._batches(), state=state)

    def _batches(self) -> Iterator[SampleBatch]:
        while True:
            yield self._coming.pop()

    def step(self, batch: SampleBatch) -> SpikeTrace:
        """What happens in a batch: an engine asks for one when it is asked for its trace."""
        self._coming.append(batch)
        return next(self._run)[1]


@contextmanager
def _sessions(
    source: Packed, engines: Sequence[str], settings: EngineSettings
) -> Iterator[list[_Session]]:
    with ExitStack() as held:
        source = replace(source, folder=held.enter_context(temporary_folder()))
        found = []
        for name in engines:
            engine = ENGINES[name](source, settings)
            held.callback(engine.close)
            found.append(_Session(engine, settings.state))
        yield found


@dataclass(frozen=True)
class Simulated:
    """A shard after its simulation.

    Attributes:
        traces: of its batches, where somebody wants them.
    """

    tally: Tally
    traces: tuple[SpikeTrace, ...]


@dataclass(frozen=True, eq=False)
class SimulationWork:
    """Simulating shards on one engine.

    Attributes:
        margin: of early exit, None without.
        traces: whether these are wanted, in the state that ``with_state`` says.
    """

    source: Packed
    engine: str
    settings: EngineSettings
    metrics: tuple[str, ...] = ()
    margin: float | None = None
    traces: bool = False
    with_state: bool = False

    @contextmanager
    def opened(self) -> Iterator[Ask]:
        """An engine, and what simulates the batches of a shard on it."""
        network = self.source.network
        with _sessions(self.source, [self.engine], self.settings) as (session,):
            overflow = OverflowCount(session.engine, network)

            def simulate(shard: list[SampleBatch]) -> Simulated:
                reader = None if self.margin is None else EarlyReader(network, self.margin)
                tally, traces = Tally(network, self.metrics, reader), []
                overflow.found.populations = {}
                for batch in shard:
                    trace = session.step(batch)
                    tally.add(trace, batch)
                    if self.traces:
                        traces.append(trace if self.with_state else trace.without_state())
                    overflow.add(batch)
                tally.overflow = Overflow(overflow.found.populations)
                return Simulated(tally, tuple(traces))

            yield simulate


@dataclass(frozen=True, eq=False)
class ValidationWork:
    """Comparing two engines on shards."""

    source: Packed
    engines: tuple[str, str]
    settings: EngineSettings

    def comparison(self) -> ParityComparison:
        """A comparison of no samples so far."""
        exact = not set(self.engines) & set(FLOAT_ENGINES)
        return ParityComparison(self.source.network, self.engines, exact=exact)

    @contextmanager
    def opened(self) -> Iterator[Ask]:
        """Both engines, and what compares them on the batches of a shard."""
        with _sessions(self.source, self.engines, self.settings) as (first, second):

            def compare(shard: list[SampleBatch]) -> ParityReport:
                comparison = self.comparison()
                for batch in shard:
                    one, other = first.step(batch), second.step(batch)
                    comparison.add(one, other, batch.labels, batch.lengths)
                return comparison.report

            yield compare
