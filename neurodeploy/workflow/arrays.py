"""Simulation and comparison of networks in memory: arrays in, arrays out, no files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from neurodeploy.data.npz import silent_after
from neurodeploy.errors import DataWarning, InputError, Setting, Text
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.reporting.parity import ParityReport
from neurodeploy.simulation.early_exit import EarlyReader, Exits
from neurodeploy.simulation.reading import read
from neurodeploy.simulation.trace import Samples, SpikeTrace, WholeTrace
from neurodeploy.workflow import engines as choice
from neurodeploy.workflow.device import engine_device
from neurodeploy.workflow.engines import EngineSettings, OverflowCount, network_engine
from neurodeploy.workflow.memory import check_memory, default_pair
from neurodeploy.workflow.sample_values import with_channel
from neurodeploy.workflow.samples import array_samples
from neurodeploy.workflow.validate import check_pair, compare


def simulate_arrays(
    network: Network | QuantizedNetwork,
    x: ArrayLike,
    engine: str = "reference",
    state: bool = True,
    batch_size: int | None = None,
    *,
    seed: int = 0,
    timeout: float | None = None,
    lengths: ArrayLike | None = None,
    device: str = "cpu",
) -> WholeTrace:
    """Simulate a network on samples, each starting from reset.

    The result holds all samples at once; ``batch_size`` limits the memory that an engine needs in
    addition. If values stay far below the input's range, a warning of the category
    ``errors.DataWarning`` asks whether that is meant.

    Args:
        network: of integers for the engines ``reference``, ``lava``, ``lava-fused`` and ``netx``,
            of floats for ``float`` and ``norse``.
        x: integers, (N, *input) or (N, T, *input). The former are static samples from 0 to the
            contract's ``levels``, which its encoder presents for T steps. The latter are the input
            of each step: 0 to ``levels`` if input is graded, otherwise spikes 0 and 1.
        engine: its name.
        state: also record u and v of every population after each step; slower in Lava.
        batch_size: samples at a time; a number that suits the network when None.
        seed: of the random draws of the ``rate`` encoder.
        timeout: wall-clock limit in seconds for engines in Lava.
        lengths: (N,) number of steps of each sample over time, 1..T: after them a sample is
            silent, and its class is read there. All T when None.
        device: that the ``reference`` computes on, by torch's name; ``auto`` for a GPU if there is
            one. The result is the same.

    Returns:
        By population: ``spikes`` (N, T, *shape) uint8, or integers for a graded input, and with
        ``state`` u and v of the same shape, int32, or float64 from float engines; and for the
        network the classes, or the predicted values of a regression, and the arithmetic overflow,
        which for engines in Lava is counted by the reference on the same samples.

    Raises:
        CheckFailedError: the device does not compute the same integers as the CPU.
        InputError: the engine is not known or is for the other kind of network; x has another shape
            or type, or values out of range; the device is not there, or not for this engine.
        MissingDependencyError: the engine needs Lava, lava-dl or Norse, which is not installed.
        UnsupportedError: the engine cannot express something in the network.
        SimulationError: Lava failed or ran out of time.
    """
    where = engine_device(device, [engine])
    samples = _samples(network, x, seed, lengths)
    size = _size(network, samples, batch_size)
    check_memory([engine], network, size, state=state)
    settings = EngineSettings(size, state, timeout, where)
    with network_engine(engine, network, settings) as running:
        overflow = OverflowCount(running, network)

        def traces() -> Iterator[SpikeTrace]:
            for batch, trace in running.run(samples.batches(size), state=state):
                overflow.add(batch)
                yield trace

        contract = network.contract
        values = partial(read, network) if contract.predicts_values else None
        return WholeTrace.of(traces(), contract.decode, overflow.found, samples.lengths, values)


def early_exits(
    network: Network | QuantizedNetwork,
    trace: WholeTrace,
    margin: float,
    lengths: ArrayLike | None = None,
) -> Exits:
    """Read the class of each sample at the first step at which it is certain enough.

    Args:
        network: the one that was simulated.
        trace: the result of ``simulate_arrays``.
        margin: by which the highest score has to exceed the second, above 0. Scores are what the
            contract decodes, after each step: in spikes if these are counted, otherwise in
            potentials of the float network.
        lengths: (N,) steps of each sample, as given to the simulation; T when None.

    Returns:
        ``classes`` and ``steps`` used of each sample, (N,) int64.

    Raises:
        InputError: the margin is not above 0, the network does not classify, or potentials were not
            recorded.
    """
    ends = None if lengths is None else np.asarray(lengths)
    if network.contract.decode != "spike_count" and trace[network.output].v is None:
        raise InputError("early_exits: simulate with state=True, which records the output's v")
    reader = EarlyReader(network, margin)
    return reader.read(SpikeTrace(0, trace.populations, network.output), ends)


def validate_arrays(
    network: Network | QuantizedNetwork,
    x: ArrayLike,
    engines: tuple[str, str] | None = None,
    batch_size: int | None = None,
    *,
    seed: int = 0,
    timeout: float | None = None,
    lengths: ArrayLike | None = None,
    device: str = "cpu",
) -> ParityReport:
    """Compare every population, step and sample of two engines.

    Integer engines have to agree bit for bit in spikes, u and v: ``report.mismatches`` is 0. Float
    engines round differently, so only spikes are compared, and for neurons that never spike the
    distance of their potentials. ``report.warnings`` names populations that were silent.

    Args:
        network, x, batch_size, seed, timeout, lengths, device: as for ``simulate_arrays``.
        engines: two different ones for this kind of network; when None, for integers,
            ``reference`` and ``lava``, or ``lava-fused`` if ``lava`` does not fit into memory.

    Raises:
        InputError: as ``simulate_arrays``, or the same engine twice.
        MissingDependencyError, UnsupportedError, SimulationError: as ``simulate_arrays``.
    """
    if engines is not None:
        check_pair(engines)
    where = engine_device(device, ["reference"] if engines is None else engines)
    samples = _samples(network, x, seed, lengths)
    size = _size(network, samples, batch_size)
    if engines is None:
        engines, reason = default_pair(network, size)
        check_pair(engines)
        if reason is not None:
            warnings.warn(reason, DataWarning, stacklevel=2)
    check_memory(engines, network, size, state=True, setting="engines")
    settings = EngineSettings(size, True, timeout, where)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(network_engine(name, network, settings)) for name in engines
        )
        return compare(network, (first, second), samples.batches(size))


def _samples(
    network: Network | QuantizedNetwork, x: ArrayLike, seed: int, lengths: ArrayLike | None
) -> Samples:
    """The array as samples of the network's input.

    Raises:
        InputError: its shape, type or values do not fit.
    """
    if not isinstance(network, Network | QuantizedNetwork):
        raise InputError(
            f"a Network or QuantizedNetwork is simulated, found {type(network).__name__}; a torch "
            "module becomes one by from_torch, a file by import_nir, and a deployment has one: "
            "load(path).network"
        )
    x, ends = np.asarray(x), None if lengths is None else np.asarray(lengths)
    if ends is not None:
        x, over_time = with_channel(x, network)
        x, _ = silent_after(x, ends, over_time, "lengths")
    samples = array_samples(x, None, network, seed=seed, lengths=ends)
    for warning in samples.warnings:
        warnings.warn(warning, DataWarning, stacklevel=3)
    return samples


def _size(network: Network | QuantizedNetwork, samples: Samples, wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise InputError(Text(Setting("batch_size", str(wanted)), ": needs at least 1 sample"))
    return min(samples.count, choice.batch_size(network) if wanted is None else wanted)
