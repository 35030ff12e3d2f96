"""A progress bar over samples, and the time that they took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

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
        self._elsewhere = 0.0

    def go_on(self, samples: int, seconds: float) -> None:
        """Count on from what an earlier simulation did."""
        self._bar.update(samples)
        self._elsewhere -= seconds

    def start(self) -> None:
        """Begin to count the time."""
        self._since = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self._elsewhere += time.perf_counter() - since

    @property
    def seconds(self) -> float:
        """Time since the start, but for pauses."""
        return time.perf_counter() - self._since - self._elsewhere

    def update(self, samples: int) -> None:
        """Move on."""
        self._bar.update(samples)

    def close(self) -> None:
        """Remove it."""
        self._bar.close()
