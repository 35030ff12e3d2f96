"""Learning from random weights: one way, in the reference and in both forms of Lava."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.data import load_dataset
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource
from neurodeploy.onchip.event_reference import EventReference, is_narrow
from neurodeploy.onchip.learner import Changes, LearningOptions, Trajectory
from neurodeploy.onchip.plan import make_plan
from neurodeploy.onchip.reference import ReferenceLearner
from neurodeploy.target import load_target
from neurodeploy.workflow.learning.choices import halvings
from neurodeploy.workflow.learning.origin import ROOM, with_room
from support.command import run_cli, run_json
from support.learning_networks import float_chain, random_tags, small_chain, small_chunk
from support.quick import quick

RECIPE = """
description = "A few neurons on digits, which learn from nothing"
data = {name = "digits", validation = 0.1}
network = {family = "mlp", hidden = [24], gain = 1.5}
training = {steps = 3, epochs = 2, batch_size = 32, learning_rate = 1e-2}
[neuron]
tau = 2.0
v_threshold = 1.0
reset = "subtract"
comparison = ">="
surrogate = "triangle"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[Path]:
    """A file in a folder of its own."""
    file = tmp_path / "few.toml"
    file.write_text(RECIPE)
    yield file


def learn(recipe: Path, out: str, *options: str) -> dict[str, Any]:
    given = ("--task", "scratch", "--target", "loihi2", "--held-out", "60", "--out", out)
    return run_json("learn", str(recipe), *given, *options, folder=recipe.parent)


# --- the reference, event by event


@pytest.mark.parametrize(
    ("kind", "options", "chain_options"),
    [
        ("dense", LearningOptions(rate=2**-3), {"payload": 16}),
        ("dense", LearningOptions(rate=2**-9), {"bits": 4}),
        (
            "dense",
            LearningOptions(rate=2**-6, update="step", seed=5, halvings=(2, 7)),
            {"reset": "zero"},
        ),
        ("dense", LearningOptions(rate=2.0**4), {"comparison": ">"}),
        ("dense", LearningOptions(rate=2**-3, feedback="random"), {"payload": 16, "steps": 5}),
        (
            "dense",
            LearningOptions(rule="local", rate=2**-4, seed=2, halvings=(3,)),
            {"payload": 16},
        ),
        ("conv", LearningOptions(rate=2**-5), {"payload": 16}),
        ("conv", LearningOptions(rate=2**-4, update="step", halvings=(5,)), {"bits": 4}),
        ("conv", LearningOptions(rate=2.0**2, feedback="random", seed=3), {"reset": "zero"}),
        ("conv", LearningOptions(rule="local", rate=2**-5), {"payload": 255}),
    ],
)
def test_event_by_event_is_the_same_reference(
    kind: str, options: LearningOptions, chain_options: dict[str, Any]
) -> None:
    network = small_chain(kind, **chain_options)
    plan, chunk = make_plan(network, options, random_tags(network)), small_chunk(network, 14)
    assert is_narrow(plan)
    whole, events = ReferenceLearner(plan), EventReference(plan)
    wanted, found = whole.learn(chunk), events.learn(chunk)
    assert found.differences(wanted) == 0 == wanted.differences(found)
    assert np.array_equal(found.scores, wanted.scores)
    assert events.counts.layers == whole.counts.layers and events.overflow == whole.overflow
    assert all(counts.updates > 0 for counts in events.counts.layers.values())
    again = events.learn(chunk), whole.learn(chunk)
    assert again[0].differences(again[1]) == 0
    for ours, theirs in zip(events.learned().projections, whole.learned().projections, strict=True):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)


def test_differences_are_counted_in_every_update_that_has_them() -> None:
    first, last = np.array([5, 6, 7], np.int32), np.array([5, 9, 8], np.int32)
    ends, numbers = np.array([[1], [1], [3]]), np.array([1, 2, 1], np.int32)

    def trajectory(**changed: Any) -> Trajectory:
        table: dict[str, Any] = {
            **{"first": first, "last": last, "ends": ends, "numbers": numbers},
            "values": np.array([4, 8, 9], np.int32),
        }
        return Trajectory({"w": Changes(**{**table, **changed})}, np.zeros((3, 1)))

    same = trajectory()
    assert same.states["w"].tolist() == [[[5, 4, 7]], [[5, 4, 7]], [[5, 9, 8]]]
    assert same.updates == 1 and same.last["w"].tolist() == [5, 9, 8]
    assert same.differences(trajectory()) == 0
    assert same.differences(trajectory(values=np.array([3, 8, 9], np.int32))) == 2
    assert same.differences(trajectory(last=np.array([5, 9, 7], np.int32))) == 1
    assert same.differences(trajectory(first=np.array([0, 6, 7], np.int32))) == 2
    written_out = Trajectory({"w": same.states["w"]}, same.scores)
    assert written_out.differences(same) == 0 == same.differences(written_out)


# --- what it begins with


@pytest.mark.parametrize("bits", [8, 4])
def test_random_weights_have_room_and_tags_the_rest(bits: int) -> None:
    from neurodeploy.onchip.real import remainders

    floats = float_chain("dense", payload=16)
    network = with_room(floats, load_target("loihi2"), bits)
    tags = remainders(network, floats)
    for before, after in zip(floats.projections, network.projections, strict=True):
        form, weights = after.weight_format, after.operator.weights
        assert form.bits == bits and (weights % form.step == 0).all()
        assert np.abs(weights).max() <= -form.minimum / ROOM + form.step
        scale = network.population(after.target).scale / 2.0**after.exponent / after.payload
        exact = before.operator.weights * scale
        held = weights + tags[after.name].reshape(weights.shape) * form.step / 256
        assert np.abs(held - exact).max() <= form.step / 256 * 1.01


