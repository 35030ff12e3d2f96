"""A trained network of ReLUs from a user's file to a sigma-delta deployment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.interchange.sigma_delta import DEVIATION, Trade, within
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.target import load_target
from neurodeploy.workflow.conversion import BATCH, Source
from neurodeploy.workflow.export import deploy_network
from neurodeploy.workflow.quantization import quantized_on
from neurodeploy.workflow.samples import array_samples

SAMPLES = 128
"""Training samples that thresholds and scales are chosen on when nobody says how many."""


@dataclass(frozen=True, eq=False)
class SigmaDeltaResult:
    """What came of it.

    Attributes:
        trades: every factor of thresholds that was tried, from 0 up.
        chosen: the one that was taken.
        ann_accuracy, accuracy: of the ReLUs and of the deployed integers, 0 to 1.
        samples: test samples that these are of.
    """

    deployment: Deployment
    trades: list[Trade]
    chosen: Trade
    ann_accuracy: float
    accuracy: float
    samples: int


def deploy_sigma_delta(
    source: Source,
    target_name: str | Path,
    out: Path | None = None,
    *,
    deviation: float = DEVIATION,
    weight_bits: int | None = None,
) -> SigmaDeltaResult:
    """Convert a network, quantise and map it, and write its deployment.

    Args:
        out: the new directory; ``deployments/NAME-TARGET-NNN`` when None.
        deviation: of the outputs, that thresholds may cost.
        weight_bits: width of all weights; the target's when None.

    Raises:
        CheckFailedError: the network does not fit the target.
        InputError, UnsupportedError: an option, or something that cannot be expressed.
    """
    if not deviation >= 0:
        raise InputError(Text(Setting("deviation", f"{deviation:g}"), ": is at least 0"))
    target = load_target(target_name)
    trades = source.relus.sigma_delta_trades(source.balancing)
    trade = within(trades, deviation)
    network = source.relus.as_sigma_delta(source.balancing, factor=trade.factor)
    integers = quantized_on(network, target, weight_bits, None, source.balancing)
    samples = array_samples(source.x, source.y, integers, where="test samples")
    right = 0
    for batch, trace in ReferenceEngine(integers).run(samples.batches(BATCH)):
        right += int((trace.predictions(integers.contract.decode) == batch.labels).sum())
    deployment = deploy_network(integers, target, out)
    accuracy = right / samples.count
    return SigmaDeltaResult(deployment, trades, trade, source.accuracy, accuracy, samples.count)
