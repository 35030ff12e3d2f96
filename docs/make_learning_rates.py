"""Measure the default learning rate on networks of 16 to 1,000 hidden neurons for docs/learning.md.

    .venv/bin/python docs/make_learning_rates.py FOLDER

Trains perceptrons on digits, exports and learns on the reference; what FOLDER holds already is not
done again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from make_learning import write_between

from neurodeploy.artifacts.deployment import Deployment, read_deployment
from neurodeploy.onchip.learner import rate_text
from neurodeploy.recipe import load_recipe
from neurodeploy.training.run import train
from neurodeploy.workflow.export import export
from neurodeploy.workflow.learning.learn import learn
from neurodeploy.workflow.quantization import QuantizationOptions

HIDDEN = (16, 32, 64, 128, 256, 512, 1000)
TASKS = {"drift": [], "new-class": [9]}
RULES = ("sltt", "delta")
FACTORS = (1 / 4, 4)


def deployment(folder: Path, hidden: int, exclude: list[int]) -> Deployment:
    """A perceptron on digits, trained for 20 epochs, in 8 bits."""
    name = f"{hidden}-without-9" if exclude else f"{hidden}"
    run, deployed = folder / "runs" / name, folder / "deployments" / name
    if not run.is_dir():
        network = f'network={{family="mlp",hidden=[{hidden}],batch_norm=true}}'
        overrides = [network, "training.epochs=20", f"data.exclude={exclude}"]
        train(load_recipe("digits_conv", overrides), run, progress=False)
    if not deployed.is_dir():
        export(run, "loihi2", deployed, quantization=QuantizationOptions(scale="mse"))
    return read_deployment(deployed)


def learnt(
    folder: Path, source: Deployment, task: str, rule: str, rate: float | None
) -> dict[str, Any]:
    """``learning.json`` at a rate, or at the default one."""
    named = "default" if rate is None else rate_text(rate)
    out = folder / "learnt" / f"{source.path.name}-{task}-{rule}-{named}"
    if not out.is_dir():
        learn(
            source, task, rule=rule, rate=rate, engine="reference", ceiling=False, out=out,
            progress=False,
        )  # fmt: skip
    found = json.loads((out / "learning.json").read_text())
    print(f"{out.name}: {found['accuracy_before']:.2%} to {last(found):.2%}", flush=True)
    return found


def last(found: dict[str, Any]) -> float:
    """Accuracy of the weights at the end of the stream, whether they were kept or not."""
    return found["curve"]["points"][-1]["accuracies"][found["measure"]]


def row(folder: Path, hidden: int, task: str, rule: str) -> str:
    """Before, at the default rate, at a quarter and at four times of it, and what was deployed."""
    source = deployment(folder, hidden, TASKS[task])
    found = learnt(folder, source, task, rule, None)
    lower, higher = (learnt(folder, source, task, rule, found["rate"] * f) for f in FACTORS)
    cells = [
        f"{hidden:,}",
        task,
        rule,
        rate_text(found["rate"]),
        *(f"{100 * last(one):.1f}" for one in (lower, found, higher)),
        f"{100 * found['accuracy_before']:.1f}",
        f"{100 * found['accuracy_after']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(folder: Path) -> None:
    rows = [
        "| hidden | task | rule | default rate | a quarter of it | the default | four times it "
        "| before | deployed |",
        "|---:|---|---|---|---:|---:|---:|---:|---:|",
    ]
    rows += [
        row(folder, hidden, task, rule) for task in TASKS for rule in RULES for hidden in HIDDEN
    ]
    write_between(Path(__file__).parent / "learning.md", "rates", "\n".join(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
