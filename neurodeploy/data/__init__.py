"""Data sets as integers, and how samples become input over time.

``DATASETS`` maps a name to the function that loads it; a new set is one file and one line here.
Samples are integers 0..levels, so that the float network (integer/levels) and the deployed
integers start from exactly the same values.
"""

from __future__ import annotations

from collections.abc import Callable

from neurodeploy.data.dataset import Dataset
from neurodeploy.data.digits import load_digits
from neurodeploy.errors import InputError, nearest

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
}


def load_dataset(name: str) -> Dataset:
    """Load a data set by name.

    Raises:
        InputError: no data set of that name.
    """
    if name not in DATASETS:
        raise InputError(f"data set {name!r} is not known{nearest(name, DATASETS)}")
    return DATASETS[name]()


__all__ = ["DATASETS", "Dataset", "load_dataset"]
