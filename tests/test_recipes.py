"""The recipes that ship, and a whole way with a data set in a file: train, fine-tune, deploy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from neurodeploy.data import DATASETS, NEED_NO_FILE, Dataset, check_encoder
from neurodeploy.data.scan import scanned
from neurodeploy.errors import InputError
from neurodeploy.recipe import Recipe, builtin_recipes, load_recipe
from neurodeploy.training.assembly import load_data, network_of, rule_of
from neurodeploy.training.checkpoint import find_start
from support.command import run_cli, run_json

RECIPES = builtin_recipes()
NETWORKS = sorted({*RECIPES} - {"finetune"})
"""Recipes with a network of their own; that one's is whatever file it is given."""
SHAPES = {
    "cifar10": ((3, 32, 32), 10, 255),
    "cifar100": ((3, 32, 32), 100, 255),
    "dvs_cifar10": ((2, 48, 48), 10, 15),
    "dvs_gesture": ((2, 128, 128), 11, 15),
    "fsdd": ((64,), 10, 1),
    "image_folder": ((3, 224, 224), 1000, 255),
    "mackey_glass": ((24,), 1, 255),
    "nmnist": ((2, 34, 34), 10, 1),
    "npz": ((1, 28, 28), 10, 255),
    "shd": ((700,), 20, 1),
}
"""Shape at one step, classes and levels of each data set as the recipes ask for it."""

OVER_TIME = ("dvs_cifar10", "dvs_gesture", "fsdd", "nmnist", "shd")


def stand_in(recipe: Recipe) -> Dataset:
    """A data set of the right shape without its samples, or the one that needs no file."""
    if recipe.data.name in NEED_NO_FILE:
        return load_data(recipe)
    shape, classes, levels = SHAPES[recipe.data.name]
    side = recipe.data.side
    shape = (shape[0], side, side) if side else shape
    levels = recipe.data.levels or levels
    over_time = recipe.data.name in OVER_TIME
    steps = (recipe.training.steps,) if over_time else ()
    x = np.broadcast_to(np.zeros((), np.uint8), (classes, *steps, *shape))
    y = np.arange(classes)
    dataset = Dataset(recipe.data.name, levels, x, y, x, y, over_time)
    if recipe.data.name == "mackey_glass":
        dataset = replace(dataset, y_train=y[:, None], y_test=y[:, None], task="regression")
    return (
        scanned(dataset, recipe.data.source, recipe.training.steps) if recipe.data.scan else dataset
    )


def test_every_experiment_of_the_paper_is_there() -> None:
    depths = (34, 50, 101)
    assert set(RECIPES) >= {
        *("cifar10_resnet18", "cifar100_resnet18", "dvscifar10_vgg11"),
        *("dvsgesture_vgg11", "dvsgesture_vgg11_ws"),
        *(f"imagenet_nf_resnet{depth}_stage{stage}" for depth in depths for stage in (1, 2)),
        *("mnist_conv", "nmnist_conv", "pmnist_rows", "shd_mlp", "digits_conv"),
        *("shd_delays", "dvsgesture_conv", "dvscifar10_conv", "fsdd"),
    }


# Meng et al. 2023 and its official commands: T, batch, epochs, learning rate, weight decay, a.
PAPER = {
    "cifar10_resnet18": (6, 128, 200, 0.1, 5e-5, 0.05),
    "cifar100_resnet18": (6, 128, 200, 0.1, 5e-4, 0.05),
    "dvscifar10_vgg11": (10, 128, 300, 0.05, 5e-4, 0.05),
    "dvsgesture_vgg11": (20, 16, 300, 0.1, 5e-4, 0.05),
    "dvsgesture_vgg11_ws": (20, 16, 300, 0.1, 5e-4, 0.05),
    **{f"imagenet_nf_resnet{d}_stage1": (1, 256, 100, 0.1, 1e-5, 0) for d in (34, 50, 101)},
    **{f"imagenet_nf_resnet{d}_stage2": (6, 256, 30, 1e-3, 0, 0) for d in (34, 50, 101)},
}


