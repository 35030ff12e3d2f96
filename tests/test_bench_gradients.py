"""``bench gradients``: what it says of two gradients, and that looking changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.bench.gradients import (
    ALL,
    COMPARED,
    GradientRow,
    Watched,
    agreement,
    choose_recipe,
    compare,
    gradients,
    table,
)
from neurodeploy.bench.pictures import draw_gradients
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.families.conv import Conv
from neurodeploy.nn.families.dense import Mlp
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import Batch
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.sltt import SLTT
from support.command import run_cli, run_json

pytestmark = pytest.mark.pictures

LOSS = InstantaneousLoss(0.05)
SYNAPSES = ("conv1", "conv2", "fc")


def make_network(tau: float = 2.0) -> SpikingNetwork:
    torch.manual_seed(5)
    family = Conv((4, 6), batch_norm=True, pool=(1, 2))
    return family.build((1, 6, 6), 3, NeuronRecipe(tau)).double()


def make_batch(steps: int) -> Batch:
    generator = torch.Generator().manual_seed(6)
    images = torch.rand(8, 1, 6, 6, generator=generator).double()
    return Batch([images] * steps, steps, torch.randint(3, (8,), generator=generator))


def test_two_vectors_are_compared_by_angle_and_length() -> None:
    assert compare(torch.tensor([3.0, 3.0]), torch.tensor([2.0, 0.0])) == pytest.approx(
        (0.5**0.5, 3 / 2**0.5)
    )
    assert compare(torch.tensor([0.0, -5.0]), torch.tensor([0.0, 1.0])) == pytest.approx((-1, 5))
    assert compare(torch.zeros(2), torch.ones(2)) == (0.0, 0.0)


def test_at_one_step_every_rule_is_bptt() -> None:
    """SLTT and OTTT cut nothing then; a rate over time is the one step itself."""
    found = agreement(make_network(), make_batch(1), LOSS)
    assert {layer for _, layer in found} == {*SYNAPSES, ALL}
    assert {rule for rule, _ in found} == {"sltt", "ottt", "rate_m", "rate_s"}
    for values in found.values():
        assert values == pytest.approx((1.0, 1.0), abs=1e-12)


def test_over_several_steps_only_the_readout_of_sltt_is_exact() -> None:
    found = agreement(make_network(), make_batch(5), LOSS)
    assert found["sltt", "fc"] == pytest.approx((1.0, 1.0), abs=1e-12)
    # A loss of the mean output is not a mean of losses, but its gradient at the readout is close.
    assert 0.99 < found["rate_s", "fc"][0] < 1
    for key in (("sltt", "conv1"), ("sltt", "conv2"), ("ottt", "fc"), ("rate_m", "conv1")):
        assert 0.1 < found[key][0] < 1 - 1e-5, key


def test_agreement_is_that_of_the_rules_own_gradients() -> None:
    """Once more in numpy, on the network itself instead of a copy."""
    network, batch = make_network(), make_batch(4)
    found = agreement(network, batch, LOSS)
    taken = []
    for rule in (SLTT(), BPTT()):
        network.zero_grad()
        rule.train_batch(network, batch, LOSS, lambda: None, torch.Generator())
        layers = [network.get_parameter(f"layers.{name}.weight").grad for name in SYNAPSES]
        taken.append([np.asarray(grad).ravel() for grad in layers])
    pairs: dict[str, tuple[np.ndarray, np.ndarray]]
    pairs = dict(zip(SYNAPSES, zip(*taken, strict=True), strict=True))
    pairs[ALL] = (np.concatenate(taken[0]), np.concatenate(taken[1]))
    for layer, (mine, theirs) in pairs.items():
        lengths = np.linalg.norm(mine), np.linalg.norm(theirs)
        expected = mine @ theirs / np.prod(lengths), lengths[0] / lengths[1]
        assert found["sltt", layer] == pytest.approx(expected, rel=1e-10)


def test_a_silent_network_has_nothing_to_compare_but_its_readout() -> None:
    network = Mlp((4,)).build((3,), 2, NeuronRecipe(2.0))
    with torch.no_grad():
        network.get_parameter("layers.fc1.bias").fill_(-100)
    batch = Batch([torch.rand(5, 3)] * 2, 2, torch.zeros(5, dtype=torch.int64))
    assert gradients(network, BPTT(), batch, LOSS)["fc1"].norm() == 0
    assert agreement(network, batch, LOSS) == {}


def test_looking_at_gradients_changes_nothing_in_training() -> None:
    watched, plain = make_network(), make_network()
    rule = Watched(every=2)
    for network, chosen in ((watched, rule), (plain, SLTT())):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)

        def update(optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.step()
            optimizer.zero_grad()

        for _ in range(5):
            batch = make_batch(3)
            frames = iter(batch.frames)
            batch = batch._replace(frames=frames)
            chosen.train_batch(network, batch, LOSS, update, torch.Generator())
    for (name, found), expected in zip(
        watched.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name
    assert [found is not None for found in rule.found] == [True, False, True, False, True]
    first, second = rule.by_epoch(3).items()
    assert (first[0], len(first[1]["sltt", ALL])) == (1, 2)
    assert (second[0], len(second[1]["sltt", ALL])) == (2, 1)


def test_bench_gradients_prints_rows_and_draws_a_picture(tmp_path: Path) -> None:
    options = ["--recipe", "digits_conv", "--set", "network.channels=[4, 4]", "--T", "1,3"]
    options += ["--tau", "1.1", "--epochs", "2", "--every", "15", "--out", "picture.png"]
    printed = run_json("bench", "gradients", *options, folder=tmp_path)
    assert printed["picture"] == "picture.png"
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    rows = [GradientRow(**row) for row in printed["rows"]]
    assert len(rows) == 2 * 2 * 4 * 4  # T, epochs, rules, layers and all of them
    assert {(row.tau, row.T, row.epoch) for row in rows} == {
        (1.1, T, epoch) for T in (1, 3) for epoch in (1, 2)
    }
    for row in rows:
        if row.rule == "sltt" and (row.T == 1 or row.layer == "fc"):
            assert (row.cosine, row.norm_ratio) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert any(row.cosine < 0.9999 for row in rows if row.T == 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["picture.png"]


def test_the_table_holds_means_over_epochs() -> None:
    rows = [
        GradientRow(2.0, 4, epoch, "ottt", layer, cosine, 2 * cosine)
        for epoch, layer, cosine in ((1, "fc", 0.25), (1, ALL, 0.5), (2, "fc", 0.75), (2, ALL, 1))
    ]
    columns, line = table(rows).splitlines()
    assert columns.split() == ["tau", "T", "rule", "fc", "all", "norm"]
    assert line.split() == ["2", "4", "ottt", "0.500", "0.750", "1.500"]


def test_the_picture_takes_any_number_of_columns(tmp_path: Path) -> None:
    rows = [
        GradientRow(2.0, 4, 1, rule, layer, 0.5, 0.5) for rule in COMPARED for layer in ("fc", ALL)
    ]
    draw_gradients("one", rows, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5000


def test_the_default_network_is_deep_enough_to_see_layers_differ() -> None:
    default = choose_recipe(None, ["training.epochs=3"], None, 8)
    assert default.network["channels"] == [16, 32, 32, 32]
    assert default.training.epochs == 3
    assert choose_recipe("digits_conv", [], None, 8).network["channels"] == [16, 32]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tau 1", "tau is in steps and must be above 1"),
        ("--tau high", "'high': expected numbers"),
        ("--T 0", "steps must be at least 1"),
        ("--every 0", "'--every': 0 is not in the range 1<=x"),
        ("--epochs 0", "'--epochs': 0 is not in the range 1<=x"),
        ("--recipe digits_konv", "did you mean 'digits_conv'?"),
        ("--set network.family=recurrent --set network.hidden=[4]", "unknown key"),
    ],
)
def test_what_cannot_be_compared_is_refused(options: str, message: str, tmp_path: Path) -> None:
    result = run_cli("bench", "gradients", *options.split(), folder=tmp_path)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
