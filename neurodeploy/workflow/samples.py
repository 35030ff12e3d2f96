"""Which samples to simulate: the deployment's data set, a file of the user's, or random spikes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from neurodeploy.data import Dataset, SampleArray, choose, class_numbers, load_dataset
from neurodeploy.data.labels import target_values
from neurodeploy.data.npz import centre, silent_after, stated_number
from neurodeploy.data.scan import in_scan_order
from neurodeploy.data.values import BYTE, integers
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.contract import Contract
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.simulation.trace import Samples
from neurodeploy.support.archives import StoredArray, stored_arrays
from neurodeploy.support.files import as_path, sha256
from neurodeploy.workflow.sample_values import (
    AnyNetwork,
    check_values,
    driving_values,
    input_shape,
    largest_value,
    with_channel,
)

MOST_SAMPLES = 2**31 - 1
"""So many random ones can be asked for."""


def dataset_of(contract: Contract, place: Path | None = None, classes: int = 0) -> Dataset:
    """The data set that the contract names, read as it was for training.

    Args:
        place: where it lies now; None looks where the contract says, and for the same content.
        classes: that the network tells apart; 0 takes the data set's own number.

    Raises:
        InputError: the contract names none, it is not there any more, or it has other classes.
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
        source = replace(source, path=str(place), sha256="")
    code = contract.input_code
    # Other data sets of static samples have levels of their own.
    levels = code.levels if code.encoder == "events" or contract.dataset == "npz" else 0
    return load_dataset(contract.dataset, source, contract.steps, levels, classes, code.encoder)


def dataset_samples(
    network: AnyNetwork, limit: int | None, seed: int = 0, folder: Path | None = None
) -> Samples:
    """The test part of the data set that the contract names.

    Args:
        folder: where it lies now; None looks where the contract says, and for the same content.

    Raises:
        InputError: the contract names none, it is not there any more, or its samples do not fit
            the network.
    """
    dataset = dataset_of(network.contract, folder, network.classes)
    where = f"{dataset.name} test set"
    x, y, lengths = dataset.x_test, dataset.y_test, dataset.lengths_test
    return array_samples(x, y, network, limit, seed, where, lengths)


def training_samples(network: AnyNetwork, count: int, seed: int = 0) -> Samples:
    """Samples drawn from the training part of the data set that the contract names.

    Raises:
        InputError: as ``dataset_samples``.
    """
    dataset = dataset_of(network.contract, classes=network.classes)
    drawn = np.random.default_rng(seed).permutation(len(dataset.x_train))[:count]
    where = f"{dataset.name} training set"
    x, y = choose(dataset.x_train, drawn), dataset.y_train[drawn]
    lengths = None if dataset.lengths_train is None else dataset.lengths_train[drawn]
    return array_samples(x, y, network, count, seed, where, lengths)


def file_samples(
    path: Path | str,
    network: AnyNetwork,
    limit: int | None,
    seed: int = 0,
    *,
    scale_floats: bool = False,
) -> Samples:
    """Samples of an ``.npz`` with ``x`` and optionally ``y``, or else ``x_test`` and ``y_test``.

    ``x`` is (N, T, *input) spikes or graded integers, or (N, *input) static integers that are
    encoded as the contract says; ``x_test`` likewise. Images may lack their channel axis. Floats
    from 0 to 1 are rounded where the file states ``levels``, or is the one that the network was
    trained on. ``lengths`` (or ``lengths_test``) are the (N,) steps that samples over time last,
    each of which is read at its own end.

    Raises:
        InputError: the file, a shape or a value does not fit.
    """
    path = as_path(path, "file_samples")
    names = ("x", "y", "lengths"), ("x_test", "y_test", "lengths_test")
    stored = stored_arrays(path, (*names[0], *names[1], "levels"))
    if not {"x", "x_test"} & stored.keys():
        raise InputError(f"{path}: holds no array 'x', and no 'x_test' either")
    name, label, length = used = names[0] if "x" in stored else names[1]
    where = str(path) if name == "x" else f"{path}, {name}"
    arrays = {
        key: found.read(None if limit is None else max(limit, 1))
        for key, found in stored.items()
        if key in (*used, "levels")
    }
    _check_labels(stored, name, label, where)
    contract, warnings, lengths = network.contract, [], None
    given = arrays[name]
    if name == "x_test" and contract.dataset == "npz" and contract.source.side:
        given = centre(given[:, None] if given.ndim == 3 else given, contract.source.side, where)
    if contract.source.scan and name == "x_test":
        given = _as_series(given, contract, where)
    x, over_time = with_channel(given, network)
    if length in arrays:
        x, note = silent_after(x, arrays[length], over_time, f"{where}: {length}")
        warnings.append(note)
        lengths = arrays[length]
    levels, largest = stated_number(arrays, "levels", path), largest_value(contract, over_time)
    if levels not in (0, largest):
        raise InputError(
            f"{where}: states levels 0 to {levels}; this network's input takes 0 to {largest}"
        )
    known = (
        scale_floats
        or levels
        or (contract.source.sha256 and contract.source.sha256 == sha256(path))
    )
    if x.dtype.kind == "f" and known and largest <= BYTE and not contract.input_code.biases:
        x, note = integers(x, f"{where}: x", largest)
        warnings += [note] if note else []
    found = array_samples(x, arrays.get(label), network, limit, seed, where, lengths)
    return replace(found, warnings=(*warnings, *found.warnings))


def _as_series(images: np.ndarray, contract: Contract, where: str) -> np.ndarray:
    """The images of a data set as the contract's ``scan`` shows them."""
    images = images[:, None] if images.ndim == 3 else images
    if images.ndim != 4:
        raise InputError(
            f"{where} has shape {images.shape}; the network was trained on images, (N, H, W) or "
            f"(N, C, H, W), scanned by {contract.source.scan}; samples in steps are stored as x"
        )
    return in_scan_order(images, contract.source)


