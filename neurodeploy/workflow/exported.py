"""The NIR file that is exported: which one is meant, what it holds, what its deployment keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.artifacts.deployment import TrainingRecord
from neurodeploy.artifacts.folders import read_run
from neurodeploy.artifacts.names import NIR_FILE
from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.network import Network
from neurodeploy.ir.quantized import QuantizationPlan
from neurodeploy.ir.stated import Stated
from neurodeploy.support.files import sha256
from neurodeploy.support.partial import temporary_folder

if TYPE_CHECKING:
    from neurodeploy.interchange.nir.importing import Imported


def nir_file_of(source: Path) -> tuple[Path, str]:
    """The NIR file meant by a run directory or a file, and the name of its network.

    Raises:
        UnsupportedError: a run's file has another hash than the run remembers, or is not there.
    """
    if source.suffix == ".nir":
        return source, source.stem
    run = read_run(source)
    nir_file = source / NIR_FILE
    if not nir_file.is_file() or sha256(nir_file) != run.get("sha256", {}).get(NIR_FILE):
        raise UnsupportedError(
            f"{nir_file}: missing or changed since training; name the file itself to export it"
        )
    return nir_file, str(run.get("recipe", {}).get("name", source.name))


def read_network(nir_file: Path | str, stated: Stated) -> Network:
    """The discretised float network that a NIR file and what is stated describe."""
    return read_planned(nir_file, stated)[0]


def read_planned(nir_file: Path | str, stated: Stated) -> tuple[Network, QuantizationPlan | None]:
    """The network of a NIR file, and the integers that it was trained for, if any."""
    from neurodeploy.interchange.nir.importing import import_nir_stated

    imported = import_nir_stated(nir_file, stated)
    plan = QuantizationPlan.within(imported.graph.metadata, f"{nir_file} metadata")
    return imported.network, plan


def with_data(network: Network, training: TrainingRecord | None) -> Network:
    """The network with the place of its data, which a run remembers and its NIR file does not."""
    found = network.contract.source
    if training is None or Path(training.recipe.data.path).name != found.path:
        return network
    contract = replace(network.contract, source=replace(found, path=training.recipe.data.path))
    return replace(network, contract=contract)


@contextmanager
def self_contained(imported: Imported | None, file: Path) -> Iterator[Path | None]:
    """A NIR file that says all that was used, None for a network that did not come in NIR.

    It is the user's own file, or one with the repairs and the contract.
    """
    if imported is None:
        yield None
        return
    if imported.unchanged:
        yield file
        return
    from neurodeploy.interchange.nir.file import write_nir

    with temporary_folder() as folder:
        file = folder / NIR_FILE
        write_nir(file, imported.graph)
        yield file
