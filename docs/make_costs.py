"""Put what learning costs by every rule side by side; write the table of docs/learning.md.

    .venv/bin/python docs/make_costs.py SCRATCH NEW_CLASSES EPROP

Folders of ``make_scratch.py`` and ``make_new_classes.py``, and one that learnt by e-prop; nothing
is learnt here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from make_learning import write_between

PUBLISHED = (
    ("backpropagation (Renner et al. 2024)", "400-400-10, Loihi 1", "590 µJ", "1.5 ms"),
    ("EM-STDP", "Loihi 1", "8,400 µJ", "20 ms"),
    ("CLP-SNN (arXiv 2511.01553)", "Loihi 2", "50 µJ", "0.33 ms"),
)
"""Rule, network and chip, energy and time of a training sample, as measured on the chip."""

STOCK = "stock Loihi rule"
"""Means of a circuit that a chip has without microcode."""


def row(name: str, network: str, folder: Path) -> str:
    """Of a run that learnt with an update per sample."""
    cost: dict[str, Any] = json.loads((folder / "learning.json").read_text())["cost"]

    def ends(key: str, unit: float) -> str:
        if cost[key] is None:
            return "–"
        low, high = (f"{cost[key][end] / unit:#,.3g}" for end in ("low", "high"))
        return low if low == high else f"{low} to {high}"

    circuits = cost["circuits"]
    stock = sum(circuit["means"] == STOCK for circuit in circuits)
    cells = [
        name,
        network,
        f"{ends('update_nj', 1000)} µJ",
        f"{ends('update_us', 1000)} ms" if cost["update_us"] else "–",
        f"{cost['cores']} to {cost['learning_cores']}",
        f"{cost['synapse_words']:,} to {cost['learning_synapse_words']:,}",
        f"{stock} of {len(circuits)}",
    ]
    return f"| {' | '.join(cells)} |"


def main(scratch: Path, classes: Path, eprop: Path) -> None:
    """Write the table."""
    learnt = classes / "learnt"
    dense, conv, recurrent = "400-400-10", "conv 16, conv 32, 10", "28-64 recurrent-10"
    rows = [
        "| rule | network | energy per update | time | cores | words of synapses "
        "| stock circuits |",
        "|---|---|---:|---:|---:|---:|---:|",
        row("`sltt`", dense, scratch / "8-bit"),
        row("`sltt`, 4 bits", dense, scratch / "4-bit"),
        row("`sltt`, random feedback", dense, scratch / "8-bit-random"),
        row("`local`", dense, scratch / "8-bit-local"),
        row("`sltt`", conv, scratch / "conv"),
        row("`sltt`", "`mnist_conv`", learnt / "mnist-without-9-0-9-20-sltt-9-0"),
        row("`delta`", "`mnist_conv`", learnt / "mnist-without-9-0-9-20-delta-9-0"),
        row("`prototypes`", "`mnist_conv`", learnt / "mnist-without-9-0-9-20-prototypes-0-0"),
        row("`eprop`", recurrent, eprop),
        *(f"| {who} | {where} | {nj} | {us} | | | |" for who, where, nj, us in PUBLISHED),
    ]
    write_between(Path(__file__).parent / "learning.md", "costs", "\n".join(rows))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
