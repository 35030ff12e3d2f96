"""Measure what each part of a network is worth on spoken digits, for docs/training.md.

    .venv/bin/python docs/make_parts.py FOLDER RECORDINGS [SEED ...]

Trains recipe fsdd with parts on and off, at the same number of weights, on the official split and
on a speaker who is not heard in training. What FOLDER holds already is not done again, so that
several of these may run at once, each with seeds of its own; without seeds, 0, 1 and 2. The table
has every run that FOLDER holds then.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from make_learning import write_between

from neurodeploy.recipe import load_recipe
from neurodeploy.workflow.kept_runs import trained

SPLITS = {"official": "official", "unheard": "speaker:s1"}
SHARED = [
    *("data.dt=0.02", "training.steps=55", "training.epochs=20", "training.threads=1"),
    "augmentation.sound={}",
]
"""Steps of 20 ms, and no changed versions of the sound: a run takes a minute or two."""

LIF = ["network.hidden=[128,128]", "neuron.tau=5", "neuron.tau_syn=1"]
CURRENTS = ["network.hidden=[128,128]", "neuron.tau=5", "neuron.tau_syn=2.5"]
CONSTANTS = {
    name: f'neuron.{name}={{per="neuron",draw="log_uniform",low={low},high={high},learn=true}}'
    for name, low, high in (("tau", 1.5, 20), ("tau_syn", 1.1, 5))
}
DELAYS = "network.delays={max=5,learn=true}"
RECURRENT = ["network.hidden=[81,81]", "network.recurrent=true"]
PARTS = {
    "plain LIF": LIF,
    "currents": CURRENTS,
    "learned constants": [*LIF, CONSTANTS["tau"]],
    "currents, learned constants": [*CURRENTS, *CONSTANTS.values()],
    "learned delays": [*LIF, DELAYS],
    "currents, learned delays": [*CURRENTS, DELAYS],
    "recurrence": [*LIF, *RECURRENT],
    "currents, recurrence": [*CURRENTS, *RECURRENT],
}
"""Overrides of each row: 64-128-128-10 with 25,856 weights; recurrent, 64-81-81-10 with 25,677."""


def run_of(folder: Path, part: str, split: str, seed: int | str) -> Path:
    """Where a combination is trained; a seed of ``*`` stands for all."""
    return folder / f"{part.replace(', ', '+').replace(' ', '_')}-{split}-{seed}"


def accuracies(folder: Path, part: str, split: str) -> np.ndarray:
    """Test accuracies, in percent, of the seeds that are there."""
    pattern = f"{run_of(folder, part, split, '*').name}/run.json"
    return np.array([accuracy(file.parent) for file in sorted(folder.glob(pattern))])


def accuracy(run: Path) -> float:
    """Test accuracy of a run, in percent."""
    return 100 * json.loads((run / "run.json").read_text())["test_accuracy"]


def table(folder: Path) -> str:
    """A row per part: mean and deviation over seeds on both splits, and what it adds to LIF."""
    plain = {split: accuracies(folder, "plain LIF", split).mean() for split in SPLITS}
    rows = []
    for part in PARTS:
        cells = [part]
        for split in SPLITS:
            found = accuracies(folder, part, split)
            cells.append(f"{found.mean():.1f} ± {found.std(ddof=1):.1f} %")
            cells.append("" if part == "plain LIF" else f"{found.mean() - plain[split]:+.1f}")
        rows.append(f"| {' | '.join(cells)} |")
    head = "| network | official split | | unheard speaker | |\n|---|---|---|---|---|"
    return "\n".join([head, *rows])


def main(folder: Path, recordings: Path, seeds: list[int]) -> None:
    for seed in seeds:
        for split, name in SPLITS.items():
            for part, sets in PARTS.items():
                place = [f'data.path="{recordings.absolute()}"', f'data.split="{name}"']
                recipe = load_recipe("fsdd", [*SHARED, *sets, *place, f"seed={seed}"])
                run = trained(recipe, run_of(folder, part, split, seed), progress=False)
                print(f"{run.name}: {accuracy(run):.2f} %", flush=True)
    write_between(Path(__file__).parent / "training.md", "parts", table(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(seed) for seed in sys.argv[3:]] or [0, 1, 2])
