"""Networks of a user's own in recipes: built by a function, followed, trained and exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.nn.families import build_network
from neurodeploy.recipe import NeuronRecipe, load_recipe
from neurodeploy.training.run import resume_run, train

NETS = """
from torch import nn
from parts import hidden
import neurodeploy as nd


def build(sample_shape, classes, neuron, width=12):
    inputs = sample_shape[0] * sample_shape[1] * sample_shape[2]
    return nn.Sequential(
        nn.Flatten(), hidden(inputs, width), nn.Dropout(0.1), nd.nn.LIF.of(neuron),
        nn.Linear(width, classes),
    )


def two_outputs(sample_shape, classes, neuron):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))


def pooled(sample_shape, classes, neuron):
    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, classes))


def failing(sample_shape, classes, neuron):
    return nn.Linear(1, "many")


def nothing(sample_shape, classes, neuron):
    return 3


number = 3
"""
PARTS = "from torch import nn\n\n\ndef hidden(n, m):\n    return nn.Linear(n, m)\n"


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path


def build(family: str, **options: object) -> object:
    return build_network(
        {"family": family, **options}, (1, 8, 8), 10, NeuronRecipe(2.0), "recipe own: [network]"
    )


@pytest.mark.parametrize("family", ["nets.py:build", "nets:build"])
def test_a_function_in_a_file_or_a_package_builds_the_network(nets: Path, family: str) -> None:
    network = build(family, width=5)
    assert [*network.layers] == ["0", "1", "2", "3", "4"]  # type: ignore[attr-defined]
    assert network.layers["1"].out_features == 5  # type: ignore[attr-defined]
    assert network.layers["3"].tau == 2.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("nets.py:two_outputs", r"outputs of shape \(11,\).* 10 classes, so it must be \(10,\)"),
        ("nets.py:failing", r"fails: TypeError.*line"),
        ("nets.py:nothing", "returned a int; it must return a torch module"),
        ("nets.py:missing", "has no function 'missing'"),
        ("nets.py:number", "has no function 'number'"),
        ("absent.py:build", "names absent.py, which does not exist"),
        ("absent.package:build", "fails: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(nets: Path, family: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(family)


def test_a_layer_without_counterpart_is_refused_before_training(nets: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"nets\.py:pooled: .*uses MaxPool2d, which has no"):
        build("nets.py:pooled")


def test_options_that_a_function_does_not_take_are_refused(nets: Path) -> None:
    with pytest.raises(InputError, match=r"unexpected keyword argument 'depth'$"):
        build("nets.py:build", depth=3)


def test_a_recipe_trains_it_and_its_run_finds_it_again(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from another folder: the run remembers the file by its whole path."""
    from neurodeploy.training import loop

    (nets / "own.toml").write_text(
        'description = "own"\nnetwork = {family = "nets.py:build", width = 16}\n'
        '[data]\nname = "digits"\n[neuron]\ntau = 2.0\n'
        "[training]\nsteps = 3\nepochs = 2\nbatch_size = 128\nlearning_rate = 0.01\nthreads = 1\n"
    )
    recipe = load_recipe(nets / "own.toml")
    whole = train(recipe, nets / "whole", progress=False)
    original = loop.train_epoch

    def interrupted(*given: object, **named: object) -> object:
        if given[2] == 2:
            raise KeyboardInterrupt
        return original(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_epoch", interrupted)
    with pytest.raises(BaseException):  # noqa: B017
        train(recipe, nets / "cut", progress=False)
    monkeypatch.setattr(loop, "train_epoch", original)
    (nets / "elsewhere").mkdir()
    monkeypatch.chdir(nets / "elsewhere")
    (nets / "nets.py").write_text(NETS + "\n")
    with pytest.raises(InputError, match=r"nets\.py: changed since the run began"):
        resume_run(nets / "cut")
    (nets / "nets.py").write_text(NETS)
    again = resume_run(nets / "cut")
    assert again.test_accuracy == whole.test_accuracy
    assert (nets / "cut/network.nir").stat().st_size > 0
