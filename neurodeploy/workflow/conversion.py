"""A trained network of ReLUs from a user's file to a spiking network in a NIR file."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.data import DATASETS, Dataset, load_dataset
from neurodeploy.errors import InputError, Setting, Text, UnsupportedError, nearest
from neurodeploy.interchange.from_relu import ReluNetwork
from neurodeploy.interchange.nir.file import write_own_nir
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.ir.contract import DataSource, Encoder
from neurodeploy.ir.network import Network
from neurodeploy.nn.conversion import Balance
from neurodeploy.nn.families.user import module_from
from neurodeploy.simulation.engines import FloatEngine
from neurodeploy.support.files import check_place
from neurodeploy.support.reading import check_file
from neurodeploy.support.tensors import read_tensors
from neurodeploy.workflow.samples import array_samples

SAMPLES = 500
"""Training samples that thresholds are balanced on when nobody says how many."""

BATCH = 100


@dataclass(frozen=True, eq=False)
class Source:
    """A network of ReLUs with the data that it was trained on.

    Attributes:
        balancing: training samples that thresholds are balanced on.
        x, y: test samples and their classes.
        accuracy: of the ReLUs on these, 0 to 1.
    """

    relus: ReluNetwork
    balancing: np.ndarray
    x: np.ndarray
    y: np.ndarray
    accuracy: float

    def spiking(
        self, steps: int, balance: Balance, encoder: Encoder = "direct"
    ) -> tuple[Network, dict[str, float]]:
        """The spiking network for T steps, and its thresholds in units of activations."""
        found = self.relus.thresholds(self.balancing, steps, balance)
        network = self.relus.with_thresholds(found, steps, half=balance.half, encoder=encoder)
        return network, found

    def accuracy_of(self, network: Network) -> float:
        """Share of test samples whose class a spiking network names, in floats."""
        samples = array_samples(self.x, self.y, network, where="test samples")
        right = 0
        for batch, trace in FloatEngine(network).run(samples.batches(BATCH)):
            right += int((trace.predictions(network.contract.decode) == batch.labels).sum())
        return right / samples.count


@dataclass(frozen=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        path: of the NIR file.
        network: in floats.
        thresholds: by ReLU, in units of its activation.
        ann_accuracy, accuracy: of the ReLUs and of the spiking network, 0 to 1.
        samples: test samples that these are of.
    """

    path: Path
    network: Network
    thresholds: dict[str, float]
    ann_accuracy: float
    accuracy: float
    samples: int


def convert(
    source: Source,
    steps: int,
    balance: Balance,
    encoder: Encoder = "direct",
    out: Path | None = None,
) -> Conversion:
    """Convert a network for T steps and write it.

    Args:
        out: the file; ``NAME.nir`` in the working directory when None.

    Raises:
        InputError, UnsupportedError: as ``ReluNetwork.as_spiking``; or the file cannot be written.
    """
    path = Path(f"{source.relus.name}.nir") if out is None else out
    check_place(path)
    network, thresholds = source.spiking(steps, balance, encoder)
    graph = network_to_nir(network)
    accuracy = source.accuracy_of(network)
    write_own_nir(path, graph)
    count = len(source.x)
    return Conversion(path, network, thresholds, source.accuracy, accuracy, count)


def read_source(
    network: str,
    weights: Path | None,
    data: str,
    *,
    samples: int | None = None,
    test: int | None = None,
) -> Source:
    """Call a user's function, load its weights, and read the data it was trained on.

    Args:
        network: ``file.py:function``, which is called without arguments and returns the module.
        weights: the module's ``state_dict``, as ``torch.save`` or safetensors wrote it; None where
            the function loads them.
        data: a built-in data set by name, or an ``.npz``.
        samples: training samples to balance on; ``SAMPLES`` when None.
        test: test samples that accuracies are of; all when None.

    Raises:
        InputError: the function, the weights or the data cannot be used.
        UnsupportedError: a layer has no spiking counterpart, or the data has no classes, or time.
    """
    for name, count in (("samples", samples), ("test", test)):
        if count is not None and count < 1:
            raise InputError(Text(Setting(name, str(count)), ": needs at least 1"))
    module = module_from(network)
    if weights is not None:
        _load(module, weights, network)
    dataset = _dataset(data)
    shape = tuple(dataset.sample_shape)
    found = ReluNetwork.of(module, shape, dataset.levels, network.rpartition(":")[2])
    found = replace(found, dataset=dataset.name, source=dataset.source)
    *_, last = found.layers.layers
    if found.layers.shapes[last] != (dataset.classes,):
        raise InputError(
            f"{network} gives outputs of shape {found.layers.shapes[last]}; data set "
            f"{dataset.name!r} has {dataset.classes} classes"
        )
    # Data sets are often sorted by class.
    drawn = np.random.default_rng(0).permutation(len(dataset.x_train))[: samples or SAMPLES]
    tested = np.random.default_rng(0).permutation(len(dataset.x_test))[:test]
    x, y = dataset.x_test[tested], dataset.y_test[tested]
    accuracy = float(np.mean(found.outputs(x).argmax(1) == y))
    return Source(found, dataset.x_train[drawn], x, y, accuracy)


def _dataset(data: str) -> Dataset:
    if data in DATASETS and not Path(data).exists():
        dataset = load_dataset(data)
    elif data.endswith(".npz"):
        dataset = load_dataset("npz", DataSource(str(Path(data).absolute())))
    else:
        raise InputError(
            Text(
                Setting("data", data), f": neither an .npz nor a data set{nearest(data, DATASETS)}"
            )
        )
    if dataset.predicts_values or dataset.over_time:
        what = "values instead of classes" if dataset.predicts_values else "steps already"
        raise UnsupportedError(
            f"data set {dataset.name!r} has {what}: only ReLU networks that classify static "
            "samples can be converted"
        )
    return dataset


def _load(module: nn.Module, path: Path, network: str) -> None:
    """Put weights from a file into a module.

    Raises:
        InputError: they cannot be read, or are not this module's.
    """
    found = _tensors(path)
    missing, unexpected = (
        [*(module.state_dict().keys() - found.keys())],
        [*(found.keys() - module.state_dict().keys())],
    )
    if missing or unexpected:
        parts = (("lacks", missing), ("also has", unexpected))
        said = "; ".join(f"{how} {', '.join(sorted(names)[:4])}" for how, names in parts if names)
        raise InputError(f"{path}: not the weights of {network}: it {said}")
    try:
        module.load_state_dict(found)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: not the weights of {network}: {reason}") from None


def _tensors(path: Path) -> dict[str, Tensor]:
    """A ``state_dict`` from a file, in which no code can hide."""
    if path.suffix == ".safetensors":
        return read_tensors(path, "pt")[0]
    check_file(path)
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: not a readable file of weights: {reason}; save them by "
            "torch.save(module.state_dict(), FILE)"
        ) from None
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(
            f"{path}: does not hold tensors by name; save the weights by "
            "torch.save(module.state_dict(), FILE)"
        )
    return found
