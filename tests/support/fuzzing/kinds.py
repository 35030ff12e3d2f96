"""What is damaged, in which ways, and which calls then meet it.

Files that carry hashes are damaged twice over: most of the time they are sealed again behind the
damage, as by somebody who knows how, so that the hash is not all that is tried.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.artifacts.manifest import stamped
from neurodeploy.data import load_dataset
from neurodeploy.ir.contract import DataSource
from neurodeploy.recipe import load_recipe
from neurodeploy.support.seals import SEAL, sealed
from neurodeploy.training.trackers.tracking import Tracking
from support import net_fuzz, nir_fuzz
from support.fuzzing import arrays, damage
from support.fuzzing.attempts import Call
from support.fuzzing.damage import Damage

InPlace = Callable[[random.Random, Path], Any]
"""Damage to the file at a path."""


def on_bytes(change: Damage) -> InPlace:
    """Damage to a file's whole content."""

    def in_place(rng: random.Random, path: Path) -> None:
        path.write_bytes(change(rng, path.read_bytes()))

    in_place.__name__ = change.__name__
    return in_place


def _nir(rng: random.Random, path: Path) -> None:
    draws = np.random.default_rng(rng.randrange(2**32))
    nir_fuzz.MUTATIONS[rng.randrange(len(nir_fuzz.MUTATIONS))](draws, path)


def _net(rng: random.Random, path: Path) -> None:
    net_fuzz.mutate(path, path, rng)


BYTES = tuple(map(on_bytes, damage.BYTES))
JSON = (*[on_bytes(damage.json_values)] * 12, *BYTES)
TOML = (*[on_bytes(damage.toml_values)] * 12, *BYTES)
NPZ = (*[on_bytes(arrays.npz)] * 12, *BYTES)
NPY = (*[on_bytes(arrays.npy)] * 12, *BYTES)
TENSORS = (*[on_bytes(arrays.tensors)] * 12, *BYTES)
TABLE = (*[on_bytes(damage.lines)] * 12, *BYTES)
PICKLE = (*[on_bytes(arrays.pickles)] * 10, *[on_bytes(arrays.pickle_words)] * 4, *BYTES)
PICTURE = (*[on_bytes(arrays.pictures)] * 4, *[on_bytes(arrays.png_sizes)] * 4, *BYTES)
HDF5 = (*[_net] * 8, *BYTES)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        share: of all mutations, in parts.
        takes: seeds that the calls need, files or folders.
        files: pattern of those that are damaged.
        ways: of damaging one.
        calls: one of which is made.
        seal: given the folder and the damaged file, makes hashes true again.
    """

    share: int
    takes: tuple[str, ...]
    files: str
    ways: tuple[InPlace, ...]
    calls: tuple[Call, ...]
    seal: Callable[[Path, Path], None] | None = None


def command(line: str, fails: bool = False) -> Call:
    """A command, written as in a shell."""
    return Call(tuple(line.split()), fails=fails)


# --- calls ---

EPOCH = "--set training.epochs=1 --set training.steps=4 --set training.batch_size=8"
SIMULATE = command("simulate net --engine reference --data x.npz --samples 3")
VALIDATE = command("validate net --engines reference,float --data x.npz --samples 2")
INSPECT = command("inspect net")
LEARN = command("learn net --engine reference --no-ceiling --samples 3 --rule delta")
ACTIVITY = command("export run --target loihi2 --activity net --out made", fails=True)
TRAIN = command(f"train own.toml --data own.npz {EPOCH}", fails=True)
STATED = "--dt 1e-3 --reset zero --compare ge --integrator euler --steps 3 --encoder direct"


def _recipe() -> Call:
    return Call(("load_recipe",), lambda: load_recipe("own.toml"))


def _reads(name: str, **options: Any) -> Call:
    """The data set in ``data``, all of its samples."""

    def read() -> None:
        dataset = load_dataset(name, DataSource("data", **options), 2)
        for samples in (dataset.x_train, dataset.x_test):
            assert samples[:2].dtype == np.uint8
            assert len(samples[:]) == len(samples)

    return Call((f"load_dataset({name})",), read)


# --- hashes ---


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _as_sealed(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A JSON object changed and sealed; left alone where the damage went deeper."""
    with contextlib.suppress(Exception):
        path.write_text(json.dumps(sealed(change(json.loads(path.read_text())))))


