"""A file that training starts with, as the overrides of a recipe."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neurodeploy.data import DATASETS
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.stated import Stated
from neurodeploy.support.files import as_path

RECIPE = "finetune"
"""The built-in recipe for networks from elsewhere."""

SPIKES_TO_LABELS = ("training.mse_weight=1.0", 'training.mse_target="one_hot"')
"""The loss of outputs that are spikes: a softmax of zeros and ones is never sure."""


def is_network_file(init: Path | str | None) -> bool:
    """Whether training is to start with a network from a file and not with a run."""
    return init is not None and str(init).endswith((".nir", ".net"))


def network_overrides(file: Path | str, stated: Stated, *, own_recipe: bool) -> tuple[str, ...]:
    """The overrides of a recipe that let it train a file's network.

    Args:
        stated: what is said of the file.
        own_recipe: whether the recipe is the user's choice, so that it has steps, an encoder and
            data of its own; else they are the file's, as far as it carries a contract.

    Raises:
        InputError: the file cannot be read, or the number of steps of a sample is not stated.
    """
    options = asdict(stated)
    steps, encoder = options.pop("steps"), options.pop("encoder")
    path = as_path(file, "network_overrides")
    options = {"family": str(path.absolute()), **options}
    table = ", ".join(
        f"{name} = {_toml(value)}" for name, value in options.items() if value is not None
    )
    dataset = ""
    found = [f"network={{{table}}}"]
    if not own_recipe and path.suffix == ".nir":
        from neurodeploy.interchange.nir.importing import open_nir
        from neurodeploy.interchange.nir.network_in import output_spikes

        opened = open_nir(path)
        contract = opened.contract
        if output_spikes(opened.graph):
            found += SPIKES_TO_LABELS
        if contract is not None:
            steps = contract.steps if steps is None else steps
            encoder = encoder or contract.input_code.encoder
            dataset = contract.dataset
        elif steps is None:
            raise InputError(
                f"{file}: the number of steps of a sample is not stated",
                fix=Text("state ", Setting("steps", "N")),
            )
    if steps is not None:
        found.append(f"training.steps={steps}")
    if encoder is not None:
        found.append(f"encoder.name={json.dumps(encoder)}")
    if dataset in DATASETS:
        found.append(f"data.name={json.dumps(dataset)}")
    return tuple(found)


def _toml(value: Any) -> str:
    """One value, or a table of them by node, in a line."""
    if isinstance(value, dict):
        inner = (f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items())
        return f"{{{', '.join(inner)}}}"
    return json.dumps(value)


def data_overrides(data: str | None, *, own_recipe: bool) -> tuple[str, ...]:
    """The overrides that name a data set, or say where the recipe's lies.

    Args:
        data: the name of a built-in data set, or a file or folder.
        own_recipe: whether the recipe is the user's choice, so that it knows what data it wants;
            else a file is taken for an ``.npz``.
    """
    if data is None:
        return ()
    if data in DATASETS and not Path(data).exists():
        return (f"data.name={json.dumps(data)}",)
    place = f"data.path={json.dumps(str(Path(data).absolute()))}"
    return (place,) if own_recipe or not data.endswith(".npz") else ('data.name="npz"', place)
