"""What killed commands left unfinished where commands write unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from neurodeploy.artifacts.names import DEPLOYMENTS, RESULTS, RUNS
from neurodeploy.support.partial import remove_leftovers, remove_temporary_leftovers


def remove_leftovers_here() -> None:
    """Remove what commands that were killed left unfinished in the working directory.

    There, in the runs and deployments and among the system's temporary files; what was written
    elsewhere goes when something is next written there.
    """
    places = [Path(), RUNS, DEPLOYMENTS]
    for folder in (RUNS, DEPLOYMENTS):
        places += [*folder.glob("*"), *folder.glob(f"*/{RESULTS}"), *folder.glob(f"*/{RESULTS}/*")]
    for place in places:
        if place.is_dir():
            remove_leftovers(place, certain=True)
    remove_temporary_leftovers()