@pytest.mark.parametrize("name", PAPER)
def test_hyper_parameters_are_the_papers(name: str) -> None:
    recipe = RECIPES[name]
    t = recipe.training
    found = (t.steps, t.batch_size, t.epochs, t.learning_rate, t.weight_decay, t.mse_weight)
    assert found == PAPER[name]
    assert (t.optimizer, t.momentum, t.warmup_epochs) == ("sgd", 0.9, 0)
    assert t.mse_target == ("one_hot" if name == "dvscifar10_vgg11" else "ones")
    neuron = recipe.neuron
    assert (neuron.tau, neuron.v_threshold, neuron.surrogate) == (1.1, 1.0, "triangle")
    assert (neuron.reset, neuron.comparison) == ("subtract", ">=")
    assert recipe.rule["name"] == "sltt"
    stage1 = name.replace("stage2", "stage1") if "stage2" in name else ""
    assert t.start_from == stage1


@pytest.mark.parametrize("name", NETWORKS)
def test_every_recipe_builds_its_network_and_rule(name: str) -> None:
    recipe = RECIPES[name]
    dataset = stand_in(recipe)
    assert recipe.data.name in DATASETS
    check_encoder(dataset, recipe.encoder.name)
    rule_of(recipe)
    with torch.device("meta"):
        # Sizes without values: NF-ResNet-101 has 45 million of them.
        model = network_of(recipe, dataset).eval()
        assert model(torch.zeros((2, *dataset.sample_shape))).shape == (2, dataset.classes)


def test_list_of_models_is_one_line_each(tmp_path: Path) -> None:
    listed = run_cli("models", folder=tmp_path).output.splitlines()
    assert [line.split()[0] for line in listed] == sorted(RECIPES)


# --- from a file to a deployment


SMALL = (
    *("--set", "training.epochs=1", "--set", "training.batch_size=32"),
    *("--set", "network.channels=[4, 4]", "--set", "training.steps=2"),
)


def write_images(path: Path, seed: int = 0) -> Path:
    """Bars in one of three places, 12 x 12 with noise."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 90), ("test", 24)):
        y = np.arange(count) % 3
        x = rng.integers(0, 60, (count, 12, 12))
        for image, label in zip(x, y, strict=True):
            image[4 * label : 4 * label + 3] += 180
        arrays |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y}
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small train faster on one thread, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images.npz, a run on it and its deployment."""
    folder = tmp_path_factory.mktemp("file")
    write_images(folder / "images.npz")
    run_json("train", "mnist_conv", "--data", "images.npz", *SMALL, folder=folder)
    run_json("export", "--target", "loihi2", folder=folder)
    return folder


def simulate(folder: Path, *options: str) -> dict[str, Any]:
    return run_json("simulate", "--engine", "reference", *options, folder=folder)


def test_a_run_on_a_file_is_simulated_on_its_test_part(deployed: Path) -> None:
    found = simulate(deployed)
    assert (found["samples"], found["origin"]) == (24, "npz test set")
    recipe = json.loads((deployed / "runs/mnist_conv-001/recipe.json").read_text())
    assert recipe["data"]["path"] == str(deployed / "images.npz")
    assert len(recipe["data"]["sha256"]) == 64
    named = simulate(deployed, "--data", "images.npz")
    for key in ("accuracy", "spikes_per_sample", "samples"):
        assert named[key] == found[key]


