"""The state of a run in one file, without pickle: tensors and a JSON header (safetensors).

One file and one rename make a checkpoint complete or absent. It is the run's only truth: metrics
and ``best.safetensors`` can be rewritten from it, whenever a run was killed while writing them.
Another run's ``best.safetensors`` may be what a run starts with, for fine-tuning.

Both files hold the SHA-256 of all else that they hold, and the state that of the recipe which led
to it, so that no training goes on with another network than the one that was saved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from neurodeploy.artifacts.folders import digest_of_recipe
from neurodeploy.artifacts.names import BEST, COMPLETE, LAST, RECIPE
from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.quantization.aware import without_grids
from neurodeploy.support.files import check_room, write_whole
from neurodeploy.support.reading import json_value
from neurodeploy.support.schema import build
from neurodeploy.support.tensors import read_tensors
from neurodeploy.training.metrics import EpochMetrics, PartialEpoch

FORMAT = 3
"""Version of both files' layout."""

WITHOUT_HASH = 2
"""Version of files that nothing guards."""

HASH = "sha256"
"""In a file's metadata."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything needed to go on after a batch or an epoch.

    There is no random state in it: each batch seeds its generators from the recipe's seed and its
    own number. There is no schedule either: the learning rate is a function of the epoch.

    Attributes:
        model: parameters and buffers now.
        best: those kept of the best epoch, their average where the recipe asks for it; the same
            object as ``model`` where it is no other, and empty while there is no best epoch.
        optimizer: what ``Updater.state`` gives, for example ``0.exp_avg``.
        history: metrics of the epochs done.
        best_epoch: counted from 1; 0 while there is none.
        partial: what was done of the epoch after these.
        initial_loss: of the first iteration; 0 while there is none.
    """

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    history: tuple[EpochMetrics, ...]
    best_epoch: int
    partial: PartialEpoch = field(default_factory=PartialEpoch)
    initial_loss: float = 0.0

    @property
    def best_is_now(self) -> bool:
        """Whether the epoch just done is the best one."""
        return self.best_epoch == len(self.history) and self.partial.batches == 0


@dataclass(frozen=True)
class _Header:
    """What a checkpoint says beside its tensors; older ones know neither first loss nor recipe."""

    history: tuple[EpochMetrics, ...]
    best_epoch: int
    partial: PartialEpoch
    initial_loss: float = 0.0
    recipe: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.best_epoch <= len(self.history):
            raise ValueError(f"the best of {len(self.history)} epochs is {self.best_epoch}")
        if self.partial.batches < 0:
            raise ValueError(f"{self.partial.batches} batches are done of the next epoch")


def copy_weights(model: SpikingNetwork) -> dict[str, Tensor]:
    """Parameters and buffers, copied to the CPU so that further training leaves them alone."""
    return {name: copied(value) for name, value in model.state_dict().items()}


def copied(value: Tensor) -> Tensor:
    """A copy on the CPU, in the layout that files have."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def check_room_for(
    run: Path, model: SpikingNetwork, optimizer: str, averaged: bool = False
) -> None:
    """Refuse a run whose checkpoints could not be written.

    Args:
        optimizer: as the recipe names it.
        averaged: whether an average of the weights is kept.

    Raises:
        InputError: there is no room for them.
    """
    weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    # With the best weights; Adam keeps two moments, momentum one.
    last = weights * (2 + averaged + (2 if optimizer == "adam" else 1))
    # The old ones stand beside the new ones until these are whole; the network is written as NIR.
    check_room(run / LAST, last, 2 * last + 3 * weights)


def save_state(run: Path, state: TrainingState) -> None:
    """Write ``last.safetensors``: from here on, a resumed run starts with this state."""
    parts = {"model": state.model, "optimizer": state.optimizer}
    if state.best is not state.model:
        # Else they are not stored twice.
        parts["best"] = state.best
    tensors = {
        f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()
    }
    header = {
        "history": [asdict(metrics) for metrics in state.history],
        "best_epoch": state.best_epoch,
        "partial": asdict(state.partial),
        "initial_loss": state.initial_loss,
        "recipe": digest_of_recipe(run),
    }
    _write(run / LAST, tensors, header)


def save_best(run: Path, state: TrainingState) -> None:
    """Write the weights of the best epoch as ``best.safetensors``, names as in the model."""
    header = asdict(state.history[state.best_epoch - 1])
    _write(run / BEST, state.best, header)


def load_state(run: Path) -> TrainingState | None:
    """Read ``last.safetensors``; None when nothing was saved yet.

    Raises:
        InputError: the file is damaged or of another format, or the recipe is another one.
    """
    path = run / LAST
    if not path.exists():
        return None
    try:
        metadata, tensors = _read(path)
        if metadata.get("format") not in (str(WITHOUT_HASH), str(FORMAT)):
            raise ValueError(f"format {metadata.get('format')!r}, this version reads {FORMAT}")
        header = build(_Header, json_value(metadata.get("state", ""), "state"), "state")
    except (InputError, ValueError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: not a readable checkpoint: {reason}") from None
    if header.recipe is not None and header.recipe != digest_of_recipe(run):
        raise InputError(
            f"{run / RECIPE}: not the recipe that {LAST} was trained by; put that back, or start a "
            "new run with this one"
        )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[name] = value
    state = TrainingState(
        *(parts["model"], parts["optimizer"], parts["best"]),
        *(header.history, header.best_epoch, header.partial, header.initial_loss),
    )
    same = state.best_is_now and not state.best
    return replace(state, best=state.model) if same else state


def _write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a safetensors file whole; its metadata may only map strings to strings."""
    metadata = {"format": str(FORMAT), "state": json.dumps(header)}
    metadata[HASH] = _hash(metadata, tensors)
    write_whole(path, safetensors.torch.save(dict(tensors), metadata))


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file, which are as they were written.

    Raises:
        ValueError: they are not.
        InputError: the file cannot be read.
    """
    tensors, metadata = read_tensors(path, "pt")
    expected = metadata.get(HASH)
    if expected is None and metadata.get("format") != str(FORMAT):
        return metadata, tensors
    if expected != _hash(metadata, tensors):
        raise ValueError("changed since it was written (its hash differs)")
    return metadata, tensors


def _hash(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, of metadata but for this, and of tensors with their names and shapes."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        digest.update(json.dumps(value).encode("ascii"))

    add(sorted((key, value) for key, value in metadata.items() if key != HASH))
    for name, value in sorted(tensors.items()):
        add([name, str(value.dtype), list(value.shape)])
        digest.update(copied(value).reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def find_start(name: str, runs: Path) -> Path:
    """The run folder that ``start_from`` means: itself, or a recipe's newest complete run.

    Its best weights are named as well as itself.

    Raises:
        InputError: neither is there.
    """
    run = Path(name).parent if Path(name).name == BEST else Path(name)
    if (run / BEST).is_file():
        return run.absolute()
    found = sorted(
        (path.parent for path in runs.glob(f"*/{COMPLETE}") if _recipe_of(path.parent) == name),
        key=lambda run: (len(run.name), run.name),
    )
    if not found:
        raise InputError(
            Text(
                Setting("training.start_from", name),
                f": neither a run folder with {BEST} nor a recipe with a complete run in {runs}/",
            ),
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
        _, tensors = _read(path)
        model.load_state_dict(without_grids(tensors))
    except (InputError, ValueError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: not readable weights: {reason}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: weights of another network: {reason[:300]}") from None


def _recipe_of(run: Path) -> str:
    """The recipe that named a run folder ``runs/NAME-NNN``."""
    return run.name.rpartition("-")[0]
