"""Measure learning from random weights on MNIST for docs/learning.md.

    .venv/bin/python docs/make_scratch.py FOLDER MNIST.npz

Learns in Lava and counts right answers on all 10,000 test images; what FOLDER holds already is not
done again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_learning import write_between

from neurodeploy.workflow.learning.learn import learn

TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Case:
    """One network from nothing.

    Attributes:
        name: of its folder.
        network: in short.
        epochs: times that every training sample is met.
    """

    name: str
    bits: int
    feedback: str = "transposed"
    rule: str = "sltt"
    recipe: str = "mnist_400_400"
    network: str = "400-400-10"
    epochs: int = 4

    @property
    def way(self) -> str:
        """How errors come to hidden layers."""
        return "local rule" if self.rule == "local" else f"{self.feedback} feedback"


CASES = (
    Case("8-bit", 8),
    Case("4-bit", 4),
    Case("8-bit-random", 8, feedback="random"),
    Case("8-bit-local", 8, rule="local"),
    Case("conv", 8, recipe="mnist_conv_scratch", network="conv 16, conv 32, 10"),
)

PUBLISHED = (
    ("Renner et al. 2024: 400-400-10, Loihi 1", "backpropagation", "96.3", "0.59 mJ", "1.5 ms"),
    ("Loihi 1", "EM-STDP", "94.7", "8.4 mJ", "20 ms"),
)
"""Network and chip, rule, accuracy, energy and time of a training sample, as read on the chip."""


def learnt(folder: Path, data: Path, case: Case) -> dict[str, Any]:
    """``learning.json`` of a case."""
    out = folder / case.name
    if not out.is_dir():
        learn(
            case.recipe, "scratch", target="loihi2", weight_bits=case.bits, data=data,
            rule=case.rule, feedback=case.feedback, overrides=[f"training.epochs={case.epochs}"],
            engine="lava-fused", held_out=TEST_IMAGES, out=out,
        )  # fmt: skip
    return json.loads((out / "learning.json").read_text())


def row(case: Case, found: dict[str, Any]) -> str:
    """What a run came to."""
    cost = found["cost"]

    def ends(key: str, unit: float, digits: int) -> str:
        low, high = (f"{cost[key][end] / unit:.{digits}f}" for end in ("low", "high"))
        return low if low == high else f"{low} to {high}"

    cells = [
        case.network,
        f"{case.bits}-bit weights, {case.way}",
        f"{found['samples']:,}",
        f"{100 * found['accuracy_after']:.2f}",
        "by the reference" if found["mismatches"] is None else f"{found['mismatches']:,}",
        f"{found['updates']:,}",
        f"{ends('update_nj', 1000, 1)} µJ",
        f"{ends('update_us', 1, 1)} µs",
        f"{cost['cores']} to {cost['learning_cores']}",
        f"{cost['synapse_words']:,} to {cost['learning_synapse_words']:,}",
    ]
    return f"| {' | '.join(cells)} |"


def main(folder: Path, data: Path) -> None:
    rows = [
        "| network | learns by | samples | test, % | mismatches | updates | energy per update | "
        "time | cores | words of synapses |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [row(case, learnt(folder, data, case)) for case in CASES]
    rows += [
        f"| {who} | {how} | | {right} | | | {nj} | {us} | | |"
        for who, how, right, nj, us in PUBLISHED
    ]
    write_between(Path(__file__).parent / "learning.md", "scratch", "\n".join(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