def _check_labels(stored: dict[str, StoredArray], name: str, label: str, where: str) -> None:
    """Refuse labels of other samples than those there are, of which only some are read."""
    if label in stored and stored[name].shape and stored[label].shape[:1] != stored[name].shape[:1]:
        raise InputError(
            f"{where}: y has shape {stored[label].shape}, expected ({stored[name].shape[0]},)"
        )


def array_samples(
    x: SampleArray,
    labels: np.ndarray | None,
    network: AnyNetwork,
    limit: int | None = None,
    seed: int = 0,
    where: str = "samples",
    lengths: np.ndarray | None = None,
) -> Samples:
    """Samples from arrays, after checking that they fit.

    Args:
        x: (N, *shape) integers for the contract's encoder, or (N, T, *shape) of each step; arrays
            in memory may lack a channel axis of 1.
        labels: (N,) class numbers below the number of outputs, or values for each output, (N, K)
            or (N,) for one; or None.
        limit: at most so many samples.
        seed: of the draws of the ``rate`` encoder.
        where: what messages name.
        lengths: (N,) steps that samples over time last, 1..T, after which they are silent and
            their class is read; None where all last T.

    Raises:
        InputError: a shape, a type or a value does not fit.
    """
    contract, shape = network.contract, input_shape(network)
    if isinstance(x, np.ndarray):
        x = with_channel(x, network)[0]
        x = driving_values(x, contract.input_code, where) if contract.input_code.biases else x
    over_time = x.shape[1:] == (contract.steps, *shape)
    if not over_time and x.shape[1:] != shape:
        sample = ", ".join(map(str, shape))
        raise InputError(
            f"{where}: x has shape {x.shape}; expected (N, {contract.steps}, {sample}) over time "
            f"or (N, {sample}) static"
        )
    if not over_time and contract.input_code.encoder == "events":
        raise InputError(f"{where}: x is static, but the network takes events over time")
    largest = largest_value(contract, over_time)
    asked = check_values(x, largest, where) if isinstance(x, np.ndarray) else None
    if labels is not None:
        checked = target_values if contract.predicts_values else class_numbers
        labels = checked(labels, len(x), f"{where}: y", network.classes)
    count = _limited(len(x), limit)
    dtype = np.uint8 if largest == 1 else np.int32
    return Samples(
        count,
        lambda first, last: x[first:last].astype(dtype),
        None if labels is None else labels[:count],
        contract,
        where,
        over_time,
        seed,
        () if asked is None else (asked,),
        None if lengths is None else lengths[:count].astype(np.int64),
    )


def random_samples(count: int, rate: float, seed: int, contract: Contract, shape: Shape) -> Samples:
    """Bernoulli spikes of probability ``rate`` per step; graded inputs get random integers.

    Raises:
        InputError: the count or the rate is out of range.
    """
    if not 1 <= count <= MOST_SAMPLES or not 0 <= rate <= 1:
        raise InputError(
            Text(
                Setting("random_count", str(count)),
                " ",
                Setting("rate", str(rate)),
                ": needs N >= 1 and a rate from 0 to 1"
                if count <= MOST_SAMPLES
                else f": at most {MOST_SAMPLES:,}",
            )
        )
    payload = contract.input_code.payload

    def take(first: int, last: int) -> np.ndarray:
        values = np.empty((last - first, contract.steps, *shape), np.int32)
        for index in range(first, last):
            rng = np.random.default_rng((seed, index))
            fires = rng.random(values.shape[1:]) < rate
            values[index - first] = fires * rng.integers(1, payload + 1, fires.shape)
        return values

    return Samples(
        count, take, None, contract, f"{count} random samples, rate {rate:g}, seed {seed}", True
    )


def _limited(available: int, limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise InputError(Text(Setting("samples", str(limit)), ": needs at least 1"))
    return available if limit is None else min(limit, available)


def check_samples(samples: Samples, function: str) -> None:
    """Refuse what are no samples of a deployment.

    Raises:
        InputError: they are something else, such as an array.
    """
    if not isinstance(samples, Samples):
        raise InputError(
            f"{function} of a deployment takes Samples, found {type(samples).__name__}: make them "
            "by choose_samples or array_samples; the top level's functions take a network and an "
            "array"
        )


def choose_samples(
    network: QuantizedNetwork,
    *,
    samples: int | None = None,
    data: Path | str | None = None,
    random_count: int | None = None,
    rate: float = 0.1,
    seed: int = 0,
    default_count: int | None = None,
    scale_floats: bool = False,
) -> Samples:
    """Samples from a file, at random, or from the data set that the contract names.

    Args:
        data: an ``.npz`` with samples, or the folder of the data set that the contract names.
        scale_floats: multiply floats from 0 to 1 in the file by the network's levels, and round.
        samples: at most so many, ``default_count`` when None (and all when that is None too).

    Raises:
        InputError: contradicting choices, or none that works.
    """
    if data is not None and random_count is not None:
        raise InputError(
            Text("give either ", Setting("data"), " or ", Setting("random_count"), ", not both")
        )
    data = None if data is None else as_path(data, "choose_samples")
    if seed < 0:
        raise InputError(Text(Setting("seed", str(seed)), ": needs a number from 0"))
    limit = default_count if samples is None else samples
    if data is not None and data.is_dir():
        return dataset_samples(network, limit, seed, data)
    if random_count is not None:
        count = _limited(random_count, samples)
        return random_samples(count, rate, seed, network.contract, input_shape(network))
    if data is not None:
        return file_samples(data, network, limit, seed, scale_floats=scale_floats)
    return dataset_samples(network, limit, seed)
