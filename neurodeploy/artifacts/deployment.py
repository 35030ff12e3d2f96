"""Deployments: what is on the chip, in files that say everything about it and where it came from.

    network.nir           the float network it came from, exactly the file that was exported; of
                          integers that learnt, these over their scales, where NIR can hold them;
                          not there for a network that came as integers, from a .net
    quantized.nir         the deployed integers as floats in NIR, where NIR can hold them
    integers.safetensors  weights, biases, thresholds and decays
    mapping.json          which neurons sit on which core, and what each core uses
    network.net           the integers for lava-dl, where its format can hold them,
    run_netx.py           and a script that runs them there
    learning.json,        what was learnt after an earlier deployment of the network, and
    tags.safetensors      what learning keeps below each weight
    manifest.json         structure, contract, target, versions, a hash of every file above, a
                          digest of what all of it does and a seal on the manifest itself

A deployment is written whole or not at all and none of these is changed afterwards; simulations put
their results beside them in ``results/``, and ``report.html`` tells of all that has been done.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.numpy import save

from neurodeploy.artifacts.integers import arrays_of, network_from, structure_of
from neurodeploy.artifacts.manifest import (
    DIGEST,
    HASHED,
    digest_in,
    has_digest,
    read_manifest,
    stamped,
)
from neurodeploy.artifacts.names import (
    DEPLOYMENT_FORMAT,
    INTEGERS,
    LEARNING,
    LEARNING_CURVE,
    MANIFEST,
    MAPPING,
    NET_FILE,
    NIR_FILE,
    REPORT,
    RESULTS,
)
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping.mapping import CoreMapping
from neurodeploy.recipe import Recipe
from neurodeploy.support.files import (
    as_path,
    folder_written_whole,
    sha256,
    write_json,
)
from neurodeploy.support.reading import read_json
from neurodeploy.support.schema import build
from neurodeploy.support.system import versions
from neurodeploy.support.tensors import read_arrays
from neurodeploy.target import Target


@dataclass(frozen=True)
class TrainingRecord:
    """A finished training run.

    Attributes:
        recipe: what was trained, and how.
        test_accuracy, validation_accuracy: of the best epoch, 0 to 1; None where values are
            predicted.
        best_epoch: counted from 1.
        epochs: how many were trained.
        seconds: that they took.
        history: the metrics of each epoch, as the run's log holds them.
        predictions: figures by class, or errors of values, of the ``validation`` and ``test``
            samples; empty in runs that did not keep them.
        warnings: what looked like a mistake in the data, or in what came of them.
    """

    recipe: Recipe
    test_accuracy: float | None
    validation_accuracy: float | None
    best_epoch: int
    epochs: int
    seconds: float
    history: tuple[dict[str, Any], ...] = ()
    predictions: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.history and not 1 <= self.best_epoch <= len(self.history):
            raise ValueError(f"the best of {len(self.history)} epochs is {self.best_epoch}")
        if self.test_accuracy is not None and self.validation_accuracy is not None:
            return
        for part in ("test", "validation"):
            figures = self.predictions.get(part)
            found = figures.get("smape") if isinstance(figures, dict) else None
            if not isinstance(found, int | float) or not 0 <= found <= 200:
                raise ValueError(f"{part} samples have no accuracy and no sMAPE from 0 to 200")

    @property
    def scores(self) -> dict[str, Any]:
        """Accuracies, or of values their errors, under the names that a run has for them."""
        found = {
            "test_accuracy": self.test_accuracy,
            "validation_accuracy": self.validation_accuracy,
        }
        if None not in found.values():
            return found
        parts = {part: self.predictions.get(part, {}) for part in ("test", "validation")}
        return found | {f"{part}_smape": figures.get("smape") for part, figures in parts.items()}

    @property
    def test_text(self) -> str:
        """What came of the test samples, for people to read."""
        if "test_smape" not in self.scores:
            return f"{self.test_accuracy:.2%}"
        return f"sMAPE {self.scores['test_smape']:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)


@dataclass(frozen=True)
class NetxRecord:
    """The part of a deployment that is for lava-dl.

    Attributes:
        file: name of the ``.net``, None when there is none.
        missing: why there is none, one reason each.
        settings: how the ``.net`` is run; its format does not say.
    """

    file: str | None = None
    missing: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Deployment:
    """A loaded deployment.

    Attributes:
        path: its directory.
        network: the deployed integers, with the contract that says how they are run.
        target: the chip they are for, as described at the time.
        mapping: which neurons are on which core.
        source: what was exported, a run or a file, for people to read.
        created: when, in ISO 8601.
        training: for a network that neurodeploy trained, else None.
        netx: its part for lava-dl, None if it was written without one.
        versions: of Python and the packages that wrote it, by name.
        files: name to SHA-256 of the content.
        digest: SHA-256 of everything that determines what it computes; equal exports have the same.
        guarded: whether the manifest holds that digest, so that a change would be noticed; not in
            deployments of older versions.
    """

    path: Path
    network: QuantizedNetwork
    target: Target
    mapping: CoreMapping
    source: str
    created: str
    training: TrainingRecord | None
    netx: NetxRecord | None
    versions: Mapping[str, str]
    files: Mapping[str, str]
    digest: str
    guarded: bool = True

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes it worth less than others."""
        if self.guarded:
            return ()
        return (
            f"{self.path / MANIFEST} has no digest, as in older versions: nothing shows whether it "
            "was changed; export it again",
        )

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Names of what lies in its folder and is no part of it."""
        known = {*self.files, MANIFEST, RESULTS, REPORT, LEARNING_CURVE}
        return tuple(sorted(entry.name for entry in self.path.iterdir() if entry.name not in known))

    def listed(self, name: str) -> Path | None:
        """A file of the deployment, None where it has none of that name, whatever lies there."""
        return self.path / name if name in self.files else None

    @property
    def learned(self) -> bool:
        """Whether its integers learnt, so that no floats were rounded to them."""
        return LEARNING in self.files

    @property
    def nir_file(self) -> Path:
        """The float network that was deployed.

        Raises:
            UnsupportedError: there is none; the network came as integers.
        """
        file = self.listed(NIR_FILE)
        if file is None:
            raise UnsupportedError(
                f"{self.path}: made from integers ({self.source}), so there is no "
                "network in floats to simulate; use an integer engine"
            )
        return file

    @property
    def net_file(self) -> Path:
        """The network as lava-dl reads it.

        Raises:
            UnsupportedError: its format could not hold the network; every reason is named.
        """
        file = self.listed(NET_FILE)
        if file is None:
            reasons = self.netx.missing if self.netx else ("it was exported without one",)
            raise UnsupportedError(
                f"{self.path}: has no {NET_FILE} for lava-dl:\n  " + "\n  ".join(reasons)
            )
        return file

    @property
    def results(self) -> Path:
        """Where simulations of this deployment put what they found."""
        return self.path / RESULTS


def write_deployment(
    path: Path,
    network: QuantizedNetwork,
    mapping: CoreMapping,
    nir_file: Path | None,
    target: Target,
    source: str,
    training: TrainingRecord | None = None,
    *,
    netx: NetxRecord | None = None,
    extra_files: Mapping[str, Callable[[Path], None]] = MappingProxyType({}),
) -> None:
    """Write a deployment directory, whole or not at all.

    Args:
        path: the new directory.
        mapping: of the network on ``target``.
        nir_file: the NIR the network was read from, copied; None for one that came as integers,
            whose NIR, if any, is in ``extra_files``.
        source: what the user exported, a run or a file, for people to read.
        training: of the run; None for a file from elsewhere.
        netx: what the manifest says about lava-dl.
        extra_files: by name, what writes a file to a path.

    Raises:
        InputError: ``path`` exists or cannot be written.
    """
    with folder_written_whole(path) as folder:
        if nir_file is not None:
            shutil.copyfile(nir_file, folder / NIR_FILE)
        (folder / INTEGERS).write_bytes(save(arrays_of(network)))
        write_json(folder / MAPPING, mapping.to_dict())
        for name, write in extra_files.items():
            write(folder / name)
        hashed = (*(HASHED if nir_file else HASHED[1:]), *extra_files)
        manifest = {
            "format": DEPLOYMENT_FORMAT,
            "kind": "deployment",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "source": source,
            "training": training and training.to_dict(),
            "origin": "nir" if NIR_FILE in hashed else "net",
            "target": asdict(target),
            "network": structure_of(network),
            "netx": netx.to_dict() if netx else {},
            "versions": versions(),
            "files": {name: sha256(folder / name) for name in hashed},
        }
        write_json(folder / MANIFEST, stamped(manifest))


def deployment_at(deployment: Deployment | Path | str, function: str) -> Deployment:
    """A deployment, or the one at a path.

    Args:
        function: that takes it, to be named.

    Raises:
        InputError: neither, or as ``read_deployment``.
    """
    if isinstance(deployment, Deployment):
        return deployment
    return read_deployment(as_path(deployment, function, "a deployment or its path"))


def read_deployment(path: Path | str) -> Deployment:
    """Read a deployment and check its manifest and every file against their hashes.

    Raises:
        InputError: not a deployment, a newer format, or the manifest or a file altered or missing.
    """
    path = as_path(path, "read_deployment")
    manifest = read_manifest(path)
    try:
        return _deployment(path, manifest)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: damaged deployment ({error!r}); export it again") from None


def _deployment(path: Path, manifest: dict[str, Any]) -> Deployment:
    """The files as the classes that they were written from."""
    where = str(path / MANIFEST)
    training, netx = manifest.get("training"), manifest.get("netx")
    deployment = Deployment(
        path=path,
        network=network_from(manifest["network"], read_arrays(path / INTEGERS), where),
        target=build(Target, manifest["target"], f"{where}: target"),
        mapping=CoreMapping.from_dict(read_json(path / MAPPING), str(path / MAPPING)),
        source=manifest["source"],
        created=manifest["created"],
        training=build(TrainingRecord, training, f"{where}: training") if training else None,
        netx=build(NetxRecord, netx, f"{where}: netx") if netx else None,
        versions=manifest["versions"],
        files=manifest["files"],
        digest=digest_in(manifest),
        guarded=has_digest(manifest),
    )
    if deployment.guarded and manifest[DIGEST] != deployment.digest:
        raise ValueError("its digest is that of another")
    return deployment


def float_network(deployment: Deployment) -> Network:
    """The network in floats that its integers are, under the contract of the deployment.

    The one that they were rounded from; of integers that learnt, these over their scales, whatever
    file lies beside them: the first versions left the network from before learning there.

    Raises:
        UnsupportedError: the deployment came as integers.
    """
    if deployment.learned:
        from neurodeploy.quantization.planned import real_network

        return real_network(deployment.network)
    from neurodeploy.interchange.nir.file import read_nir
    from neurodeploy.interchange.nir.network_in import stepped_as_written, to_network
    from neurodeploy.neurons.relay import RELAY

    graph, network = read_nir(deployment.nir_file), deployment.network
    contract = stepped_as_written(graph, network.contract, network.name)
    relayed = any(p.neuron is not None and p.neuron.kind == RELAY for p in network.populations)
    relays = deployment.target.relay_fan_in if relayed else None
    return to_network(graph, contract, network.name, relays=relays)
