"""How much longer everything may take on a machine that has other things to do."""

from __future__ import annotations

import os


def patience() -> float:
    """Processes that want to run, per core; 1 at least."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
