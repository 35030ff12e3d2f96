"""Makes seeds, damages copies of them, and calls the product on each.

    python -m support.fuzzing FOLDER FIRST COUNT [KIND]

Mutation N is always drawn in the same way, so that ``FOLDER N 1`` repeats it. The files of those
that failed stay in the folder.
Prints one JSON object: how the calls ended, what went wrong (``failures``), and the most seconds
and megabytes that one took.
"""

from __future__ import annotations

import gc
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from support.fuzzing.attempts import Call, Ending, attempt, complaints, listing
from support.fuzzing.kinds import KINDS, Kind
from support.fuzzing.seeds import make_seeds

GUARDED = 0.3
"""Share of the damage behind which no hash is made true."""


def schedule() -> list[str]:
    """Names of the kinds, as often as their shares say, mixed."""
    names = [name for name, kind in KINDS.items() for _ in range(kind.share)]
    random.Random(0).shuffle(names)
    return names


def damaged(number: int, kind: Kind, seeds: Path, folder: Path) -> tuple[Call, str]:
    """Fill a folder with damaged copies of seeds.

    Returns:
        The call to make, and what was done.
    """
    rng = random.Random(number)
    for name in kind.takes:
        source, to = seeds / name, folder / name
        # Data sets lie in one place, whatever their form.
        to = folder / "data" if name.startswith("data/") else to
        if source.is_dir():
            shutil.copytree(source, to)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)
    pattern = kind.files
    if pattern.startswith("data/"):
        pattern = "data/" + pattern.split("/", 2)[2]
    files = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    assert files, f"there are no {kind.files}"
    file = rng.choice(files)
    way = rng.choice(kind.ways)
    way(rng, file)
    open_ = kind.seal is not None and rng.random() >= GUARDED
    if open_ and kind.seal is not None:
        kind.seal(folder, file)
    call = rng.choice(kind.calls)
    place = str(file.relative_to(folder))
    arguments = tuple(place if word == "{}" else word for word in call.arguments)
    done = f"{way.__name__} in {place}{', sealed again' if open_ else ''}"
    return Call(arguments, call.program, call.fails), done


def tried(number: int, kind: Kind, seeds: Path, work: Path) -> tuple[Ending, str, list[str]]:
    """One mutation: how the call ended, what was done, and what is wrong with the end."""
    shutil.rmtree(work, ignore_errors=True)
    folder, temporary = work / "in" / "side", work / "temporary"
    folder.mkdir(parents=True)
    temporary.mkdir()
    call, done = damaged(number, kind, seeds, folder)
    tempfile.tempdir = str(temporary)
    before = listing(work)
    ending = attempt(call, folder, work.with_suffix(".log"))
    return ending, f"{call} after {done}", complaints(call, ending, before, listing(work))


def main(home: Path, first: int, total: int, only: str | None = None) -> dict[str, Any]:
    """Mutations ``first`` to ``first + total``."""
    torch.set_num_threads(1)
    seeds = home / "seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    # All that calls import is imported by this, too.
    make_seeds(seeds)
    # Else a fork copies every page in which its collector counts.
    gc.collect()
    gc.freeze()
    names = [only] if only else schedule()
    endings: Counter[str] = Counter()
    failures: list[str] = []
    slowest = largest = 0.0
    for number in range(first, first + total):
        name = names[number % len(names)]
        ending, done, wrong = tried(number, KINDS[name], seeds, home / "work")
        endings[str(ending.code)] += 1
        slowest, largest = max(slowest, ending.seconds), max(largest, ending.megabytes)
        if wrong:
            said = ending.output[-2500:]
            failures.append(f"mutation {number} ({name}): {'; '.join(wrong)}: {done}\n{said}")
            shutil.copytree(home / "work", home / f"failed{number}", dirs_exist_ok=True)
            print(failures[-1], file=sys.stderr, flush=True)
    return {
        "endings": endings,
        "failures": failures,
        "seconds": slowest,
        "megabytes": largest,
    }


if __name__ == "__main__":
    arguments = sys.argv[2:]
    found = main(
        Path(sys.argv[1]).absolute(), int(arguments[0]), int(arguments[1]), *arguments[2:3]
    )
    print(json.dumps(found))
