"""Data sets as integers, and how samples become input over time.

``DATASETS`` maps a name to the function that loads it; a new set is one function and one line here.
Samples are integers 0..levels, so that the float network (integer/levels) and the deployed
integers start from exactly the same values. Nothing else is done to them: a per-channel mean and
standard deviation are left to the network's first normalised layer, which takes them in, because
numbers that are not integers would not survive the way to a chip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from neurodeploy.data.dataset import Dataset, Request, SampleArray, Versions, choose
from neurodeploy.data.fsdd import load_fsdd
from neurodeploy.data.images import load_cifar10, load_cifar100, load_digits, load_image_folder
from neurodeploy.data.labels import class_numbers, count_classes
from neurodeploy.data.mackey_glass import load_mackey_glass
from neurodeploy.data.npz import load_npz
from neurodeploy.data.own_events import load_events, load_series
from neurodeploy.data.recordings import load_dvs_cifar10, load_dvs_gesture, load_nmnist, load_shd
from neurodeploy.data.scan import scanned
from neurodeploy.errors import InputError, nearest
from neurodeploy.ir.contract import DataSource, Encoder
from neurodeploy.ir.sound import SoundVersions

DATASETS: dict[str, Callable[[Request], Dataset]] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "digits": load_digits,
    "dvs_cifar10": load_dvs_cifar10,
    "dvs_gesture": load_dvs_gesture,
    "events": load_events,
    "fsdd": load_fsdd,
    "image_folder": load_image_folder,
    "mackey_glass": load_mackey_glass,
    "nmnist": load_nmnist,
    "npz": load_npz,
    "series": load_series,
    "shd": load_shd,
}

NEED_NO_FILE = frozenset({"digits", "mackey_glass"})
"""Data sets that come with a package or are computed: they are there without being fetched."""

OF_VALUES = frozenset({"mackey_glass"})
"""Data sets whose samples have values to predict instead of a class."""

CLASSES = {
    "cifar10": 10,
    "cifar100": 100,
    "dvs_cifar10": 10,
    "dvs_gesture": 11,
    "fsdd": 10,
    "nmnist": 10,
    "shd": 20,
}
"""Classes of sets that have theirs, so that a part of such a set keeps an output for all."""


def load_dataset(
    name: str,
    source: DataSource | None = None,
    steps: int = 1,
    levels: int = 0,
    classes: int = 0,
    encoder: Encoder = "direct",
    versions: SoundVersions | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: a key of ``DATASETS``.
        source: file or folder and how to read it; None for a data set that needs none.
        steps: T, of data sets with time.
        levels: largest integer of a sample: event counts are clipped to this, values of an
            ``.npz`` end there. 0 for the data set's own.
        classes: how many there are, some perhaps without a sample; 0 for the data set's own, or
            as many as have samples.
        encoder: of the network; samples of an ``.npz`` for ``events`` have a time axis.
        versions: changed ones of training recordings, where these are sound; None for none.
        seed: of what changes these.

    Raises:
        InputError: no data set of that name, it cannot be read from there or in that way, or its
            labels are not the numbers of that many classes.
        MissingDependencyError: reading or fetching it needs a package that is not installed.
    """
    if name not in DATASETS:
        raise InputError(f"data set {name!r} is not known{nearest(name, DATASETS)}")
    source = source or DataSource()
    # Images that are scanned have no time before that.
    over_time = encoder == "events" and not source.scan
    versions = versions or SoundVersions()
    dataset = DATASETS[name](Request(source, steps, levels, over_time, versions, seed))
    if versions.count and dataset.versions_train is None:
        raise InputError(
            f"[augmentation.sound]: data set {name!r} is not sound and has no such versions"
        )
    if source.scan:
        dataset = scanned(dataset, source, steps)
    _check_taken(name, source, levels, dataset)
    if dataset.predicts_values:
        if classes not in (0, dataset.classes):
            raise InputError(
                f"data set {name!r} has {dataset.classes} values for each sample, but {classes} "
                "outputs are asked for"
            )
        return dataset
    stated = classes or dataset.stated_classes or CLASSES.get(name, 0)
    where = dataset.source.path or f"data set {name!r}"
    parts = {"training": dataset.y_train, "test": dataset.y_test}
    count, notes = count_classes(parts, where, stated)
    return replace(dataset, stated_classes=count, notes=(*dataset.notes, *notes))


def _check_taken(name: str, source: DataSource, levels: int, dataset: Dataset) -> None:
    """Refuse what a data set was asked for and does not do.

    Raises:
        InputError: naming the key and what the data set has.
    """
    found = dataset.source
    for key in ("side", "bins", "dt", "longer", "split"):
        asked, given = getattr(source, key), getattr(found, key)
        left_open = key in ("dt", "split") and not asked
        if asked != given and not left_open:
            has = f"it has {given}" if given else "it has none"
            raise InputError(f"[data] {key} = {asked}: data set {name!r} does not take this; {has}")
    if source.front_end != found.front_end:
        raise InputError(f"[data.front_end]: data set {name!r} is not sound and does not take this")
    if source.mackey_glass != found.mackey_glass:
        raise InputError(
            f"[data.mackey_glass]: data set {name!r} is another and does not take this"
        )
    if levels and levels != dataset.levels:
        raise InputError(
            f"[data] levels = {levels}: data set {name!r} does not take this; it has "
            f"{dataset.levels}"
        )


def check_encoder(dataset: Dataset, encoder: Encoder) -> None:
    """Refuse an encoder for static samples on samples over time, and the other way round.

    Raises:
        InputError: they do not go together.
    """
    if dataset.over_time and encoder != "events":
        raise InputError(
            f"data set {dataset.name!r} has its steps already; encoder {encoder!r} would make "
            'them out of static samples. Set encoder.name = "events"'
        )
    if not dataset.over_time and encoder == "events":
        raise InputError(
            f"encoder 'events' takes samples over time, but those of {dataset.name!r} are static; "
            "use direct, rate or latency"
        )


__all__ = [
    "CLASSES",
    "DATASETS",
    "NEED_NO_FILE",
    "OF_VALUES",
    "Dataset",
    "SampleArray",
    "Versions",
    "check_encoder",
    "choose",
    "class_numbers",
    "load_dataset",
]
