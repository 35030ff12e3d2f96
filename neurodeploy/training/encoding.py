"""Input of each step for the float network: integers 0..levels become values 0..1 or spikes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from neurodeploy.data.dataset import encode, spike_step
from neurodeploy.ir.contract import InputCode


def is_constant(code: InputCode) -> bool:
    """Whether the network sees the same input at every step."""
    return code.encoder == "direct"


def training_frames(
    samples: Tensor,
    code: InputCode,
    steps: int,
    generator: torch.Generator,
    first: int = 0,
    batch: int = 0,
) -> Iterator[Tensor]:
    """Input of T steps; ``rate`` spikes are drawn anew each time a sample is seen.

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        code: encoder and levels.
        steps: T.
        generator: of the Bernoulli draws, on the CPU, so that they are the same on any device.
        first, batch: where in a batch the samples begin, and its size; 0 when they are all of it.
            Draws are made for the whole batch: they do not depend on how it is shared out.

    Yields:
        (N, *sample) float32, T times; with ``direct`` the same tensor.
    """
    if code.encoder == "events":
        for t in range(steps):
            yield samples[:, t].to(torch.float32) / code.payload
        return
    if code.encoder == "latency":
        when = spike_step(samples.to(torch.int32), code.levels, steps)
        for t in range(steps):
            yield (when == t).to(torch.float32)
        return
    values = samples.to(torch.float32) / code.levels
    for _ in range(steps):
        if code.encoder == "direct":
            yield values
        else:
            shape = (batch or len(values), *values.shape[1:])
            draws = torch.rand(shape, generator=generator)[first : first + len(values)]
            yield (draws.to(values.device) < values).to(values.dtype)


def evaluation_frames(
    samples: np.ndarray, code: InputCode, steps: int, first: int, device: torch.device
) -> Iterator[Tensor]:
    """Input of T steps as a deployment sees it: from ``encode``, with the draws of its seed 0.

    Args:
        samples: (N, *sample) integers 0..levels, or (N, T, *sample) for ``events``.
        code: encoder and levels.
        steps: T.
        first: index of the first sample in its data set.
        device: where the frames are wanted.

    Yields:
        (N, *sample) float32, T times.
    """
    encoded = torch.from_numpy(encode(samples, code, steps, first=first)).to(device)
    for t in range(steps):
        # "direct" has no time axis: each step sees the same integers.
        frame = encoded if code.encoder == "direct" else encoded[:, t]
        yield frame.to(torch.float32) / code.payload
