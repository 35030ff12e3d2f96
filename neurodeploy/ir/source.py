"""Where a data set lies and how it is read: what a recipe says of it, and a contract carries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from neurodeploy.ir.sound import FrontEnd

TimeBins = Literal["time", "count", "dt"]
Longer = Literal["refuse", "cut"]
Scan = Literal["", "rows", "pixels"]

MICROSECONDS = 1_000_000
"""In a second. Cameras of events count time in them."""

MOST_DT = 3600.0
"""Seconds of a step; beyond it somebody has meant another unit."""

MOST_SIDE = 2**14
"""Pixels of an image's side."""

MOST_POINTS, MOST_TIME = 100_000, 200_000
"""Of a series that is computed, which takes seconds then."""

OLDEST_KEYS = ("path", "sha256", "side", "bins")
"""Of a ``DataSource``: what every file says, also where it is the default."""


@dataclass(frozen=True)
class MackeyGlass:
    """A series of the Mackey-Glass equation and the windows of it that are shown.

    The equation's other constants are those of NeuroBench, as are the defaults but for ``window``.

    Attributes:
        tau: delay of the equation.
        lyapunov_time: time in which small differences grow by a factor of e.
        points: samples of the series in a Lyapunov time.
        train: Lyapunov times for training.
        test: Lyapunov times for testing, which follow those for training.
        window: number of values that a sample shows.
        horizon: how many values after the window the predicted one is, 1 for the next.
    """

    tau: float = 17.0
    lyapunov_time: float = 197.0
    points: int = 75
    train: float = 10.0
    test: float = 10.0
    window: int = 24
    horizon: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("tau", 0.1, 1000.0),
            ("lyapunov_time", 1.0, 1e5),
            ("points", 1, 10_000),
            ("train", 0.1, 1000.0),
            ("test", 0.1, 1000.0),
            ("window", 1, 4096),
            ("horizon", 1, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"mackey_glass: {name} is from {low:g} to {high:g}, found "
                    f"{getattr(self, name):g}"
                )
        if self.train_points + self.test_points > MOST_POINTS or self.duration > MOST_TIME:
            raise ValueError(
                f"mackey_glass: {self.train_points + self.test_points:,} points in a time of "
                f"{self.duration:,.0f}; at most {MOST_POINTS:,} in {MOST_TIME:,} are computed"
            )
        if self.train_points < 2 * (self.window + self.horizon):
            raise ValueError(
                f"mackey_glass: {self.train_points} points for training are too few for windows of "
                f"{self.window} and a horizon of {self.horizon}"
            )

    @property
    def train_points(self) -> int:
        """Points of the series for training."""
        return round(self.train * self.points)

    @property
    def test_points(self) -> int:
        """Points of the series for testing."""
        return round(self.test * self.points)

    @property
    def duration(self) -> float:
        """Time that the series covers."""
        return (self.train + self.test) * self.lyapunov_time


@dataclass(frozen=True)
class DataSource:
    """Where a data set lies and how it is read, so that it is found and read the same again.

    Attributes:
        path: file or folder, absolute once it has been read; in a NIR file only its last part;
            empty for a data set that needs none.
        sha256: SHA-256 of the file's content; empty for a folder, or to accept any content.
        side: images are read as side x side pixels, event frames are scaled down to that, and
            images of an ``.npz`` are cropped to their middle; 0 keeps the data set's own size.
        bins: what a step of a recording is: ``time`` and ``count`` stretch every recording over all
            T steps, which share its time or its events evenly; with ``dt``, a step has that
            duration, every recording has its own number of steps, and silence follows up to T.
        dt: seconds of a step of ``bins`` = ``dt``; 0 takes the data set's own.
        longer: ``refuse`` recordings of more than T steps, or ``cut`` them.
        split: which recordings are for testing, if a data set offers a choice; empty for its
            official split.
        front_end: how sound becomes spikes.
        scan: show images as series, one of their ``rows`` or ``pixels`` at each step; empty for
            whole images.
        permute: with ``scan``, the seed of a permutation that is applied to the pixels first
            (``data.scan.pixel_order``); 0 for none.
        mackey_glass: the series of that name.
    """

    path: str = ""
    sha256: str = ""
    side: int = 0
    bins: TimeBins = "time"
    dt: float = 0.0
    longer: Longer = "refuse"
    split: str = ""
    front_end: FrontEnd = field(default_factory=FrontEnd)
    scan: Scan = ""
    permute: int = 0
    mackey_glass: MackeyGlass = field(default_factory=MackeyGlass)

    def __post_init__(self) -> None:
        if self.permute < 0:
            raise ValueError(f"permute is a seed from 1, or 0 for none, found {self.permute}")
        if self.permute and not self.scan:
            raise ValueError(
                f"permute = {self.permute} is for images as series; it goes with "
                'scan = "rows" or scan = "pixels"'
            )
        if not 0 <= self.side <= MOST_SIDE:
            raise ValueError(
                f"side is in pixels and must not be negative, nor above {MOST_SIDE}, found "
                f"{self.side}"
            )
        if not 0 <= self.dt <= MOST_DT:
            raise ValueError(
                f"dt is in seconds of a step, above 0 and at most {MOST_DT:g}, found {self.dt:g}"
            )
        if self.bins != "dt" and (self.dt or self.longer != "refuse"):
            name = "dt" if self.dt else "longer"
            raise ValueError(
                f'{name} is for steps of one duration; it goes with bins = "dt", found '
                f'bins = "{self.bins}"'
            )

    @property
    def tick(self) -> int:
        """Microseconds of a step.

        Raises:
            ValueError: they are not a whole number.
        """
        exact = self.dt * MICROSECONDS
        whole = round(exact)
        if whole < 1 or abs(exact - whole) > 1e-6 * whole:
            raise ValueError(
                f"dt = {self.dt:g} s is {exact:g} microseconds; recordings of events count time "
                "in whole ones"
            )
        return whole

    def to_table(self) -> dict[str, Any]:
        """What is said of it: newer keys only where they are not the default."""
        said, table = DataSource(), asdict(self)
        return {
            key: table[key]
            for key in (f.name for f in fields(self))
            if key in OLDEST_KEYS or getattr(self, key) != getattr(said, key)
        }
