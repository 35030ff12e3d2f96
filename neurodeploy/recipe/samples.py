"""What a recipe says of samples: the data set, what is changed at random, how they are encoded."""

from __future__ import annotations

from dataclasses import dataclass, field

from neurodeploy.ir.contract import DataSource, Encoder
from neurodeploy.ir.sound import FrontEnd, SoundVersions
from neurodeploy.ir.source import Longer, MackeyGlass, Scan, TimeBins


@dataclass(frozen=True)
class DataRecipe:
    """Which samples, and how many of the training ones are held back for validation.

    Attributes:
        name: the data set: ``digits``, ``cifar10``, ``cifar100``, ``dvs_cifar10``, ``dvs_gesture``,
            ``fsdd``, ``mackey_glass``, ``nmnist`` or ``shd``; for your own files ``npz``,
            ``image_folder``, ``events`` or ``series``.
        validation: share of the training samples, 0 < validation < 1.
        path, sha256, side, bins, longer, split, front_end, scan, permute, mackey_glass: as in
            ``neurodeploy.ir.source.DataSource``.
        dt: seconds of a step, > 0, with bins = "dt"; none takes the data set's own.
        levels: largest integer of a sample. Event counts are clipped to this, 1 makes their
            frames binary; it is the largest integer of an ``.npz``, and floats from 0 to 1 there
            are rounded to so many levels. 0 takes the data set's own, or infers that of an
            ``.npz``.
        classes: number of classes, if some have no sample in the data set; 0 counts them.
        exclude: classes left out of training and validation, to be learned on the chip later; the
            test samples include them, and the network has outputs for them.
        limit: train and validate on only so many of the training samples, drawn by the recipe's
            seed, each class in proportion; 0 for all.
    """

    name: str
    validation: float = 0.1
    path: str = ""
    sha256: str = ""
    side: int = 0
    bins: TimeBins = "time"
    levels: int = 0
    classes: int = 0
    exclude: tuple[int, ...] = ()
    dt: float | None = None
    longer: Longer = "refuse"
    split: str = ""
    front_end: FrontEnd = field(default_factory=FrontEnd)
    scan: Scan = ""
    permute: int = 0
    limit: int = 0
    mackey_glass: MackeyGlass = field(default_factory=MackeyGlass)

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is a share between 0 and 1, found {self.validation}")
        if not 0 <= self.levels <= 255:
            raise ValueError(f"levels is from 1 to 255, or 0, found {self.levels}")
        if self.classes < 0 or self.classes == 1:
            raise ValueError(f"classes is at least 2, or 0 to count them, found {self.classes}")
        if self.limit < 0:
            raise ValueError(f"limit counts samples, 0 for all, found {self.limit}")
        if self.dt is not None and not self.dt > 0:
            raise ValueError(f"dt is in seconds of a step and must be positive, found {self.dt:g}")
        _ = self.source

    @property
    def source(self) -> DataSource:
        """Where the samples lie and how they are read.

        Raises:
            ValueError: values that do not go together.
        """
        return DataSource(
            self.path,
            self.sha256,
            self.side,
            self.bins,
            self.dt or 0.0,
            self.longer,
            self.split,
            self.front_end,
            self.scan,
            self.permute,
            self.mackey_glass,
        )


OVER_TIME = ("stretch", "time_shift", "channel_shift", "drop", "channel_mask", "time_mask")
"""Changes of samples over time, by name."""


@dataclass(frozen=True)
class AugmentationRecipe:
    """Random changes of training samples, each drawn anew in every epoch; nothing by default.

    They act on the integers, in this order. The first six are for samples over time, whose own
    ends move along; the others for images, the frames of one event sample all alike. Only
    ``sound`` comes before that: it changes recordings before they are integers.

    Attributes:
        stretch: play a sample at a speed from 1 - stretch to 1 + stretch, below 1: step t shows
            the original step floor(speed (t - shift)).
        time_shift: start the sample up to so many steps later, after silence, or earlier, without
            its first steps.
        channel_shift: move it by up to so many channels up or down, if channels are ordered, like
            frequency bands; ON and OFF channels in the same way. What leaves the range is lost.
        drop: share of the spikes that are left out, each independently.
        channel_mask: silence up to so many neighbouring channels, ON and OFF channels in the same
            way (Park et al. 2019, SpecAugment).
        time_mask: silence up to so many consecutive steps, likewise.
        resized_crop: take a random part of 8 to 100 % of the area and scale it to the full size
            (Szegedy et al. 2015); for ImageNet.
        crop_padding: pad with zeros by so many pixels and crop to the original size.
        flip: mirror left and right with probability 1/2.
        cutout: side in pixels of a square that is blanked, centred on any pixel of the image
            (DeVries and Taylor 2017); 0 for none.
        cutout_fill: integer per channel that blanked pixels take, for example the data set's
            mean; all 0 when empty.
        sound: versions of recorded sound.
    """

    stretch: float = 0.0
    time_shift: int = 0
    channel_shift: int = 0
    drop: float = 0.0
    channel_mask: int = 0
    time_mask: int = 0
    resized_crop: bool = False
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    cutout_fill: tuple[int, ...] = ()
    sound: SoundVersions = field(default_factory=SoundVersions)

    def __post_init__(self) -> None:
        for name in ("stretch", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is a share from 0 to below 1, found {getattr(self, name):g}"
                )
        counted = {
            **dict.fromkeys(("time_shift", "time_mask"), "steps"),
            **dict.fromkeys(("channel_shift", "channel_mask"), "channels"),
        }
        for name, unit in counted.items():
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is in {unit}, from 0; found {getattr(self, name)}")
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is in pixels, from 0; found {getattr(self, name)}")
        if any(not 0 <= value <= 255 for value in self.cutout_fill):
            raise ValueError(f"cutout_fill holds integers 0 to 255, found {self.cutout_fill}")

    @property
    def of_time(self) -> tuple[str, ...]:
        """Names of the changes asked for that are for samples over time."""
        return tuple(name for name in OVER_TIME if getattr(self, name))

    @property
    def active_at_all(self) -> bool:
        """Whether it changes anything."""
        return bool(self.of_time) or self.active

    @property
    def active(self) -> bool:
        """Whether it changes anything of images."""
        return bool(self.resized_crop or self.crop_padding or self.flip or self.cutout)


@dataclass(frozen=True)
class EncoderRecipe:
    """How a sample becomes T steps of input; the formulas are in ``neurodeploy.data.dataset``.

    Attributes:
        name: ``direct`` gives the sample's value at every step (graded input); ``rate`` draws
            Bernoulli spikes with the value as probability; ``latency`` gives each value one spike,
            the earlier the larger it is; ``events`` is for samples that already have T steps.
    """

    name: Encoder = "direct"
