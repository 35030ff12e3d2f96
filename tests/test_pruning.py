"""Weights that are taken out: which, when, and that they stay out up to the deployed integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError, InterruptionError, UnsupportedError
from neurodeploy.nn.families import build_network
from neurodeploy.nn.layers import WSConv2d
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe import NeuronRecipe, PruneRecipe, QuantizeRecipe, Recipe
from neurodeploy.sparsity import prune, zero_share
from neurodeploy.training import loop, train
from neurodeploy.training.run import resume_run
from neurodeploy.workflow.export import export
from support.small_runs import assert_same_run, make_recipe, metrics_of


def test_the_smallest_go_and_equal_ones_in_order() -> None:
    module: Any = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 5))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.1, -0.2, 0.3, -0.4, 0.5], [1, 1, 1, 1, 1]]))
        module[1].weight.copy_(torch.arange(10.0).view(5, 2) - 4.5)
    masks = prune(module, 0.6)
    # 6 of 10 each: the five of the first row and the first of the equal ones.
    assert module[0].weight.tolist() == [[0] * 5, [0, 1, 1, 1, 1]]
    assert module[1].weight.flatten().tolist() == [-4.5, -3.5, 0, 0, 0, 0, 0, 0, 3.5, 4.5]
    assert zero_share(module) == pytest.approx(0.6)
    bias = module[1].bias.detach().clone()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(module(torch.ones(1, 5)), torch.zeros(1, 5)).backward()
        masks.mask_gradients()
        assert not module[0].weight.grad[0].any()
        optimizer.step()
        masks.apply()
    assert zero_share(module) == pytest.approx(0.6)
    assert not torch.equal(module[1].bias, bias)


def test_one_ranking_over_the_network() -> None:
    module: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    with torch.no_grad():
        module[0].weight.fill_(0.1)
        module[1].weight.fill_(0.2)
        module[2].weight.fill_(0.3)
    prune(module, 0.5, over="network", spare=["2"])
    assert [int(torch.count_nonzero(layer.weight)) for layer in module] == [0, 16, 8]


def test_shares_follow_the_cubic_schedule() -> None:
    chosen = PruneRecipe(0.9, first_epoch=3, last_epoch=6)
    shares = [chosen.share_in(epoch, 10, False) for epoch in range(1, 11)]
    ramp = [0.9 * (1 - (1 - k / 4) ** 3) for k in (1, 2, 3, 4)]
    assert shares == pytest.approx([0, 0, *ramp, 0.9, 0.9, 0.9, 0.9])
    once = PruneRecipe(0.5, schedule="once", first_epoch=4)
    assert [once.share_in(epoch, 6, False) for epoch in range(1, 7)] == [0, 0, 0, 0.5, 0.5, 0.5]
    assert PruneRecipe(0.5).epochs_of(8, trained=False) == (3, 6)
    assert PruneRecipe(0.5).epochs_of(8, trained=True) == (1, 6)
    assert PruneRecipe(0.5).epochs_of(1, trained=False) == (1, 1)


def conv_network() -> SpikingNetwork:
    torch.manual_seed(0)
    options = {"family": "conv", "channels": [6, 8], "pool": [2, 1], "batch_norm": True}
    return build_network(options, (1, 8, 8), 10, NeuronRecipe(2.0))


def test_channels_go_with_all_that_they_feed() -> None:
    network = conv_network()
    layers: dict[str, Any] = dict(network.layers.items())
    with torch.no_grad():
        for name in ("bn1", "bn2"):
            layers[name].bias.normal_()
    prune(network, 0.5, by="channel")
    for norm, conv, reader in (("bn1", "conv1", "conv2"), ("bn2", "conv2", "fc")):
        gone = ~layers[conv].weight.flatten(1).any(1)
        assert gone.sum() == len(gone) // 2
        assert torch.equal(layers[norm].weight == 0, gone)
        assert torch.equal(layers[norm].bias == 0, gone)
        read = layers[reader].weight
        columns = (
            read.any(0).flatten(1).any(1) if reader == "conv2" else read.any(0).view(8, 16).any(1)
        )
        assert torch.equal(~columns, gone)
    # Rows that are left are those of the largest mean magnitude.
    before: Any = conv_network().layers["conv1"]
    sizes = before.weight.abs().flatten(1).mean(1)
    left = layers["conv1"].weight.flatten(1).any(1)
    assert sizes[left].min() > sizes[~left].max()
    # Silent channels are silent, whatever comes.
    network.eval()
    network.reset_state()
    seen: dict[str, torch.Tensor] = {}
    network.watch = lambda name, output: seen.update({name: output.detach()})
    network(10 * torch.rand(4, 1, 8, 8))
    assert not seen["lif1"][:, ~left].any()
    assert seen["lif1"].any()


def test_every_layer_keeps_a_channel() -> None:
    network = conv_network()
    first: Any = network.layers["conv1"]
    with torch.no_grad():
        first.weight.mul_(1e-3)
    prune(network, 0.6, by="channel", over="network")
    assert first.weight.flatten(1).any(1).sum() == 1


def test_recurrent_channels_lose_what_comes_in() -> None:
    """Neurons that get something from elsewhere may still spike, and go on being read."""
    torch.manual_seed(0)
    options = {"family": "mlp", "hidden": [6], "recurrent": True}
    network = build_network(options, (5,), 3, NeuronRecipe(2.0))
    prune(network, 0.5, by="channel")
    *_, last = network.layers.values()
    assert last.get_parameter("weight").all()


@pytest.mark.parametrize(
    ("module", "options", "error", "message"),
    [
        (nn.Linear(2, 2), {"share": 1.0}, InputError, "from 0 to below 1, found 1"),
        (nn.Linear(2, 2), {"by": "channel"}, UnsupportedError, "what reads what, which Linear"),
        (nn.Sequential(nn.Linear(2, 2)), {"spare": ["fc"]}, InputError, "no layer 'fc' to spare"),
        (nn.Sequential(nn.Linear(2, 2)), {"spare": ["0"]}, InputError, "no weights to take out"),
        (
            nn.Sequential(WSConv2d(1, 2, 3)),
            {},
            UnsupportedError,
            "layer 0 standardises its weights",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused(
    module: nn.Module, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prune(module, **{"share": 0.5, **options})


def pruned(**changes: Any) -> Recipe:
    prune_recipe = PruneRecipe(0.8, first_epoch=2, last_epoch=3)
    return make_recipe(prune=replace(prune_recipe, **changes))


def test_the_best_epoch_has_all_taken_out(tmp_path: Path) -> None:
    result = train(pruned(), tmp_path / "run", progress=False)
    rows = metrics_of(tmp_path / "run")
    shares = [row["zero_weights"] for row in rows]
    # floor(share n) of 64 x 24 and of 24 x 10 weights
    whole = (1228 + 192) / 1776
    half = (int(0.7 * 1536) + int(0.7 * 240)) / 1776
    assert shares == pytest.approx([0, half, whole, whole])
    assert result.best_epoch >= 3
    assert result.metrics is not None
    assert result.metrics.zero_weights == pytest.approx(whole)


@pytest.mark.parametrize("by", ["weight", "channel"])
def test_a_resumed_run_is_the_same(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = pruned(by=by, share=0.5)
    train(recipe, tmp_path / "whole", progress=False)
    real, batches = loop.train_epoch, 0

    def interrupted(job: Any, updater: Any, epoch: int, done: Any) -> Iterator[Any]:
        nonlocal batches
        for partial in real(job, updater, epoch, done):
            batches += 1
            yield partial
            if epoch == 3 and partial.batches == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train_epoch", interrupted)
    monkeypatch.setattr(loop.Recorder, "end_batch", lambda self, loss: True)
    with pytest.raises(InterruptionError):
        train(recipe, tmp_path / "cut", progress=False)
    monkeypatch.undo()
    resume_run(tmp_path / "cut", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("bits", [0, 4])
def test_zeros_are_zero_integers(bits: int, tmp_path: Path) -> None:
    """Rounded after training, and trained on the integers."""
    recipe = replace(pruned(), quantize=QuantizeRecipe(bits, first_epoch=2 if bits else 0))
    run = train(recipe, tmp_path / "run", progress=False).path
    graph = nd.import_nir(run / "network.nir")
    export(run / "network.nir", "loihi2", tmp_path / "deployed")
    network = nd.load(tmp_path / "deployed").network
    floats = {p.name: p.operator.weights for p in graph.projections}
    assert {*floats} == {p.name for p in network.projections}
    for projection in network.projections:
        zeros = floats[projection.name] == 0
        assert zeros.mean() >= 0.79, projection.name
        assert not projection.operator.weights[zeros].any()
        assert projection.operator.weights.any()


def test_a_recipe_that_cannot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="done in epoch 9, after the last of 4"):
        pruned(last_epoch=9)
    with pytest.raises(InputError, match=r"\[prune\]: no layer 'fc9' to spare"):
        train(pruned(spare=("fc9",)), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"share": 1.0}, "below 1"),
        ({"share": 0.5, "first_epoch": 3, "last_epoch": 2}, "comes after last_epoch = 2"),
        ({"share": 0.5, "schedule": "once", "last_epoch": 2}, "for a gradual schedule"),
        ({"share": 0.5, "first_epoch": -1}, "counted from 1"),
    )
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            PruneRecipe(**options)
