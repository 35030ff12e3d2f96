"""The same network as an ANN: its multiply-accumulates, on hardware whose cost each is published.

An ANN runs through every synapse once for a sample, whatever its activity, at

    macs e_mac

with the energy of a multiply-accumulate in the width that weights have. In 45 nm that is arithmetic
alone, without memory; of the processors it is all they take, at the throughput that their makers
publish, which real networks seldom reach. Both are in favour of the ANN.
"""

from __future__ import annotations

from dataclasses import dataclass

HOROWITZ = "45 nm CMOS (Horowitz, ISSCC 2014)"

MAC_PJ = 4.6
"""A 32-bit floating-point multiply-accumulate in 45 nm CMOS: 3.7 and 0.9 pJ."""

MAC_8BIT_PJ = 0.23
"""One of 8-bit integers: 0.2 and 0.03 pJ. Nothing narrower is published there."""

MAC_SOURCE = f"{MAC_PJ} pJ per 32-bit multiply-accumulate, {HOROWITZ}"


@dataclass(frozen=True)
class Hardware:
    """What one multiply-accumulate takes on hardware of a kind.

    Attributes:
        bits: of its operands.
        mac_pj: picojoules; of a processor two operations at its published efficiency.
    """

    name: str
    kind: str
    bits: int
    mac_pj: float
    source: str


HARDWARE = (
    Hardware("32-bit arithmetic", "arithmetic alone", 32, MAC_PJ, HOROWITZ),
    Hardware("8-bit arithmetic", "arithmetic alone", 8, MAC_8BIT_PJ, HOROWITZ),
    Hardware(
        "Google Edge TPU",
        "edge NPU at its peak",
        8,
        2 / 2.0,
        "2 TOPS per watt (Coral USB Accelerator datasheet 1.4)",
    ),
    Hardware(
        "NVIDIA A100",
        "GPU at its peak",
        8,
        2 / (624 / 400),
        "624 dense INT8 TOPS at 400 W (NVIDIA A100 SXM datasheet)",
    ),
)


@dataclass(frozen=True)
class AnnCost:
    """One sample of the ANN on one kind of hardware."""

    name: str
    kind: str
    bits: int
    energy_nj: float
    source: str


def ann_costs(macs: int) -> tuple[AnnCost, ...]:
    """What so many multiply-accumulates take on each kind of hardware."""
    return tuple(
        AnnCost(kind.name, kind.kind, kind.bits, macs * kind.mac_pj / 1000, kind.source)
        for kind in HARDWARE
    )
