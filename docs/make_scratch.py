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
        epochs: times that every training sample is met.
    """

    name: str
    bits: int
    feedback: str = "transposed"
    rule: str = "sltt"
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
)

PUBLISHED = (
    ("Renner et al. 2024, Loihi 1, backpropagation", "96.3", "0.59 mJ", "1.5 ms"),
    ("EM-STDP, Loihi 1", "94.7", "", ""),
)
"""Network and rule, accuracy, energy and time of a training sample, as read on the chip."""


def learnt(folder: Path, data: Path, case: Case) -> dict[str, Any]:
    """``learning.json`` of a case."""
    out = folder / case.name
    if not out.is_dir():
        learn(
            "mnist_400_400", "scratch", target="loihi2", weight_bits=case.bits, data=data,
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
        f"{case.bits}-bit weights, {case.way}",
        f"{found['samples']:,}",
        f"{100 * found['accuracy_after']:.2f}",
        "by the reference" if found["mismatches"] is None else f"{found['mismatches']:,}",
        f"{found['updates']:,}",
        f"{ends('update_nj', 1000, 1)} µJ",
        f"{ends('update_us', 1, 1)} µs",
    ]
    return f"| {' | '.join(cells)} |"


def main(folder: Path, data: Path) -> None:
    rows = [
        "| 400-400-10 | samples | test, % | mismatches | updates | energy per update | time |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [row(case, learnt(folder, data, case)) for case in CASES]
    rows += [f"| {who} | | {right} | | | {nj} | {us} |" for who, right, nj, us in PUBLISHED]
    write_between(Path(__file__).parent / "learning.md", "scratch", "\n".join(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
