"""Networks from elsewhere in a recipe: ``[network] family = "theirs.nir"``.

The file is read as ``export`` reads it, with what the recipe states of it, and trained further as a
torch module. The run folder keeps a copy of it, which is what is read again.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.names import START
from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.interchange.nir.importing import import_nir, open_nir
from neurodeploy.ir.contract import Contract
from neurodeploy.ir.network import Network
from neurodeploy.ir.stated import StatedReading
from neurodeploy.nn.from_network import to_torch
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe import Recipe
from neurodeploy.support.files import sha256, write_whole
from neurodeploy.support.schema import build


@dataclass(frozen=True)
class NirOptions(StatedReading):
    """What ``[network]`` states of a ``.nir`` file, beside its path as the ``family``.

    Attributes:
        levels: largest integer of the input, that of the data set; 0 to leave it unsaid.
        sha256: of the file's content; whatever is there when empty.
    """

    levels: int = 0
    sha256: str = ""

    def stated(self, recipe: Recipe, levels: int, carried: bool) -> dict[str, Any]:
        """The same as ``import_nir`` takes it, with the recipe's steps and encoder.

        Args:
            levels: of the data set.
            carried: whether the file has a contract, which then says what the recipe does not.
        """
        said = asdict(self)
        del said["levels"], said["sha256"]
        if not carried:
            said |= {"steps": recipe.training.steps, "encoder": recipe.encoder.name}
            said["levels"] = levels
        return said


def is_file(recipe: Recipe) -> bool:
    """Whether the recipe's network comes from a file.

    Raises:
        InputError: of a kind that cannot be trained.
    """
    family = str(recipe.network["family"])
    if family.endswith(".net"):
        raise InputError(
            f"recipe {recipe.name}: [network] family {family!r}: a .net of lava-dl holds integers, "
            "which cannot be trained; give the .nir of the network in floats"
        )
    return family.endswith(".nir")


def located(recipe: Recipe) -> Recipe:
    """The recipe with the absolute path of its network's file and the hash of its content.

    Raises:
        InputError: there is no such file.
    """
    if not is_file(recipe) or recipe.network.get("sha256"):
        return recipe
    path = _place(recipe)
    if not path.is_file():
        raise InputError(f"recipe {recipe.name}: [network] family {str(path)!r}: no such file")
    network = {**recipe.network, "family": str(path), "sha256": sha256(path)}
    return replace(recipe, network=network)


def keep_copy(recipe: Recipe, run: Path) -> None:
    """Put the file of the recipe's network, if it has one, into a new run folder.

    Raises:
        InputError: it changed since it was read.
    """
    if is_file(recipe) and not (run / START).exists():
        write_whole(run / START, _found(recipe, None).read_bytes())


def imported_network(recipe: Recipe, dataset: Dataset, run: Path | None = None) -> SpikingNetwork:
    """The network of the recipe's file as a module for the samples of a data set.

    Args:
        run: the folder of a run of this recipe, which has a copy of the file; None for a new run.

    Raises:
        InputError: the file is not there, or its contract, outputs or samples are not those of the
            recipe and its data.
        UnsupportedError: the file does not say enough, or has what cannot be trained.
    """
    where = f"recipe {recipe.name}: [network]"
    table = {name: value for name, value in recipe.network.items() if name != "family"}
    options = build(NirOptions, table, where)
    path = _found(recipe, run)
    carried = open_nir(path).contract
    if options.levels not in (0, dataset.levels):
        raise InputError(
            f"{where} levels = {options.levels}, but values of data set {dataset.name!r} go to "
            f"{dataset.levels}"
        )
    stated = options.stated(recipe, dataset.levels, carried is not None)
    network = import_nir(path, **stated).network
    _check_contract(network.contract, recipe, str(recipe.network["family"]))
    shape = _sample_shape(network, dataset, str(recipe.network["family"]))
    return to_torch(network, sample_shape=shape, surrogate=recipe.neuron.surrogate)


def _place(recipe: Recipe) -> Path:
    return Path(str(recipe.network["family"])).absolute()


def _found(recipe: Recipe, run: Path | None) -> Path:
    """The copy in the run folder, else the file itself, with the content that was first read."""
    copy = None if run is None else run / START
    path = copy if copy is not None and copy.is_file() else _place(recipe)
    if not path.is_file():
        raise InputError(f"recipe {recipe.name}: [network] family {str(path)!r}: no such file")
    expected = str(recipe.network.get("sha256", ""))
    if expected and sha256(path) != expected:
        raise InputError(
            f"{path}: changed since it was first read (SHA-256 is not {expected[:12]}...); put the "
            "old file back, or start a new run with this one"
        )
    return path


def _check_contract(contract: Contract, recipe: Recipe, family: str) -> None:
    """Refuse steps or an input other than those that the file says.

    Raises:
        InputError: they are.
    """
    said = {"training.steps": contract.steps, "encoder.name": contract.input_code.encoder}
    asked = {"training.steps": recipe.training.steps, "encoder.name": recipe.encoder.name}
    for key, value in said.items():
        if value != asked[key]:
            raise InputError(
                f"{family} was made for {key} = {value}, as its contract says, but recipe "
                f"{recipe.name} asks for {asked[key]}; set {key}={value}"
            )


def _sample_shape(network: Network, dataset: Dataset, family: str) -> tuple[int, ...]:
    """Shape of the samples, which a network with one axis of inputs takes flattened.

    Raises:
        InputError: neither samples nor classes fit.
    """
    (source,) = network.inputs
    outputs = network.classes
    shape = tuple(dataset.sample_shape)
    flat = (math.prod(shape),)
    if source.shape not in (shape, flat) or outputs != dataset.classes:
        raise InputError(
            f"{family} takes samples of shape {source.shape} and has {outputs} outputs; data set "
            f"{dataset.name!r} has samples of shape {shape} in {dataset.classes} classes",
            fix=_outputs_without_samples(outputs, dataset.classes),
        )
    return shape


def _outputs_without_samples(outputs: int, classes: int) -> Text | None:
    """How to say that some outputs are for classes that the data set has no sample of."""
    if outputs <= classes:
        return None
    return Text("if the set lacks classes, say ", Setting("data.classes", str(outputs)))
