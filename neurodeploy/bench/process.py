"""Measurements in processes of their own, which take turns because machines are noisy."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

from neurodeploy.errors import NeurodeployError, SimulationError

Row = TypeVar("Row")


def run_alone(module: str, arguments: Sequence[str], what: str) -> dict[str, Any]:
    """Run ``python -m module`` and return the JSON object on the last line that it prints.

    Args:
        what: names the measurement in messages.

    Raises:
        SimulationError: it failed or was killed.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        killer = signal.Signals(-done.returncode).name
        hint = "; the machine probably has too little memory for it" if killer == "SIGKILL" else ""
        raise SimulationError(f"bench of {what} was ended by {killer}{hint}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise SimulationError(f"bench of {what} failed: {lines[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(measure: Callable[[], dict[str, Any]]) -> None:
    """What a module does when ``run_alone`` runs it: print the result, or one line on an error."""
    try:
        print(json.dumps(measure()))
    except NeurodeployError as error:
        sys.exit(str(error))


def in_turns(
    tasks: Sequence[Callable[[], Row]], rounds: int, what: str, progress: bool = False
) -> list[list[Row]]:
    """Let the tasks take turns, each once a round; returns each one's rounds.

    Args:
        what: stands before the bar.
        progress: show a bar on stderr where that is a terminal.
    """
    found: list[list[Row]] = [[] for _ in tasks]
    hidden = not (progress and sys.stderr.isatty())
    with tqdm(total=rounds * len(tasks), desc=what, unit="run", disable=hidden) as bar:
        for _ in range(rounds):
            for rows, task in zip(found, tasks, strict=True):
                rows.append(task())
                bar.update()
    return found


def median(rounds: Sequence[Row], cost: Callable[[Row], float]) -> Row:
    """The round of median cost; of two in the middle, the dearer one."""
    return sorted(rounds, key=cost)[len(rounds) // 2]
