"""The data set that a contract names, from where it lies."""

from __future__ import annotations

from pathlib import Path

from neurodeploy.data import Dataset, load_dataset
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.contract import Contract, DataSource


def dataset_of(contract: Contract, place: Path | None = None) -> Dataset:
    """The data set that the contract names, read as it was for training.

    Args:
        place: where it lies now; None looks where the contract says, and for the same content.

    Raises:
        InputError: the contract names none, or it is not there any more.
    """
    if not contract.dataset:
        raise InputError(
            "this deployment names no data set",
            fix=Text(
                "give samples with ",
                Setting("data", "FILE.npz"),
                " or ",
                Setting("random_count", "N"),
            ),
        )
    source = contract.source
    if place is not None:
        source = DataSource(str(place), "", source.side, source.bins)
    # Of static samples, levels are the data set's own.
    levels = contract.input_code.levels if contract.input_code.encoder == "events" else 0
    return load_dataset(contract.dataset, source, contract.steps, levels)
