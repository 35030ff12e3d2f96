"""Class weights: the loss that they mean, written twice, and what they do for a rare class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.errors import InputError
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.recipe import TrainingRecipe, load_recipe
from neurodeploy.training import train
from neurodeploy.training.assembly import class_weights
from support.small_runs import make_recipe


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("mse_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("target", ["ones", "one_hot"])
def test_a_weight_of_two_is_the_sample_twice(mse_weight: float, target: Any) -> None:
    outputs, labels = torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0, 2])
    weights = (1.0, 2.0, 3.0)
    plain = InstantaneousLoss(mse_weight, target)
    again = torch.repeat_interleave(torch.arange(7), torch.tensor(weights)[labels].long())
    expected = plain(outputs[again], labels[again]) * len(again) / 7
    weighted = replace(plain, class_weights=weights)
    torch.testing.assert_close(weighted(outputs, labels), expected)
    several = torch.stack([outputs, 2 * outputs, -outputs])
    each = sum(weighted(step, labels) for step in several)
    torch.testing.assert_close(weighted.over_steps(several, labels), torch.as_tensor(each))


def test_pieces_of_a_batch_add_up_whatever_classes_are_in_them() -> None:
    outputs, labels = torch.randn(8, 3, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 0, 1, 2, 2])
    loss = InstantaneousLoss(0.1, class_weights=(0.5, 4.0, 2.0))
    whole = loss(outputs, labels)
    pieces = [slice(0, 5), slice(5, 8)]
    parts = [replace(loss, factor=(p.stop - p.start) / 8)(outputs[p], labels[p]) for p in pieces]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    labels = np.repeat([0, 1, 3], [90, 9, 1])
    weights = class_weights("balanced", labels, 5)
    np.testing.assert_allclose(weights, [100 / 270, 100 / 27, 0, 100 / 3, 0])
    assert np.array(weights)[labels].mean() == pytest.approx(1)
    assert class_weights("", labels, 5) == ()
    assert class_weights((1.0, 2.0, 3.0, 4.0, 5.0), labels, 5) == (1.0, 2.0, 3.0, 4.0, 5.0)
    with pytest.raises(InputError, match="2 numbers for 5 classes"):
        class_weights((1.0, 2.0), labels, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ballanced", "is \"balanced\" or a list of one number per class, found 'ballanced'"),
        ("[1, 0, 2]", r"must be positive, found \[1.0, 0.0, 2.0\]; data.exclude"),
        ('["a"]', "expected float, found 'a'"),
    ],
)
def test_what_recipes_may_say(given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("digits_mlp", [f"training.class_weights={given}"])


def test_recipes_take_both_forms() -> None:
    def chosen(text: str) -> TrainingRecipe:
        return load_recipe("digits_mlp", [f"training.class_weights={text}"]).training

    assert chosen("balanced").class_weights == "balanced"
    assert chosen("[1, 2.5]").class_weights == (1.0, 2.5)


def test_balanced_weights_find_a_rare_class(tmp_path: Path) -> None:
    """Two overlapping clouds, 1,900 against 100: without weights the rare one is seldom said."""
    rng = np.random.default_rng(0)

    def cloud(common: int, rare: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat([0, 1], [common, rare])
        values = rng.normal(110 + 30 * labels[:, None], 45, (len(labels), 4))
        return np.clip(values, 0, 255).astype(np.uint8), labels

    (x_train, y_train), (x_test, y_test) = cloud(1900, 100), cloud(300, 300)
    path = tmp_path / "clouds.npz"
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    accuracy = {}
    for weights in ("", "balanced"):
        recipe = make_recipe(training={"class_weights": weights, "threads": 1})
        data = replace(recipe.data, name="npz", path=str(path))
        run = tmp_path / (weights or "plain")
        result = train(replace(recipe, data=data), run, progress=False)
        accuracy[weights] = result.test_accuracy
        saved = json.loads((run / "recipe.json").read_text())
        assert saved["training"]["class_weights"] == weights
    assert accuracy["balanced"] > accuracy[""] + 0.1
