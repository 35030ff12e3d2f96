"""scikit-learn's digits: 1,797 real handwritten digits, 8x8, values 0..16.

They ship inside scikit-learn, so they are there on any machine. Source: E. Alpaydin and C. Kaynak,
"Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.errors import InputError

LEVELS = 16
TEST_SAMPLES = 360
SPLIT_SEED = 0
"""The split is part of the data set: every run and deployment tests on the same 360 images."""


def load_digits(request: Request) -> Dataset:
    """Load digits as (N, 1, 8, 8) uint8 with a fixed, stratified 1,437 / 360 split.

    Raises:
        InputError: a file or folder is named.
    """
    if request.source.path:
        raise InputError(
            "data set 'digits' ships with scikit-learn and takes no --data; for a file of yours "
            "also give --set data.name=npz"
        )
    from sklearn.datasets import load_digits as sklearn_digits
    from sklearn.model_selection import train_test_split

    digits: Any = sklearn_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    parts: Any = train_test_split(
        images, labels, test_size=TEST_SAMPLES, stratify=labels, random_state=SPLIT_SEED
    )
    x_train, x_test, y_train, y_test = parts
    return Dataset("digits", LEVELS, x_train, y_train, x_test, y_test)
