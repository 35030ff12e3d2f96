"""Measure how a new speaker is learnt; write the table of docs/learning.md.

    .venv/bin/python docs/make_speaker.py FOLDER RECORDINGS

For each speaker of the spoken digits, trains on the others, exports, and learns three streams of a
hundred recordings in Lava; what FOLDER holds already is not done again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from make_learning import learnt, write_between

from neurodeploy.recipe import load_recipe
from neurodeploy.training.run import train
from neurodeploy.workflow.export import export

STREAMS = (1, 2, 3)

RECIPE = """\
description = "One recurrent hidden layer with currents on spoken digits"

[data]
name = "fsdd"
validation = 0.1
split = "official"
bins = "dt"
dt = 2e-2
longer = "cut"
levels = 1

[data.front_end]
bands = 32

[encoder]
name = "events"

[network]
family = "mlp"
hidden = [128]
recurrent = true

[neuron]
tau = 10.0
tau_syn = 5.0
v_threshold = 1.0
reset = "subtract"
comparison = ">="
surrogate = "triangle"

[rule]
name = "bptt"

[training]
steps = 66
epochs = 20
batch_size = 64
optimizer = "adam"
learning_rate = 4e-3

[augmentation]
stretch = 0.15
time_shift = 2
channel_shift = 3
drop = 0.05
"""


def deployed(folder: Path, recordings: Path, speaker: str) -> Path:
    """A deployment of a network that has never heard the speaker."""
    recipe, run, out = folder / "recipe.toml", folder / f"run-{speaker}", folder / speaker
    recipe.write_text(RECIPE)
    if not run.is_dir():
        place = json.dumps(str(recordings.absolute()))
        overrides = [f"data.split=speaker:{speaker}", f"data.path={place}"]
        train(load_recipe(recipe, overrides), run, progress=False)
    if not out.is_dir():
        export(run, "loihi2", out)
    return out


def shares(found: list[dict[str, Any]]) -> tuple[list[float], list[float], list[float]]:
    """Accuracy on the new speaker before and after each stream, and on the known ones before."""
    before, after = (
        [one[key]["new speaker"] for one in found]
        for key in ("accuracies_before", "accuracies_after")
    )
    return before, after, [one["accuracies_before"]["known speakers"] for one in found]


def recovered(found: list[dict[str, Any]]) -> float:
    """What all streams won back of what they had lost, together, in %."""
    before, after, known = map(sum, shares(found))
    return 100 * (after - before) / (known - before)


def row(speaker: str, found: list[dict[str, Any]]) -> str:
    """Of one speaker's streams, side by side."""

    def streams(values: list[float]) -> str:
        return " / ".join(f"{100 * value:.1f}" for value in values)

    before, after, known = shares(found)
    cells = [
        speaker,
        streams(before),
        streams(after),
        streams([one["accuracy_ceiling"] for one in found]),
        streams([*dict.fromkeys(known)]),
        f"{recovered(found):.0f} %",
        str(sum(one["mismatches"] for one in found)),
    ]
    return f"| {' | '.join(cells)} |"


def main(folder: Path, recordings: Path) -> None:
    """Measure all and write the table."""
    folder.mkdir(parents=True, exist_ok=True)
    speakers = sorted({file.stem.split("_")[1] for file in recordings.glob("*_*_*.wav")})
    rows = [
        "| new speaker | before | after | after, in floats | known speakers, before | recovered "
        "| differ from the reference |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    runs: list[dict[str, Any]] = []
    for speaker in speakers:
        source = deployed(folder, recordings, speaker)
        found = [
            learnt(
                *(source, folder / f"{speaker}-stream-{seed}", "drift"),
                drift="speaker",
                rule="eprop",
                seed=seed,
                engine="lava-fused",
                ceiling=True,
            )
            for seed in STREAMS
        ]
        rows.append(row(speaker, found))
        runs += found
    ahead = [one["accuracies_after"]["new speaker"] - one["accuracy_ceiling"] for one in runs]
    rows += [
        "",
        f"Of what all {len(runs)} streams had lost, {recovered(runs):.0f} % is recovered. On "
        f"average, the integers end {100 * mean(ahead):+.1f} points from the same rule in floats, "
        f"in single streams from {100 * min(ahead):+.1f} to {100 * max(ahead):+.1f}.",
    ]
    write_between(Path(__file__).parent / "learning.md", "speakers", "\n".join(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
