"""A progress bar over samples, and the time that they took."""

from __future__ import annotations

import time

from tqdm import tqdm


class Bar:
    """Samples done, on stderr where that is wanted, and the clock of them.

    Args:
        count: of all samples.
        what: stands before the bar.
    """

    def __init__(self, count: int, what: str, shown: bool) -> None:
        self._bar = tqdm(total=count, desc=what, unit="sample", disable=not shown)
        self._since = time.perf_counter()
        self._before = 0.0

    def go_on(self, samples: int, seconds: float) -> None:
        """Count on from what an earlier simulation did."""
        self._bar.update(samples)
        self._before = seconds

    def start(self) -> None:
        """Begin to count the time."""
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time since the start, with that of an earlier simulation which this one goes on from."""
        return time.perf_counter() - self._since + self._before

    def update(self, samples: int) -> None:
        """Move on."""
        self._bar.update(samples)

    def close(self) -> None:
        """Remove it."""
        self._bar.close()
