"""Measure how classes are learnt one after the other; write the tables of docs/learning.md.

    .venv/bin/python docs/make_new_classes.py FOLDER [MNIST.npz]

Trains, exports and learns with three seeds; what FOLDER holds already is not done again. Without
the file nothing is measured on MNIST, and its rows are left out.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_learning import learnt, write_between

from neurodeploy.recipe import load_recipe
from neurodeploy.training.run import train
from neurodeploy.workflow.export import export

SEEDS = (0, 1, 2)
EPOCHS = {"mnist": 2}
"""Of the training, where the recipe's own are more than this needs."""

TRAINING = 0
"""Seed of the one training of each network, whose streams have ``SEEDS``."""


@dataclass(frozen=True)
class Case:
    """Classes that arrive, and who learns them.

    Attributes:
        excluded: from training.
        order: in which they arrive.
        each: samples of a class.
    """

    data: str
    excluded: tuple[int, ...]
    order: tuple[int, ...]
    each: int
    rule: str
    replay: int

    @property
    def stem(self) -> str:
        """Of the names of its training and deployment."""
        return f"{self.data}-without-{''.join(map(str, self.excluded))}"

    @property
    def engine(self) -> str:
        """Lava's own processes for rules of the output layer; SLTT in one process."""
        return "lava-fused" if self.rule == "sltt" else "lava"


PUBLISHED = (
    "| CLP-SNN, Loihi 2 (arXiv 2511.01553) | | | prototypes | 0 | | | | | | 50 µJ, 0.33 ms | |"
)
"""As read on the chip."""

RULES = [
    ("prototypes", 0),
    *(("sltt", replay) for replay in (0, 1, 3, 9)),
    *(("delta", replay) for replay in (0, 9)),
]


def cases(data: str) -> list[Case]:
    """One class after nine, ten after none, and of digits five after five."""
    late, everything = tuple(range(5, 10)), tuple(range(10))
    return [
        *(Case(data, (9,), (9,), 20, *rule) for rule in RULES),
        *(Case(data, late, late, 20, *rule) for rule in RULES if data == "digits"),
        Case(data, late, everything, 20, "prototypes", 0),
        Case(data, late, everything, 100, "prototypes", 0),
    ]


def measure(folder: Path, case: Case, seed: int, data: Path | None) -> dict[str, Any]:
    """``learning.json`` of one case and seed."""
    stem = f"{case.stem}-{TRAINING}"
    run, deployed = folder / "runs" / stem, folder / "deployments" / stem
    if not run.is_dir():
        overrides = [f"seed={TRAINING}", f"data.exclude={list(case.excluded)}"]
        if case.data in EPOCHS:
            overrides.append(f"training.epochs={EPOCHS[case.data]}")
        if data is not None:
            overrides.append(f"data.path={json.dumps(str(data.absolute()))}")
        train(load_recipe(f"{case.data}_conv", overrides), run, progress=False)
    if not deployed.is_dir():
        export(run, "loihi2", deployed)
    arriving = "".join(map(str, case.order))
    out = folder / "learnt" / f"{stem}-{arriving}-{case.each}-{case.rule}-{case.replay}-{seed}"
    return learnt(
        *(deployed, out, "new-class"),
        rule=case.rule,
        seed=seed,
        samples=len(case.order) * case.each * (1 + case.replay),
        replay=case.replay,
        order=case.order,
        engine=case.engine,
        data=data,
        ceiling=False,
    )


def table(found: dict[Case, list[dict[str, Any]]]) -> str:
    """Markdown: a row per case, its seeds side by side."""
    rows = [
        "| data | classes | samples of each | rule | replay | all | new | old, from | old, to "
        "| forgetting | energy per update | differ from the reference |",
        "|---|---|---:|---|---:|---|---|---|---|---|---:|---:|",
    ]

    def seeds(values: list[float | None]) -> str:
        return " / ".join("–" if value is None else f"{100 * value:.1f}" for value in values)

    for case, results in found.items():
        before = [r["accuracies_before"].get("old") for r in results]
        after = [r["accuracies_after"] for r in results]
        compared = [r["mismatches"] for r in results]
        energy = [r["cost"]["update_nj"]["low"] for r in results]
        cells = [
            case.data,
            f"{10 - len(case.order)} + {len(case.order)} x 1",
            str(case.each),
            case.rule,
            str(case.replay),
            seeds([a["all"] for a in after]),
            seeds([a["new"] for a in after]),
            seeds(before),
            seeds([a.get("old") for a in after]),
            seeds([r["retention"][-1]["forgetting"] for r in results]),
            f"{min(energy) / 1000:.1f} µJ",
            "–" if None in compared else str(sum(compared)),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(folder: Path, mnist: Path | None) -> None:
    """Measure all and write the table."""
    places: dict[str, Path | None] = {"digits": None}
    if mnist is not None:
        places["mnist"] = mnist
    found = {
        case: [measure(folder, case, seed, place) for seed in SEEDS]
        for data, place in places.items()
        for case in cases(data)
    }
    rows = f"{table(found)}\n{PUBLISHED}"
    write_between(Path(__file__).parent / "learning.md", "new classes", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
