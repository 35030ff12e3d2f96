"""A chip that can never hold a network is refused before training, and not proposed after it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from neurodeploy.errors import CheckFailedError
from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.mapping.constraints import CONSTRAINTS
from neurodeploy.recipe import (
    DataRecipe,
    EncoderRecipe,
    NeuronRecipe,
    QuantizeRecipe,
    Recipe,
    TrainingRecipe,
)
from neurodeploy.training import train
from neurodeploy.training.deployable import BY_WEIGHTS, obstacles
from support.command import run_cli, run_json
from support.wording import said_by


def made_for(target: str, bits: int = 4, **changes: Any) -> Recipe:
    reset: Reset = changes.pop("reset", "subtract")
    comparison: Comparison = changes.pop("comparison", ">=")
    recipe = Recipe(
        name="small",
        description="for tests",
        data=DataRecipe("digits"),
        neuron=NeuronRecipe(2.0, reset=reset, comparison=comparison),
        training=TrainingRecipe(3, 1, 256, 0.01, threads=1),
        network={"family": "mlp", "hidden": [16]},
        encoder=EncoderRecipe("rate"),
        quantize=QuantizeRecipe(bits, target, 1),
    )
    return replace(recipe, **changes)


def refusal(recipe: Recipe, folder: Path) -> str:
    with pytest.raises(CheckFailedError) as caught:
        train(recipe, folder / "run", progress=False)
    assert caught.value.exit_code == 1
    assert not (folder / "run").exists(), "nothing is left behind"
    return said_by("train", caught.value.text)


def test_every_rule_is_judged_before_training_or_known_to_hang_on_weights() -> None:
    assert {rule.__name__ for rule in CONSTRAINTS} >= BY_WEIGHTS


def test_soft_reset_on_loihi1_is_refused_as_an_export_would(tmp_path: Path) -> None:
    message = refusal(made_for("loihi1"), tmp_path)
    assert message.startswith("recipe small does not fit loihi1:\n")
    assert (
        "population 'lif1': reset by subtraction, loihi1 allows reset to zero only; train with "
        "--set neuron.reset=zero"
    ) in message
    assert "fires at v >= threshold, loihi1 allows v > threshold only" in message
    # The same of a network in floats, trained to its end.
    free = made_for("loihi1", bits=0)
    train(free, tmp_path / "free", progress=False)
    done = run_cli("export", "free", "--target", "loihi1", folder=tmp_path)
    assert done.exit_code == 1
    assert {*message.splitlines()[1:]} <= {*done.stderr.splitlines()}


def test_graded_input_on_loihi1_is_refused(tmp_path: Path) -> None:
    recipe = made_for("loihi1", reset="zero", comparison=">", encoder=EncoderRecipe("direct"))
    message = refusal(recipe, tmp_path)
    assert "graded spikes up to 16, loihi1 allows binary spikes only" in message
    assert "reset" not in message


def test_what_fits_is_trained(tmp_path: Path) -> None:
    recipe = made_for("loihi1", reset="zero", comparison=">")
    train(recipe, tmp_path / "run", progress=False)
    assert obstacles(tmp_path / "run", "loihi1") == ()


@pytest.mark.parametrize(("words", "fits"), [(64, True), (63, False)])
def test_synapses_that_no_core_holds_are_refused_at_the_bits_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: int, fits: bool
) -> None:
    """A hidden neuron reads 64 pixels: 64 rows of one word or more, whatever the weights."""
    from neurodeploy.target import load_target
    from neurodeploy.training import deployable

    chip = load_target("loihi2")
    assert chip.core.synapse_words is not None
    limit = replace(chip.core.synapse_words, value=words)
    small = replace(chip, core=replace(chip.core, synapse_words=limit))
    monkeypatch.setattr(deployable, "map_network", _mapping_on(small))
    recipe = made_for("loihi2", network={"family": "mlp", "hidden": [16]})
    if fits:
        train(recipe, tmp_path / "run", progress=False)
    else:
        message = refusal(recipe, tmp_path)
        assert re.search(r"population 'lif1': \d+ synapse words .*, loihi2 allows 63", message)


def _mapping_on(target: Any) -> Any:
    from neurodeploy.mapping import map_network

    return lambda network, _, **options: map_network(network, target, **options)


def test_random_weights_do_not_touch_those_that_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodeploy.training import run as runs

    recipe = made_for("loihi2")
    first = train(recipe, tmp_path / "a", progress=False)
    monkeypatch.setattr(runs, "check_deployable", lambda *given: None)
    second = train(recipe, tmp_path / "b", progress=False)
    assert first.test_accuracy == second.test_accuracy
    weights = [torch.as_tensor(_best(tmp_path / name)) for name in "ab"]
    assert torch.equal(*weights)


def _best(run: Path) -> torch.Tensor:
    from safetensors.torch import load_file

    found = load_file(run / "best.safetensors")
    return torch.cat([found[name].flatten().double() for name in sorted(found)])


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ((), "Next: neurodeploy export --target loihi2"),
        (("--set", "quantize.target=loihi1"), "It cannot be deployed on loihi1 as it is:"),
        (
            ("--set", "quantize.bits=4", "--set", "quantize.first_epoch=1", "--target", "loihi1"),
            "Next: neurodeploy export --target loihi1",
        ),
    ],
)
def test_the_next_step_is_one_that_can_be_taken(
    tmp_path: Path, changes: tuple[str, ...], hint: str
) -> None:
    recipe = "digits_mlp" if "--target" in changes else "digits_conv"
    short = ("--set", "training.epochs=1", *changes)
    said = run_cli("train", recipe, *short, folder=tmp_path).stdout
    assert hint in said
    assert ("Next:" in said) == hint.startswith("Next:")
    if not hint.startswith("Next:"):
        assert "train with --set neuron.reset=zero" in said
    found = run_json("train", recipe, *short, folder=tmp_path)
    assert found["target"] in hint
    assert bool(found["obstacles"]) != hint.startswith("Next:")
