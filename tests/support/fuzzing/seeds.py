"""Sound files of every kind, made by the product itself as far as it writes them."""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.data.recordings import CLASSES
from neurodeploy.interchange.netx.file import write_net
from neurodeploy.interchange.netx.network_out import to_layers
from neurodeploy.support.files import write_json
from support import net_networks, nir_fuzz
from support.command import run_cli
from support.own_data import frames, write_own, write_recipe
from support.shd_files import PARTS, write_shd

TARGET = Path(__file__).parents[3] / "targets" / "loihi2.toml"


def make_seeds(folder: Path) -> None:
    """Every seed below a folder: recipes, a run, deployments, networks and data sets."""
    folder.mkdir(parents=True)
    x, y = frames(24)
    x_test, y_test = frames(8, seed=1)
    write_own(folder / "own.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    write_recipe(folder)
    np.savez_compressed(folder / "x.npz", x=x_test, y=y_test)
    shutil.copy(TARGET, folder / "chip.toml")

    def command(*arguments: str) -> None:
        # Nobody is to be asked about the accuracy of a network of two epochs.
        with contextlib.redirect_stderr(io.StringIO()):
            found = run_cli(*arguments, folder=folder)
        assert found.exit_code == 0, found.output

    epochs = ("--set", "training.epochs=2")
    command("train", "own.toml", "--data", "own.npz", *epochs, "--out", "run")
    command("export", "run", "--target", "loihi2", "--out", "net")
    command("simulate", "net", "--engine", "reference")
    command("validate", "net", "--engines", "reference,float", "--samples", "2")
    learning = ("--engine", "reference", "--no-ceiling", "--samples", "4")
    command("learn", "net", *learning, "--out", "learned")
    for picture in (*folder.rglob("*.png"), *folder.rglob("*.html"), *folder.rglob("*.svg")):
        if "learned" not in picture.parts:
            picture.unlink()
    shutil.rmtree(folder / "run" / "tensorboard")
    _halt(folder / "run", folder / "halted")
    (folder / "tracked").mkdir()
    told = {"mlflow": {"run": "5b1e", "epochs": 2}, "wandb": {"run": "k3x9", "epochs": 1}}
    write_json(folder / "tracked" / "trackers.json", told)
    _networks(folder)
    _data(folder / "data")


def _halt(run: Path, to: Path) -> None:
    """A run as it was before its last files were written."""
    shutil.copytree(run, to)
    for name in ("run.json", "network.nir", "predictions.csv", "validation_predictions.csv"):
        (to / name).unlink()


def _networks(folder: Path) -> None:
    graphs = folder / "graphs"
    graphs.mkdir()
    nir_fuzz.write_seeds(graphs)
    layers = folder / "layers"
    layers.mkdir()
    for name in ("dense", "recurrent", "convolution", "graded input"):
        network = net_networks.random_net(0, *net_networks.CASES[name])
        path = layers / f"{name.replace(' ', '_')}.net"
        write_net(path, to_layers(network).layers, network.contract.steps)


# --- data sets in their official forms ---


def _data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    _cifar(folder, rng)
    _images(folder / "image_folder", rng)
    _nmnist(folder / "nmnist", rng)
    _shd(folder / "shd", rng)
    _gestures(folder, rng)
    _dvs_cifar(folder / "dvs_cifar10")


def _cifar(folder: Path, rng: np.random.Generator) -> None:
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    sets: list[tuple[str, list[str], bytes, int]] = [
        ("cifar10", names, b"labels", 1),
        ("cifar100", ["train", "test"], b"fine_labels", 2),
    ]
    for name, batches, key, label_bytes in sets:
        for kind in ("python", "binary"):
            (folder / f"{name}_{kind}").mkdir(parents=True)
        for batch in batches:
            labels = np.arange(2) % 2
            images = rng.integers(0, 256, (2, 3072)).astype(np.uint8)
            held: dict[bytes, Any] = {b"data": images, key: labels.tolist(), b"batch_label": b"a"}
            python = folder / f"{name}_python" / batch
            python.write_bytes(pickle.dumps(held, protocol=2))
            rows = [np.repeat(labels[:, None], label_bytes, 1).astype(np.uint8), images]
            np.concatenate(rows, 1).tofile(folder / f"{name}_binary" / f"{batch}.bin")


def _images(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            pixels = rng.integers(0, 256, (9, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / part / name / "a.png")


def _nmnist(folder: Path, rng: np.random.Generator) -> None:
    for part in ("Train", "Test"):
        for digit in (0, 1):
            (folder / part / str(digit)).mkdir(parents=True)
            rows = [
                bytes([*rng.integers(0, 34, 2).tolist()]) + (n % 2 << 23 | n * 9).to_bytes(3, "big")
                for n in range(30)
            ]
            (folder / part / str(digit) / "00001.bin").write_bytes(b"".join(rows))


def _shd(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    for name in PARTS:
        rows = [
            (np.sort(rng.random(12)).astype(np.float16), rng.integers(0, 700, 12)) for _ in range(2)
        ]
        write_shd(folder / name, rows, [0, 1])


def _gestures(folder: Path, rng: np.random.Generator) -> None:
    official, tonic = folder / "gesture", folder / "gesture_npy"
    official.mkdir()
    events = b"".join(
        struct.pack("<II", 3 << 17 | n << 2 | n % 2 << 1 | 1, 10 * n) for n in range(20)
    )
    head = struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 20, 20, 20)
    for part in ("train", "test"):
        content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + head + events
        (official / f"user01_{part}.aedat").write_bytes(content)
        table = "class,startTime_usec,endTime_usec\n1,50,99\n2,0,45\n"
        (official / f"user01_{part}_labels.csv").write_text(table)
        (official / f"trials_to_{part}.txt").write_text(f"user01_{part}.aedat\n")
        place = tonic / f"ibmGesture{part.capitalize()}" / "user01_led"
        place.mkdir(parents=True)
        for label in (0, 1):
            rows = np.column_stack([rng.integers(0, 2, (9, 3)), np.arange(9)])
            np.save(place / f"{label}.npy", rows.astype(float))


def _dvs_cifar(folder: Path) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            events = struct.pack(">IIII", 20 << 8 | number << 1, 10, 9 << 8, 900)
            path = folder / name / f"cifar10_{name}_{number}.aedat"
            path.write_bytes(b"#!AER-DAT2.0\r\n# a comment\r\n" + events)
