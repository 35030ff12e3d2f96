"""Whether a device computes the integers of the CPU: each layer of a network is tried on both.

Spikes, messages and sums are drawn over the whole range that the network allows, so that the
largest sums of each layer are among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from neurodeploy.errors import CheckFailedError, InputError
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedProjection
from neurodeploy.neurons.dynamics import FixedStepper
from neurodeploy.simulation.device import ON_THE_CPU
from neurodeploy.simulation.exact import accumulator, sum_dtype

OPERATIONS = 10**8
"""Connections that the CPU computes for a layer, roughly a tenth of a second."""

MOST_ROWS = 64
"""Inputs of a layer that are tried at most; 2 are always."""

MOST_STEPS = 8
"""Steps that neurons are tried for."""

LARGEST = 2.0**40
"""Sums that neurons are tried with at most: far more than the 32 bits that they wrap in."""


def check_layers(
    network: QuantizedNetwork, bounds: Mapping[str, float], device: torch.device
) -> None:
    """Refuse a device that gives other sums for a projection than the CPU.

    Args:
        bounds: no sum that arrives at a population exceeds this, by name.

    Raises:
        CheckFailedError: naming the first projection.
        InputError: the device cannot compute one.
    """
    rng = np.random.default_rng(0)
    for projection in network.projections:
        layer = f"projection {projection.name!r} ({projection.operator.kind})"
        dtype, spikes = sum_dtype(bounds[projection.target]), _inputs(projection, rng)
        _compare(layer, partial(_summed, projection, dtype, spikes), device)


def check_neurons(
    network: QuantizedNetwork, bounds: Mapping[str, float], device: torch.device
) -> None:
    """Refuse a device on which leaky neurons do other steps than on the CPU.

    Args:
        bounds: no sum that arrives at a population exceeds this, by name.

    Raises:
        CheckFailedError: naming the first population.
        InputError: the device cannot step one.
    """
    rng = np.random.default_rng(0)
    for population in network.populations:
        if population.neuron is None or isinstance(population.neuron, IntegerModel):
            continue
        bound, steps = bounds[population.name], network.contract.steps
        arriving = [_sums(bound, population.shape, rng) for _ in range(min(steps, MOST_STEPS))]
        make = partial(FixedStepper, population.leaky, population.shape, bound, steps)
        _compare(f"population {population.name!r}", partial(_stepped, make, arriving), device)


def _summed(
    projection: QuantizedProjection,
    dtype: torch.dtype,
    spikes: torch.Tensor,
    place: torch.device | None,
) -> torch.Tensor:
    """All sums of a projection and how many left 32 bits, int64 on the CPU; computed at a place."""
    beyond: list[int] = []
    found = accumulator(projection, dtype, beyond.append, place)(spikes.to(place or "cpu"))
    return torch.cat([found.cpu().to(torch.int64).flatten(), torch.tensor([sum(beyond)])])


def _stepped(
    make: Callable[[torch.device | None], FixedStepper],
    arriving: list[torch.Tensor],
    place: torch.device | None,
) -> torch.Tensor:
    """Spikes, states and counts of all steps, int64 on the CPU; computed at a place."""
    stepper, found = make(place), []
    stepper.reset()
    for activation in arriving:
        fires = stepper.step(activation.to(place or "cpu"))
        found += [
            values.cpu().to(torch.int64).flatten() for values in (fires, *stepper.state.values())
        ]
    return torch.cat([*found, torch.tensor([stepper.wraps, stepper.saturations])])


def _compare(
    layer: str, compute: Callable[[torch.device | None], torch.Tensor], device: torch.device
) -> None:
    """Compute integers on the CPU as ever, and on the device.

    Raises:
        CheckFailedError: they differ.
        InputError: the device cannot.
    """
    expected = compute(None)
    with _able(layer, device):
        found = compute(device)
    wrong = expected.numel()
    if found.shape == expected.shape:
        wrong = int((found != expected).sum())
    if wrong:
        raise CheckFailedError(
            f"device {str(device)!r}: {layer}: {wrong:,} of {expected.numel():,} integers tried "
            "differ from the CPU's, so nothing was simulated there",
            fix=ON_THE_CPU,
        )


@contextmanager
def _able(layer: str, device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"device {str(device)!r} cannot compute {layer} exactly: {reason}",
            fix=ON_THE_CPU,
        ) from None


def _inputs(projection: QuantizedProjection, rng: np.random.Generator) -> torch.Tensor:
    """(rows, *source) int32: one row of the largest values, the others random."""
    operator, largest = projection.operator, int(projection.payload)
    rows = int(np.clip(OPERATIONS // max(operator.connections, 1), 2, MOST_ROWS))
    drawn = rng.integers(-largest, largest, (rows, *operator.input_shape), endpoint=True)
    drawn[0] = largest
    return torch.from_numpy(drawn.astype(np.int32))


def _sums(bound: float, shape: Shape, rng: np.random.Generator) -> torch.Tensor:
    """(4, *shape) integers of every magnitude up to ``bound``, of either sign."""
    most = min(bound, LARGEST)
    sizes = np.exp2(rng.uniform(0, np.log2(most + 1), (4, *shape))) - 1
    drawn = np.minimum(sizes, most).astype(np.int64) * rng.choice([-1, 1], sizes.shape)
    return torch.from_numpy(drawn).to(sum_dtype(bound))
