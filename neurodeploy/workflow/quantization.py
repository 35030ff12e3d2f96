"""From a NIR file's network to integers, as trained for, calibrated or without, and back to NIR.

As NIR, integers are floats on their grid, with the formats to read them back by.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import nir
import numpy as np
from numpy.typing import ArrayLike

from neurodeploy.artifacts.names import QUANTIZED_NIR
from neurodeploy.data import NEED_NO_FILE
from neurodeploy.errors import (
    DataWarning,
    InputError,
    NeurodeployError,
    Setting,
    Text,
    UnsupportedError,
    nearest,
)
from neurodeploy.farm import Place
from neurodeploy.interchange.hdf5 import check_content
from neurodeploy.interchange.nir.file import own_nir
from neurodeploy.interchange.nir.network_in import stepped_as_written, to_network
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import PLAN_KEY, QuantizationPlan, QuantizedNetwork
from neurodeploy.quantization.planned import on_grid, plan_of, quantize_as_planned
from neurodeploy.quantization.post_training import quantize
from neurodeploy.quantization.scales import ScaleMethod
from neurodeploy.quantization.sigma_delta import (
    is_sigma_delta,
    quantize_sigma_delta,
    reach_on,
)
from neurodeploy.simulation.firing import as_notes
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.files import write_whole
from neurodeploy.target import Target
from neurodeploy.workflow.samples import array_samples, file_samples, training_samples

if TYPE_CHECKING:
    from neurodeploy.workflow.calibration import SpikeJudge

SAMPLES = 128
"""Calibration samples of a small network: more change no choice on MNIST."""

FEWEST = 8

OPERATIONS = 4e11
"""Multiplications, about a minute of one core, that a calibration may take unless told otherwise;
networks that need more get fewer samples, but no fewer than ``FEWEST``."""

PASSES = 13
"""Simulations of each population: one in floats, twelve in integers."""


@dataclass(frozen=True)
class QuantizationOptions:
    """What the user asks for; None where not stated.

    Attributes:
        weight_bits: width of all weights; the target's, or what the network was trained for.
        scale: how scales are chosen; what the network was trained for, else ``calibrate`` where
            the training data is there, else ``mse``.
        calibrate: number of training samples, or an ``.npz`` as ``file_samples`` takes it.
    """

    weight_bits: int | None = None
    scale: ScaleMethod | None = None
    calibrate: str | None = None

    def __post_init__(self) -> None:
        if self.calibrate is not None and self.scale not in (None, "calibrate"):
            raise InputError(
                Text(
                    Setting("calibrate"),
                    " gives data for ",
                    Setting("scale", "calibrate"),
                    f", not {self.scale}",
                )
            )


def quantized(
    network: Network,
    target: Target,
    options: QuantizationOptions,
    plan: QuantizationPlan | None,
    bias_exponent_min: int = 0,
    place: Place | None = None,
) -> QuantizedNetwork:
    """Round a network to a target's integers.

    Args:
        plan: what the network was trained for, or None. Any option overrides it.
        bias_exponent_min: without a plan, biases are multiples of 2 to this.
        place: where a calibration is computed; None for this process.

    Raises:
        InputError: calibration data cannot be read or does not fit, or there is no calibration to
            compute at a place.
        UnsupportedError: the network is not on the grid of its plan.
    """
    if plan is not None and options == QuantizationOptions():
        _check_shared(place, f"scales are those trained for {plan.target}")
        found = quantize_as_planned(network, target, plan)
        return _noted(found, f"as trained for {plan.target}")
    method, why_not = options.scale, Text()
    samples = None
    if method == "calibrate" or options.calibrate is not None:
        method, samples = "calibrate", _samples(network, options.calibrate)
    elif method is None:
        try:
            samples = _samples(network, None) if _has_data(network) else None
        except NeurodeployError as error:
            why_not = Text(" (no calibration: ", error.text, ")")
        if samples is None and not why_not and network.contract.dataset:
            why_not = Text(
                f" (no calibration: data set {network.contract.dataset!r} is not where it was; "
                "samples can be given with ",
                Setting("calibrate", "FILE.npz"),
                ")",
            )
        method = "mse" if samples is None else "calibrate"
    if samples is None:
        _check_shared(place, Text(f"scales are chosen by {method}", why_not))
    with _judge(network, samples, place) as judge:
        found = quantize(
            network,
            target,
            options.weight_bits,
            scale=method,
            judge=judge,
            bias_exponent_min=bias_exponent_min,
        )
    on = "" if samples is None else f" on {samples.count:,} samples, {samples.origin}"
    return _noted(found, Text(f"by {method}{on}", why_not), samples, judge)


def _check_shared(place: Place | None, how: str) -> None:
    """Refuse workers that would have nothing to do.

    Args:
        how: scales come about.
    """
    if place is not None:
        raise InputError(
            Text(Setting(place.setting), " shares a calibration, and there is none: ", how),
            fix=Text("leave it out, or calibrate with ", Setting("scale", "calibrate")),
        )


def quantized_on(
    network: Network,
    target: Target,
    bits: int | None = None,
    scale: ScaleMethod | None = None,
    calibration: ArrayLike | None = None,
) -> QuantizedNetwork:
    """Round a network in memory to a target's integers; nothing is read from disk.

    Args:
        bits: width of all weights; the target's when None.
        scale: how scales are chosen; ``calibrate`` where samples are given, else ``mse``.
        calibration: integers (N, *input) or (N, T, *input), as the network takes them.

    Raises:
        InputError: samples that do not fit, or none for ``calibrate``.
        UnsupportedError: the target has no such width, or cannot hold the network.
    """
    widest = target.synapse.weight_bits.value
    if scale is not None and scale not in get_args(ScaleMethod):
        raise InputError(f"scale {scale!r} is not known{nearest(scale, get_args(ScaleMethod))}")
    if bits is not None and not isinstance(bits, int):
        raise InputError(f"bits is a whole number, found {bits!r}")
    if bits is not None and not 1 <= bits <= widest:
        raise UnsupportedError(f"bits = {bits}: weights of {target.name} have 1 to {widest} bits")
    samples = None
    if calibration is not None:
        samples = array_samples(np.asarray(calibration), None, network, where="calibration")
    if is_sigma_delta(network):
        return _sigma_delta(network, target, bits, scale, samples)
    method = scale or ("mse" if samples is None else "calibrate")
    if (method == "calibrate") != (samples is not None):
        raise InputError(
            "calibration gives samples for scale='calibrate', which needs them; found "
            f"scale={method!r} and {'no' if samples is None else samples.count} samples"
        )
    with _judge(network, samples) as judge:
        found = quantize(network, target, bits, scale=method, judge=judge)
    on = "" if samples is None else f" on {samples.count:,} samples"
    for warning in samples.warnings if samples else ():
        warnings.warn(warning, DataWarning, stacklevel=3)
    return _noted(found, f"by {method}{on}", samples, judge)


def _sigma_delta(
    network: Network,
    target: Target,
    bits: int | None,
    scale: ScaleMethod | None,
    samples: Samples | None,
) -> QuantizedNetwork:
    """A sigma-delta network in integers, whose scales follow from what samples reach.

    Raises:
        InputError: no samples, or another way of choosing scales.
    """
    if samples is None or scale not in (None, "calibrate"):
        raise InputError(
            f"network {network.name!r}: sigma-delta neurons get their scales from what they reach "
            "on samples",
            fix=Text("give ", Setting("calibration"), ", and no other ", Setting("scale")),
        )
    for warning in samples.warnings:
        warnings.warn(warning, DataWarning, stacklevel=4)
    found = quantize_sigma_delta(network, target, reach_on(network, samples), bits)
    return _noted(found, f"by reach on {samples.count:,} samples", samples)


def _judge(
    network: Network, samples: Samples | None, place: Place | None = None
) -> AbstractContextManager[SpikeJudge | None]:
    """What compares spikes on the samples; nothing of torch is loaded without any."""
    if samples is None:
        return nullcontext()
    from neurodeploy.workflow.calibration import spike_judge

    return spike_judge(network, samples, place)


def _noted(
    network: QuantizedNetwork,
    how: str,
    samples: Samples | None = None,
    judge: SpikeJudge | None = None,
) -> QuantizedNetwork:
    """The network with a first note on where its scales come from.

    Last come warnings: of samples that look like a mistake and of layers that carried nothing.
    """
    asked = () if samples is None else samples.warnings
    silent = () if judge is None else judge.warnings()
    notes = {"scales": how, **network.notes, **as_notes((*asked, *silent))}
    return replace(network, notes=notes)


def _has_data(network: Network) -> bool:
    """Whether the training data lies where it did, without fetching anything."""
    contract = network.contract
    if not contract.source.path:
        return contract.dataset in NEED_NO_FILE
    return bool(contract.dataset) and Path(contract.source.path).exists()


def _samples(network: Network, choice: str | None) -> Samples:
    """Calibration samples: so many of the training set, or those of a file."""
    most = calibration_count(network)
    if choice is None:
        return training_samples(network, most)
    if not choice.isdecimal():
        return file_samples(Path(choice), network, None)
    if int(choice) < 1:
        raise InputError(Text(Setting("calibrate", choice), ": needs at least 1 sample"))
    return training_samples(network, int(choice))


def calibration_count(network: Network) -> int:
    """How many samples a calibration takes when nobody says: ``SAMPLES``, fewer for large networks.

    A function of the network alone, so that every machine takes the same.
    """
    per_step = 0
    for projection in network.projections:
        operator = projection.operator
        positions = math.prod(operator.output_shape[1:]) if isinstance(operator, Convolution) else 1
        per_step += operator.weights.size * positions
    affordable = OPERATIONS / (max(per_step, 1) * network.contract.steps * PASSES)
    return max(FEWEST, min(SAMPLES, int(affordable)))


def quantized_graph(network: QuantizedNetwork, target: str) -> nir.NIRGraph:
    """A NIR graph whose floats are the deployed integers.

    Exporting it quantises to the same integers again, by the plan in its metadata.

    Args:
        target: name of the target that the integers are for.

    Raises:
        UnsupportedError: NIR has no node for something, which is named.
    """
    floats = on_grid(network)
    graph = network_to_nir(floats)
    contract = stepped_as_written(graph, floats.contract, floats.name)
    _check_names(floats, to_network(graph, contract, floats.name))
    graph.metadata[PLAN_KEY] = plan_of(network, target).to_metadata()
    return graph


def quantized_nir(
    network: QuantizedNetwork, target: str
) -> tuple[QuantizedNetwork, dict[str, Callable[[Path], None]]]:
    """What writes the integers as NIR into a deployment; nothing, and a note, where NIR cannot."""
    return nir_part(network, QUANTIZED_NIR, lambda: quantized_graph(network, target))


def nir_part(
    network: QuantizedNetwork, name: str, make: Callable[[], nir.NIRGraph]
) -> tuple[QuantizedNetwork, dict[str, Callable[[Path], None]]]:
    """What writes a graph into a deployment; nothing, and a note, where NIR cannot hold it.

    Zeros of a sparse matrix that NIR holds as a dense one pack so well that a reader, ours too,
    would take the file for one made to fill its memory; such a file is not written.

    Args:
        name: of the file.
        make: gives the graph, or raises UnsupportedError.
    """
    notes = {key: note for key, note in network.notes.items() if key != name}
    try:
        content = own_nir(make())
        check_content(content, name)
    except (InputError, UnsupportedError) as error:
        return replace(network, notes={**notes, name: Text("not written: ", error.text)}), {}
    return replace(network, notes=notes), {name: lambda path: write_whole(path, content)}


def _check_names(written: Network, read: Network) -> None:
    """The plan finds projections by their names, so these have to survive."""
    before, after = ({p.name for p in network.projections} for network in (written, read))
    if before != after:
        lost = ", ".join(map(repr, sorted(before - after)))
        raise UnsupportedError(f"projection {lost}: takes several NIR nodes, none of that name")