def test_the_middle_of_images_in_an_npz_is_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 9, 8), np.uint8)
    file, labels = tmp_path / "images.npz", np.arange(12) % 3
    np.savez(file, x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    found = load_dataset("npz", DataSource(str(file), side=4), levels=255)
    assert np.array_equal(found.x_train[:], images[:, None, 2:6, 2:6]) and found.source.side == 4
    with pytest.raises(InputError, match="middle of 9 x 9 pixels is taken of images that are at"):
        load_dataset("npz", DataSource(str(file), side=9), levels=255)


# --- the command


@pytest.mark.lava
@pytest.mark.parametrize("engine", quick(["lava", "lava-fused"], "lava-fused"))
def test_all_engines_learn_the_same_from_nothing(recipe: Path, engine: str) -> None:
    options = ("--samples", "40", "--update", "sample", "--seed", "3")
    engines = ("reference", engine)
    found = {engine: learn(recipe, engine, *options, "--engine", engine) for engine in engines}
    assert [f["mismatches"] for f in found.values()] == [None, 0]
    assert {f["updates"] for f in found.values()} == {40}
    networks = [read_deployment(recipe.parent / engine).network for engine in engines]
    for ours, theirs in zip(networks[1].projections, networks[0].projections, strict=True):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)
    figures = [{k: f[k] for k in ("layers", "halvings", "rate", "cost")} for f in found.values()]
    assert figures[0] == figures[1]
    assert figures[0]["halvings"] == [20, 30, 36]


def test_a_deployment_comes_of_it_like_any_other(recipe: Path) -> None:
    found = learn(recipe, "out", "--engine", "reference", "--set", "training.epochs=1")
    assert found["samples"] == 1437 - 287 and found["task"] == "scratch"
    assert found["accuracy_before"] < 0.4 and found["accuracy_after"] > 0.8
    assert found["accuracy_ceiling"] is None and found["source"] == str(recipe)
    again = run_json("simulate", "out", "--engine", "reference", folder=recipe.parent)
    assert again["accuracy"] > 0.8
    on = ("--task", "drift", "--samples", "20", "--engine", "reference", "--no-ceiling")
    further = run_json("learn", "out", *on, "--out", "further", folder=recipe.parent)
    assert further["samples"] == 20 and "halvings" in further
    report = (recipe.parent / "out" / "report.html").read_text()
    assert "What was learnt after deployment" in report and "from random weights" in report


TARGET = ("--target", "loihi2")
NINE = ",".join(f"0.{n}" for n in range(1, 10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("few.toml", "old", "--task", "scratch"), "one network, found few.toml and old"),
        (("--task", "scratch"), "starts from a recipe; name one, for example mnist_400_400"),
        (("few.toml", "--task", "scratch"), "a network for a chip; name it with --target"),
        (("mnist_400_400", "--task", "scratch", *TARGET), "needs a file; name it with --data FILE"),
        (("nothing", "--task", "scratch", *TARGET), "recipe 'nothing' is not built in"),
        (
            ("few.toml", "--task", "scratch", *TARGET, "--set", "network.batch_norm=true"),
            "use --set network.batch_norm=false",
        ),
        (("few.toml", "--task", "scratch", *TARGET, "--halve", "0.5,0.4"), "--halve 0.5,0.4: exp"),
        (
            ("few.toml", "--task", "scratch", *TARGET, "--halve", "half"),
            "--halve half: expected sh",
        ),
        (
            ("few.toml", "--task", "scratch", *TARGET, "--weight-bits", "9"),
            "9 is not in the range 1<=x<=8",
        ),
        (("few.toml", "--task", "scratch", *TARGET, "--weight-bits", "1"), "no room to grow"),
        (
            ("few.toml", "--task", "scratch", *TARGET, "--rate", "2^-24", "--halve", NINE),
            "rate 2^-24 and is halved 9 times is out of range",
        ),
    ],
)
def test_what_cannot_begin_is_refused(
    recipe: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run_cli("learn", *arguments, "--engine", "reference", folder=recipe.parent)
    assert result.exit_code == 2, result.stdout
    assert message in result.stderr.replace("\n", " ")
    assert [entry.name for entry in recipe.parent.iterdir()] == ["few.toml"]


def test_a_deployment_is_no_recipe_and_has_its_own_chip(workspace: Path) -> None:
    old = "deployments/digits_conv-loihi2-001"
    for options, message in (
        (("--task", "scratch", *TARGET), "is a deployment, and task scratch starts from random"),
        (TARGET, "--target is for --task scratch"),
        (("--weight-bits", "4"), "--weight-bits is for --task scratch"),
    ):
        result = run_cli("learn", old, *options, "--engine", "reference", folder=workspace)
        assert result.exit_code == 2 and message in result.stderr.replace("\n", " ")


def test_a_rate_falls_at_shares_of_the_stream() -> None:
    network = small_chain("dense", steps=3)
    options = LearningOptions()
    assert halvings((0.5, 0.75), 100, network, options) == (50, 75)
    assert halvings((0.5,), 100, network, replace(options, update="step")) == (150,)
    assert halvings((), 100, network, options) == ()
    plan = make_plan(network, replace(options, halvings=(50, 75))).layers[0].synapses
    assert [plan.shift_at(n) - plan.rate_shift for n in (0, 49, 50, 74, 75, 10**9)] == [
        *(0, 0, 1, 1),
        *(2, 2),
    ]
    with pytest.raises(InputError, match="expected ascending shares"):
        halvings((0.5, 1.0), 100, network, options)
    with pytest.raises(InputError, match="a falling rate is for rules sltt and local"):
        halvings((0.5,), 100, network, replace(options, rule="delta"))