def test_a_file_that_moved_or_changed_can_be_named(deployed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(deployed, folder)
    expected = simulate(folder)["accuracy"]
    original = deployed / "images.npz"
    kept = original.read_bytes()
    try:
        original.unlink()
        refused = run_cli("simulate", "--engine", "reference", folder=folder)
        assert refused.exit_code == 2
        assert f"{original}: the file of data set 'npz' does not exist" in refused.output
        assert "--data FILE" in refused.output
        assert simulate(folder, "--data", "images.npz")["accuracy"] == expected
        write_images(original, seed=1)
        refused = run_cli("simulate", "--engine", "reference", folder=folder)
        assert refused.exit_code == 2
        assert "changed since it was used" in refused.output
        assert simulate(folder, "--data", str(original))["samples"] == 24
    finally:
        original.write_bytes(kept)


def test_data_options_that_cannot_be_used(deployed: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("train", "mnist_conv"), "data set 'npz' needs a file; name it with --data FILE"),
        (("train", "mnist_conv", "--data", "absent.npz"), "absent.npz: the file of data set"),
        (("train", "digits_conv", "--data", "images.npz"), "--set data.name=npz"),
        (("train", "mnist_conv", "--resume", "x", "--data", "y"), "give it alone"),
        (("train", "digits_conv", "--set", "encoder.name=events"), "are static"),
        (("train", "digits_conv", "--init", "nowhere"), "neither a run folder"),
        (("simulate", "--data", "."), "the file of data set 'npz' does not exist"),
    ):
        (deployed / "x").mkdir(exist_ok=True)
        refused = run_cli(*arguments, folder=deployed)
        assert refused.exit_code == 2, refused.output
        assert message in refused.output, refused.output
    assert not list(tmp_path.iterdir())


def test_resuming_refuses_other_data(deployed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(deployed / "runs/mnist_conv-001", folder)
    (folder / "run.json").unlink()
    images = shutil.copy(deployed / "images.npz", tmp_path / "images.npz")
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["data"]["path"] = str(images)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    write_images(Path(images), seed=1)
    refused = run_cli("train", "--resume", str(folder), folder=tmp_path)
    assert refused.exit_code == 2
    assert "changed since it was used" in refused.output
    shutil.copy(deployed / "images.npz", images)
    assert run_json("train", "--resume", str(folder), folder=tmp_path)["epochs"] == 1


def test_fine_tuning_starts_with_the_weights_of_another_run(deployed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(deployed, folder)
    tiny = ("--set", "training.learning_rate=1e-30", "--set", "training.steps=1")
    data = ("--data", "images.npz", *SMALL[:-2], *tiny)
    run = run_json("train", "mnist_conv", "--init", "mnist_conv", *data, folder=folder)["run"]
    began = safetensors.numpy.load_file(folder / "runs/mnist_conv-001/best.safetensors")
    ended = safetensors.numpy.load_file(folder / run / "best.safetensors")
    for name in ("layers.conv1.weight", "layers.fc.weight"):
        np.testing.assert_allclose(ended[name], began[name], rtol=0, atol=1e-12)
    recipe = json.loads((folder / run / "recipe.json").read_text())
    assert recipe["training"]["start_from"] == str(folder / "runs/mnist_conv-001")
    assert find_start("mnist_conv", folder / "runs") == folder / run, "the newest"
    wider = ("--set", "network.channels=[4, 5]")
    refused = run_cli("train", "mnist_conv", "--init", run, *data, *wider, folder=folder)
    assert refused.exit_code == 2
    assert "weights of another network" in refused.output


def test_augmentation_is_part_of_the_recipe_and_repeats(deployed: Path, tmp_path: Path) -> None:
    options = (*SMALL, "--set", "augmentation.crop_padding=1", "--set", "augmentation.cutout=3")
    data = ("--data", str(deployed / "images.npz"))
    rows = []
    for name, extra in (("a", ()), ("b", ()), ("plain", ("--set", "augmentation.cutout=0"))):
        run = tmp_path / name
        run_json("train", "mnist_conv", *data, *options, *extra, "--out", str(run), folder=tmp_path)
        rows.append(json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["train_loss"])
    assert rows[0] == rows[1] != rows[2]
    for text in ("cutout = -1", "cutout_fill = [256]", "rotate = 3"):
        path = tmp_path / "bad.toml"
        shipped = Path(__file__).resolve().parent.parent / "models" / "mnist_conv.toml"
        path.write_text(f"{shipped.read_text()}\n[augmentation]\n{text}\n")
        with pytest.raises(InputError, match="augmentation"):
            load_recipe(path)
