"""Commands killed at random moments: no process, no half of a result and no leftover stays."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from itertools import count as counting
from itertools import takewhile
from pathlib import Path

import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import read_run
from neurodeploy.artifacts.results import read_results
from support.command_processes import catches, members
from support.patience import patience
from support.zygote import Zygote, zygote

RUN, DEPLOYED = "runs/digits_conv-001", "deployments/digits_conv-loihi2-001"
LEARN = ("learn", DEPLOYED, "--samples", "10", "--held-out", "10")
TRAIN = ("train", "digits_mlp", "--set", "training.epochs=4", "--set", "training.steps=2")
MAPPED = ("--network", "mlp-16-8-4")
QUICK = (
    ("export", RUN, "--target", "loihi2"),
    ("simulate", DEPLOYED, "--engine", "reference", "--random", "200", "--trace", "t.npz"),
)
"""Trainings that are killed and resumed are in ``test_resume``, too."""

ALL = (
    *QUICK,
    TRAIN,
    ("simulate", DEPLOYED, "--engine", "lava", "--random", "2"),
    ("simulate", DEPLOYED, "--engine", "lava-fused", "--random", "200"),
    ("validate", DEPLOYED, "--random", "2"),
    (*LEARN, "--engine", "reference"),
    (*LEARN, "--engine", "lava-fused"),
    ("bench", "mapping", *MAPPED, "--target", "loihi2"),
    ("bench", "simulate", *MAPPED, "--seconds", "0.1", "--rounds", "1"),
)
ENDS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}

OF_TORCH = "torchinductor_"
"""What torch keeps among temporary files for all programs begins so."""


def leftovers(*folders: Path) -> list[Path]:
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if (path.name.startswith(".") or path.parent.name == "tmp")
        and not path.name.startswith(OF_TORCH)
    ]


def shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def comes_true(condition: Callable[[], bool]) -> bool:
    """Within a moment, which the kernel needs to end processes, and others for theirs."""
    deadline = time.monotonic() + 5 * patience()
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def clear(place: Path) -> None:
    """Leave the first run and deployment alone."""
    for path in (*(place / "runs").iterdir(), *(place / "deployments").iterdir()):
        if path.name not in (Path(RUN).name, Path(DEPLOYED).name):
            shutil.rmtree(path)


def check_whole(place: Path, commands: Zygote) -> None:
    """Everything that has a name is whole, or goes on to be."""
    for path in (place / "deployments").iterdir():
        deployment = read_deployment(path)
        for name in ("summary.json", "parity.json", "learning.json"):
            _, ignored = read_results(deployment, name)
            assert ignored == []
    for path in (place / "runs").iterdir():
        if not (path / "run.json").exists():
            assert (path / "recipe.json").exists()
            code, said = commands.run("train", "--resume", str(path.relative_to(place)))
            assert code == 0, said
        read_run(path)


@pytest.mark.lava
@pytest.mark.parametrize(
    ("commands", "count"),
    [(QUICK, 4), pytest.param(ALL, 200, marks=pytest.mark.slow)],
    ids=["quick", "all"],
)
def test_kills_at_random_moments(
    commands: tuple[tuple[str, ...], ...], count: int, workspace: Path, tmp_path: Path
) -> None:
    place, temporary = tmp_path / "place", tmp_path / "tmp"
    shutil.copytree(workspace, place)
    temporary.mkdir()
    before, spans, draws = shared_memory(), {}, random.Random(0)
    landed = dict.fromkeys(ENDS, 0)
    with zygote(place, temporary, tmp_path / "said") as forks:
        # On a machine that got faster since a command was timed, some end before their moment.
        for number in takewhile(
            lambda n: n < count or (sum(landed.values()) < count // 4 and n < 5 * count),
            counting(),
        ):
            command = commands[number % len(commands)]
            kind = draws.choice([*ENDS])
            if command not in spans:
                began = time.monotonic()
                code, said = forks.run(*command)
                assert code == 0, said
                spans[command] = time.monotonic() - began
                clear(place)
            moment = draws.uniform(0, spans[command])
            process = forks.start(command)
            began = time.monotonic()
            assert comes_true(lambda p=process: not members(p) or catches(p, signal.SIGTERM))
            while time.monotonic() - began < moment and members(process):
                time.sleep(0.005)
            if members(process):
                # A terminal's Ctrl-C reaches the whole group.
                (os.killpg if kind == signal.SIGINT else os.kill)(process, kind)
            else:
                spans[command] = time.monotonic() - began
            code, said = forks.end()
            where = (number, command, kind, moment, said)
            assert code in (0, ENDS[kind]), where
            landed[kind] += code != 0
            assert "Traceback" not in said and "Exception" not in said, where
            assert comes_true(lambda group=process: not members(group)), where
            assert comes_true(lambda: shared_memory() <= before), where
            if kind != signal.SIGKILL:
                assert leftovers(place, temporary) == [], where
            code, said = forks.run("targets")
            assert code == 0, said
            assert leftovers(place, temporary) == [], where
            check_whole(place, forks)
            clear(place)
    assert sum(landed.values()) >= count // 4, "many moments are within the work"