def _seal_deployment(name: str) -> Callable[[Path, Path], None]:
    def seal(folder: Path, damaged: Path) -> None:
        place = folder / name

        def change(manifest: dict[str, Any]) -> dict[str, Any]:
            if damaged.name in manifest["files"]:
                manifest["files"][damaged.name] = _sha256(damaged)
            with contextlib.suppress(Exception):
                return stamped(manifest)
            return manifest

        _as_sealed(place / "manifest.json", change)

    return seal


def _seal_results(folder: Path, damaged: Path) -> None:
    for path in (folder / "net" / "results").glob("*/*.json"):

        def change(values: dict[str, Any], place: Path = path.parent) -> dict[str, Any]:
            if damaged.parent == place and damaged.name in values["files"]:
                values["files"][damaged.name] = _sha256(damaged)
            return values

        _as_sealed(path, change)


def _seal_run(folder: Path, damaged: Path) -> None:
    """As runs of older versions are, which nothing guards."""
    run = damaged.parent

    def change(values: dict[str, Any]) -> dict[str, Any]:
        for name in values.get("sha256", {}):
            values["sha256"][name] = _sha256(run / name)
        return values

    _as_sealed(run / "run.json", change)
    with contextlib.suppress(Exception):
        recipe = json.loads((run / "recipe.json").read_text())
        recipe.pop(SEAL, None)
        (run / "recipe.json").write_text(json.dumps(recipe))
    for name in ("last.safetensors", "best.safetensors"):
        with contextlib.suppress(Exception):
            (run / name).write_bytes(arrays.unguarded((run / name).read_bytes()))


# --- all of it ---

NET, RUN = ("net", "x.npz"), ("run", "own.toml", "own.npz")
RESUME = command("train --resume halted", fails=True)
FROM_RUN = (
    command("inspect run"),
    command("export run --target loihi2 --out made", fails=True),
    command(f"train own.toml --data own.npz --init run --out made {EPOCH}", fails=True),
)


def _data_set(name: str, folder: str, files: str, ways: tuple[InPlace, ...], **how: Any) -> Kind:
    return Kind(2, (f"data/{folder}",), f"data/{folder}/{files}", ways, (_reads(name, **how),))


