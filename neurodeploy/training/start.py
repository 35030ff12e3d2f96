"""Weights to start with from another run, for fine-tuning."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch

from neurodeploy.artifacts.names import BEST, COMPLETE
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.quantization.aware import without_grids


def find_start(name: str, runs: Path) -> Path:
    """The run folder that ``start_from`` means: itself, or a recipe's newest complete run.

    Raises:
        InputError: neither is there.
    """
    if (Path(name) / BEST).is_file():
        return Path(name).absolute()
    found = sorted(
        (path.parent for path in runs.glob(f"*/{COMPLETE}") if _recipe_of(path.parent) == name),
        key=lambda run: (len(run.name), run.name),
    )
    if not found:
        raise InputError(
            f"[training] start_from = {name!r}: neither a run folder with {BEST} nor a recipe with "
            f"a complete run in {runs}/",
            fix=Text(
                "train that first, or name a run with ", Setting("training.start_from", "RUN")
            ),
        )
    return found[-1].absolute()


def load_start(model: SpikingNetwork, run: Path) -> None:
    """Put the best weights of ``run`` into ``model``.

    Raises:
        InputError: the file is damaged, or its network is another one.
    """
    path = run / BEST
    try:
        tensors = safetensors.torch.load_file(path)
        model.load_state_dict(without_grids(tensors))
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: not readable weights: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: weights of another network: {reason[:300]}") from None


def _recipe_of(run: Path) -> str:
    """The recipe that named a run folder ``runs/NAME-NNN``."""
    return run.name.rpartition("-")[0]
