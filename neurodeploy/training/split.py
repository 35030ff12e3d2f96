"""Hold back part of the training samples for validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodeploy.data import Dataset, SampleArray, choose
from neurodeploy.errors import InputError
from neurodeploy.recipe import Recipe


class Split(NamedTuple):
    """(N, *sample) integers and (N,) labels of both parts."""

    x_train: SampleArray
    y_train: np.ndarray
    x_validation: SampleArray
    y_validation: np.ndarray


def split_training(recipe: Recipe, dataset: Dataset) -> Split:
    """Split the training samples by the recipe's share and seed, each class in proportion.

    Samples of excluded classes come into neither part. The test samples play no part: they are
    looked at once, when training is over.

    Raises:
        InputError: the share leaves a class without a sample in one of the parts, or an excluded
            class does not exist.
    """
    exclude = recipe.data.exclude
    unknown = [number for number in exclude if not 0 <= number < dataset.classes]
    if unknown or len(set(exclude)) >= dataset.classes - 1:
        raise InputError(
            f"recipe {recipe.name}: [data] exclude = {list(exclude)}: the data set has classes 0 "
            f"to {dataset.classes - 1}, and at least two of them have to stay"
        )
    numbers = np.flatnonzero(~np.isin(dataset.y_train, exclude))
    # Imported here because it takes a second, which a wrong recipe should not have to wait for.
    from sklearn.model_selection import train_test_split

    try:
        parts = train_test_split(
            numbers,
            test_size=recipe.data.validation,
            stratify=dataset.y_train[numbers],
            random_state=recipe.seed,
        )
    except ValueError as error:
        raise InputError(
            f"recipe {recipe.name}: [data] validation = {recipe.data.validation} cannot split "
            f"{len(numbers)} samples of {dataset.classes - len(set(exclude))} classes: {error}"
        ) from None
    train, validation = (np.asarray(part) for part in parts)
    return Split(
        choose(dataset.x_train, train),
        dataset.y_train[train],
        choose(dataset.x_train, validation),
        dataset.y_train[validation],
    )
