"""Measure how prototypes take up a class that nobody has named; write the table of learning.md.

    .venv/bin/python docs/make_new_without_labels.py FOLDER

Trains ``digits_conv`` on five classes, and learns streams in Lava, each of the other classes in
three orders; a training or deployment that FOLDER holds already is not made again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from make_learning import write_between

import neurodeploy as nd
from neurodeploy.data import load_dataset
from neurodeploy.recipe import load_recipe
from neurodeploy.training.run import train
from neurodeploy.workflow.export import export

BASE = (0, 1, 2, 3, 4)
NEW = (5, 6, 7, 8, 9)
ORDERS = 3
KNOWN, EACH, SPARE = 400, 40, 4
"""Samples of known classes with labels; of known classes and of the new one without; prototypes."""


def deployed(folder: Path) -> Path:
    """The network whose layers before the output know nothing of the other classes."""
    run, place = folder / "run", folder / "deployment"
    if not run.is_dir():
        overrides = [f"data.exclude={list(NEW)}", "training.epochs=8"]
        train(load_recipe("digits_conv", overrides), run, progress=False)
    if not place.is_dir():
        export(run, "loihi2", place)
    return place


def measure(deployment: Path, new: int, order: int) -> tuple[dict[str, float], int]:
    """Shares of one stream, and what differed from the reference."""
    data = load_dataset("digits")
    x, y = np.asarray(data.x_train[:]), data.y_train
    rng = np.random.default_rng(order)
    numbers = rng.permutation(len(y))
    known = numbers[np.isin(y, BASE)[numbers]][:KNOWN]
    rest = rng.permutation(np.setdiff1d(numbers, known))
    old, fresh = rest[np.isin(y[rest], BASE)][:EACH], rest[y[rest] == new]
    shown = rng.permutation(np.concatenate([old, fresh[:EACH]]))
    label = [(x[fresh[EACH]], new)]
    options: dict[str, Any] = {"rule": "prototypes", "known": (x[known], y[known])}
    found = nd.learn(
        *(deployment, [*((x[number], None) for number in shown), *label]),
        **options,
        novel=SPARE,
        engine="lava",
    )
    alone = nd.learn(deployment, label, **options)
    answers, is_new = np.array(found.answers[:-1]), y[shown] == new
    use = np.isin(data.y_test, (*BASE, new))
    wanted = data.y_test[use]

    def right(network: Any) -> np.ndarray:
        tested = nd.simulate(network, np.asarray(data.x_test[:])[use], engine="reference")
        return tested.classes == wanted

    after = right(found.network)
    assert found.mismatches is not None
    return {
        "found": float((answers[is_new] < 0).mean()),
        "known": float((answers[~is_new] == y[shown][~is_new]).mean()),
        "new after": float(after[wanted == new].mean()),
        "known after": float(after[wanted != new].mean()),
        "alone": float(right(alone.network)[wanted == new].mean()),
    }, found.mismatches


def main(folder: Path) -> None:
    """Measure all and write the table."""
    deployment = deployed(folder)
    rows = [
        "| new class | new samples found new or nameless | known samples answered right "
        "| new class after the label | known classes after it | new class, the label alone "
        "| differ from the reference |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for new in NEW:
        results = [measure(deployment, new, order) for order in range(ORDERS)]
        shares = [np.mean([found[name] for found, _ in results]) for name in results[0][0]]
        cells = [str(new), *(f"{100 * share:.1f}" for share in shares)]
        rows.append(f"| {' | '.join([*cells, str(sum(differ for _, differ in results))])} |")
        print(rows[-1], flush=True)
    write_between(Path(__file__).parent / "learning.md", "without labels", "\n".join(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
