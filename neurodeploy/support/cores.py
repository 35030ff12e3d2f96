"""How many cores of the processor are left over by other programs."""

from __future__ import annotations

import os
import time

import joblib
import psutil


class SpareCores:
    """Looks at what other programs take of the cores that this process may run on.

    Cores that a container's quota or the process's affinity do not give are never counted.
    """

    def __init__(self) -> None:
        self.most = joblib.cpu_count()
        self._before = _times()

    def now(self) -> float:
        """Cores left over by others, on average since the last call; at least 0.

        The kernel counts in hundredths of a second: called sooner than after a tenth of a second,
        this says little.
        """
        now = _times()
        wall, others = (later - before for later, before in zip(now, self._before, strict=True))
        self._before = now
        if wall <= 0:
            return float(self.most)
        allowed = len(os.sched_getaffinity(0))
        return min(float(self.most), max(allowed - max(others, 0.0) / wall, 0.0))


def _times() -> tuple[float, float]:
    """The clock, and the seconds that others have run on the cores of this process so far.

    Time that the host of a virtual machine takes away counts as another program's.
    """
    cores = psutil.cpu_times(percpu=True)
    idle = ("idle", "iowait", "guest", "guest_nice")  # guests stand in user and nice already
    busy = sum(
        seconds
        for number in os.sched_getaffinity(0)
        for name, seconds in cores[number]._asdict().items()
        if name not in idle
    )
    own = os.times()
    return time.monotonic(), busy - own.user - own.system