KINDS: dict[str, Kind] = {
    "recipe": Kind(
        8,
        ("own.toml", "own.npz"),
        "own.toml",
        TOML,
        (_recipe(), _recipe(), TRAIN),
    ),
    "target": Kind(
        6,
        ("chip.toml", "graphs"),
        "chip.toml",
        TOML,
        (command(f"export graphs/seed0.nir --target chip.toml --out made {STATED}", True),),
    ),
    "nir": Kind(
        6,
        ("graphs",),
        "graphs/*.nir",
        (_nir,),
        (
            command("inspect {}"),
            command("inspect {}"),
            command(f"export {{}} --target loihi2 --out made {STATED}", True),
        ),
    ),
    "net": Kind(
        4,
        ("layers",),
        "layers/*.net",
        (_net,),
        (
            command("inspect {}"),
            command("inspect {}"),
            command(
                "export {} --target loihi2 --out made --steps 4 --encoder direct --levels 16", True
            ),
        ),
    ),
    "samples": Kind(4, NET, "x.npz", NPZ, (SIMULATE, SIMULATE, VALIDATE)),
    "npz": Kind(
        4,
        ("own.toml", "own.npz"),
        "own.npz",
        NPZ,
        (TRAIN, Call(("load_dataset(npz)",), lambda: _load_npz())),
    ),
    "manifest": Kind(
        8,
        (*NET, "run"),
        "net/manifest.json",
        JSON,
        (INSPECT, INSPECT, SIMULATE, VALIDATE, LEARN, ACTIVITY),
        _seal_deployment("net"),
    ),
    "mapping": Kind(
        3,
        NET,
        "net/mapping.json",
        JSON,
        (INSPECT, INSPECT, SIMULATE),
        _seal_deployment("net"),
    ),
    "integers": Kind(
        3,
        NET,
        "net/integers.safetensors",
        TENSORS,
        (INSPECT, SIMULATE, VALIDATE, LEARN),
        _seal_deployment("net"),
    ),
    "deployed nir": Kind(
        3,
        NET,
        "net/*.nir",
        (_nir,),
        (INSPECT, VALIDATE),
        _seal_deployment("net"),
    ),
    "learned": Kind(
        2,
        ("learned", "x.npz"),
        "learned/learning.json",
        JSON,
        (
            command("inspect learned"),
            command("simulate learned --engine reference --data x.npz --samples 2"),
        ),
        _seal_deployment("learned"),
    ),
    "tags": Kind(
        2,
        ("learned", "own.npz"),
        "learned/tags.safetensors",
        TENSORS,
        (command("learn learned --engine reference --no-ceiling --samples 2 --out made"),),
        _seal_deployment("learned"),
    ),
    "results": Kind(
        3,
        (*NET, "run"),
        "net/results/*/*.json",
        JSON,
        (ACTIVITY, SIMULATE),
        _seal_results,
    ),
    "activity": Kind(
        2,
        (*NET, "run"),
        "net/results/reference/activity.safetensors",
        TENSORS,
        (ACTIVITY,),
        _seal_results,
    ),
    "run": Kind(5, RUN, "run/run.json", JSON, FROM_RUN[:2], _seal_run),
    "metrics": Kind(3, RUN, "run/metrics.jsonl", JSON, FROM_RUN[:2], _seal_run),
    "weights": Kind(3, RUN, "run/best.safetensors", TENSORS, FROM_RUN[2:], _seal_run),
    "run recipe": Kind(3, ("halted",), "halted/recipe.json", JSON, (RESUME,), _seal_run),
    "state": Kind(4, ("halted",), "halted/last.safetensors", TENSORS, (RESUME,), _seal_run),
    "trackers": Kind(
        1,
        ("tracked",),
        "tracked/trackers.json",
        JSON,
        (Call(("Tracking.check",), lambda: Tracking().check((), Path("tracked"))),),
    ),
    "cifar10": _data_set("cifar10", "cifar10_python", "*", PICKLE),
    "cifar100": _data_set("cifar100", "cifar100_python", "*", PICKLE),
    "cifar10 binary": _data_set("cifar10", "cifar10_binary", "*", BYTES),
    "cifar100 binary": _data_set("cifar100", "cifar100_binary", "*", BYTES),
    "images": _data_set("image_folder", "image_folder", "*/*/*", PICTURE, side=8),
    "nmnist": _data_set("nmnist", "nmnist", "*/*/*.bin", BYTES),
    "shd": _data_set("shd", "shd", "*.h5", HDF5),
    "gesture": _data_set("dvs_gesture", "gesture", "*.aedat", BYTES, side=16),
    "gesture tables": _data_set("dvs_gesture", "gesture", "*.[ct][sx][vt]", TABLE, side=16),
    "gesture arrays": _data_set("dvs_gesture", "gesture_npy", "*/*/*.npy", NPY, side=16),
    "dvs_cifar10": _data_set("dvs_cifar10", "dvs_cifar10", "*/*.aedat", BYTES, side=16),
}


def _load_npz() -> None:
    load_dataset("npz", DataSource("own.npz"), 4, encoder="events")
