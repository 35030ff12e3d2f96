"""Samples that last different numbers of steps: each is learnt from, and judged by, its own alone.

What a rule makes of a batch is compared with what it makes of every sample by itself, cut at its
end, by the plain loss.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.data import load_dataset
from neurodeploy.ir.contract import DataSource, InputCode
from neurodeploy.nn.families import build_network
from neurodeploy.nn.loss import InstantaneousLoss, MeanOutputLoss, OwnStepsLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import BPTT, OTTT, SLTT, SLTTK, Batch, EProp, Rate, Rule
from neurodeploy.support.processes import Processes
from neurodeploy.training.evaluate import evaluate, evaluate_shared
from support.command import run_cli, run_json
from support.own_data import CLASSES, frames, write_own, write_recipe

STEPS, INPUTS, OUTPUTS = 7, 6, 3
LENGTHS, LABELS = torch.tensor([2, 7, 1, 5]), torch.tensor([0, 2, 1, 2])
LOSS = InstantaneousLoss(0.05)


def network() -> SpikingNetwork:
    """Biases make neurons fire in silence, so that steps after an end would show."""
    torch.manual_seed(2)
    neuron = NeuronRecipe(tau=3.0)
    model = build_network({"family": "mlp", "hidden": [8, 7]}, (INPUTS,), OUTPUTS, neuron).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(3.0) if name.endswith("weight") else parameter.fill_(0.3)
    return model


def shown() -> torch.Tensor:
    """Input (T, N, F) that is silent after each end."""
    x = np.random.default_rng(5).uniform(0, 1.2, (STEPS, len(LENGTHS), INPUTS))
    return torch.from_numpy(x * (np.arange(STEPS)[:, None, None] < LENGTHS.numpy()[:, None]))


def gradient(model: SpikingNetwork, rule: Rule, x: torch.Tensor, loss: Any, *labels: int) -> Any:
    model.zero_grad()
    batch = Batch(x, len(x), torch.tensor(labels))
    result = rule.train_batch(model, batch, loss, lambda: None, torch.Generator().manual_seed(0))
    return result, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    "rule",
    [
        BPTT(),
        SLTT(),
        SLTTK(K=STEPS),
        SLTTK(K=STEPS, scale="unbiased"),
        OTTT(),
        EProp(),
        Rate(),
        Rate("s"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("loss", [LOSS, InstantaneousLoss(0.2, "one_hot", (1.0, 0.5, 2.0), 0.5)])
def test_a_batch_is_the_mean_of_its_samples_alone(rule: Rule, loss: InstantaneousLoss) -> None:
    model, x = network(), shown()
    own = OwnStepsLoss(loss, LENGTHS, STEPS)
    _, found = gradient(model, rule, x, own, *LABELS.tolist())
    expected = [torch.zeros_like(g) for g in found]
    summed_loss, outputs = 0.0, []
    for n, (length, label) in enumerate(zip(LENGTHS.tolist(), LABELS.tolist(), strict=True)):
        each = SLTTK(K=length, scale=rule.scale) if isinstance(rule, SLTTK) else rule
        result, alone = gradient(model, each, x[:length, n : n + 1], loss, label)
        for total, part in zip(expected, alone, strict=True):
            total += part / len(LENGTHS)
        summed_loss += float(result.loss) / len(LENGTHS)
        outputs.append(result.outputs)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    assert float(own.seen) == pytest.approx(summed_loss, rel=1e-10)
    torch.testing.assert_close(own.outputs, torch.cat(outputs), rtol=1e-10, atol=1e-12)
    assert any(g.abs().max() > 1e-3 for g in expected)


def test_the_mean_over_all_draws_of_one_step() -> None:
    """SLTT-1, unbiased: over the T steps that can be drawn its gradients have SLTT's as mean."""
    model, x = network(), shown()
    found: dict[int, list[torch.Tensor]] = {}
    for seed in range(100):
        model.zero_grad()
        step = int(torch.randperm(STEPS, generator=torch.Generator().manual_seed(seed))[0])
        own = OwnStepsLoss(LOSS, LENGTHS, STEPS)
        SLTTK(K=1, scale="unbiased").train_batch(
            *(model, Batch(x, STEPS, LABELS), own, lambda: None),
            torch.Generator().manual_seed(seed),
        )
        found[step] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        # What is told is a mean over the own steps that were run, not T/T_n times as much.
        assert 0 < float(own.seen) < 10
    assert len(found) == STEPS
    own = OwnStepsLoss(LOSS, LENGTHS, STEPS)
    _, whole = gradient(model, SLTT(), x, own, *LABELS.tolist())
    for number, expected in enumerate(whole):
        mean = torch.stack([grads[number] for grads in found.values()]).mean(0)
        torch.testing.assert_close(mean, expected, rtol=1e-10, atol=1e-12)


def test_what_comes_after_the_ends_changes_nothing() -> None:
    model, x = network(), shown()
    noisy = x + torch.rand(x.shape, dtype=x.dtype) * (
        torch.arange(STEPS)[:, None, None] >= LENGTHS[:, None]
    )
    for rule in (BPTT(), SLTT(), OTTT()):
        both = [
            gradient(model, rule, given, OwnStepsLoss(LOSS, LENGTHS, STEPS), *LABELS.tolist())[1]
            for given in (x, noisy)
        ]
        for one, other in zip(*both, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("lengths", [LENGTHS, None], ids=["own ends", "all alike"])
@pytest.mark.parametrize("loss", [LOSS, InstantaneousLoss(0.2, "one_hot", (1.0, 0.5, 2.0), 0.5)])
def test_the_loss_of_the_mean_output(loss: InstantaneousLoss, lengths: Any) -> None:
    """Of BPTT, against the outputs of every sample alone, kept, averaged and then compared."""
    model, x = network(), shown()
    given = replace(loss, over="mean").of_batch(lengths, LABELS, STEPS)
    assert isinstance(given, MeanOutputLoss)
    ends = (torch.full_like(LENGTHS, STEPS) if lengths is None else lengths).tolist()
    model.zero_grad()
    expected, means = torch.zeros(()).double(), []
    for n, length in enumerate(ends):
        model.reset_state(cut=False)
        mean = torch.stack([model(x[t, n : n + 1]) for t in range(length)]).mean(0)
        means.append(mean.detach())
        expected = expected + loss(mean, LABELS[n : n + 1]) / len(ends)
    expected.backward()
    wanted = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for _ in range(2):  # the first step of another batch begins anew
        result, found = gradient(model, BPTT(), x, given, *LABELS.tolist())
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
        assert float(given.seen) == pytest.approx(float(expected.detach()), rel=1e-10)
        assert float(result.loss) == pytest.approx(float(expected.detach()), rel=1e-10)
        sums = torch.cat(means) * torch.tensor(ends)[:, None]
        torch.testing.assert_close(given.outputs, sums, rtol=1e-10, atol=1e-12)
    by_steps = replace(loss, over="steps").of_batch(LENGTHS, LABELS, STEPS)
    _, other = gradient(model, BPTT(), x, by_steps, *LABELS.tolist())
    assert max(float((a - b).abs().max()) for a, b in zip(other, wanted, strict=True)) > 1e-3


def test_mean_rates_have_no_other_loss_than_that_of_the_mean_output() -> None:
    model, x = network(), shown()
    both = [
        gradient(model, Rate(), x, kind(LOSS, LENGTHS, STEPS), *LABELS.tolist())[1]
        for kind in (OwnStepsLoss, MeanOutputLoss)
    ]
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["sltt", "sltt-k", "ottt", "eprop"])
def test_rules_that_need_a_loss_at_each_step_refuse_that_of_the_mean(
    name: str, tmp_path: Path
) -> None:
    found = run_cli(
        *("train", "digits_mlp", "--rule", name, "--set", "training.loss_over=mean"),
        folder=tmp_path,
    )
    assert found.exit_code == 2
    said = " ".join(found.output.split())
    assert f"rule {name} goes backward step by step" in said and "use bptt or rate" in said
    assert not (tmp_path / "runs").exists()


def test_evaluation_tells_the_loss_of_the_mean_output() -> None:
    model = network()
    x = (np.random.default_rng(4).random((20, STEPS, INPUTS)) < 0.5).astype(np.uint8)
    y, lengths = np.arange(20) % OUTPUTS, np.arange(20) % STEPS + 1
    of_mean, code = replace(LOSS, over="mean"), InputCode("events")
    for given in (lengths, None):
        whole = evaluate(model, x, y, code, STEPS, of_mean, lengths=given)
        by_steps = evaluate(model, x, y, code, STEPS, LOSS, lengths=given)
        assert whole.predicted.tolist() == by_steps.predicted.tolist()
        losses = []
        with torch.no_grad():
            for n, label in enumerate(y):
                last = STEPS if given is None else int(given[n])
                model.reset_state()
                frames = torch.from_numpy(x[n, :last]).double().unsqueeze(1)
                outputs = torch.stack([model(frame) for frame in frames])
                losses.append(float(LOSS(outputs.mean(0), torch.tensor([label]))))
        assert whole.loss == pytest.approx(np.mean(losses), rel=1e-9)
        assert whole.loss != pytest.approx(by_steps.loss, rel=1e-3)


def test_evaluation_reads_every_sample_at_its_own_end() -> None:
    model = network().float()
    with torch.no_grad():
        *_, weight, bias = model.parameters()
        bias.zero_()
        weight -= weight.mean(1, keepdim=True)  # no class has an advantage in itself
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, STEPS + 1, 40)
    x = (rng.random((40, STEPS, INPUTS)) < 0.5) & (
        np.arange(STEPS)[:, None] < lengths[:, None, None]
    )
    x, y = x.astype(np.uint8), rng.integers(0, OUTPUTS, 40)
    code = InputCode("events")
    found = evaluate(model, x, y, code, STEPS, LOSS, lengths=lengths)
    alone = [
        evaluate(model, x[n : n + 1, :last], y[n : n + 1], code, int(last), LOSS)
        for n, last in enumerate(lengths)
    ]
    assert found.predicted.tolist() == [int(each.predicted[0]) for each in alone]
    assert found.loss == pytest.approx(np.mean([each.loss for each in alone]), rel=1e-6)
    for name, rate in found.firing_rates.items():
        spikes = sum(each.firing_rates[name] * n for each, n in zip(alone, lengths, strict=True))
        assert rate == pytest.approx(spikes / lengths.sum(), rel=1e-6), name
    whole = evaluate(model, x, y, code, STEPS, LOSS)
    assert (whole.predicted != found.predicted).any()
    shared = evaluate_shared(model, x, y, code, STEPS, LOSS, Processes(), lengths)
    assert shared.predicted.tolist() == found.predicted.tolist()


def test_lengths_of_a_file_count_in_training(tmp_path: Path) -> None:
    """Steps after the ends hold what would mislead; a network trained on the ends is right."""
    steps, half = 8, 4
    arrays: dict[str, Any] = {}
    for part, count in (("train", 160), ("test", 80)):
        x, y = frames(count, steps, seed=count)
        wrong, _ = frames(count + 1, steps, seed=count + 1)
        x[:, half:] = wrong[1:, half:]
        arrays |= {f"x_{part}": x, f"y_{part}": y, f"lengths_{part}": np.full(count, half)}
        arrays[f"lengths_{part}"][::3] = half - 1
    data = write_own(tmp_path / "data.npz", **arrays)
    loaded = load_dataset("npz", DataSource(str(data)), steps, 1, encoder="events")
    assert loaded.lengths_train is not None and loaded.lengths_train.tolist()[:4] == [3, 4, 4, 3]
    recipe = write_recipe(tmp_path, "events", steps)
    found = run_json("train", str(recipe), "--data", str(data), folder=tmp_path)
    assert found["test_accuracy"] > 0.9
    assert CLASSES == 4
    # The same over several pieces of every batch.
    again = run_cli(
        *("train", str(recipe), "--data", str(data), "--set", "training.accumulate=2"),
        folder=tmp_path,
    )
    assert again.exit_code == 0
    # And by the loss of the mean output, whose pieces add up to the batch's.
    rows = []
    for extra in ((), ("training.accumulate=3",), ("training.precision=bf16",)):
        options = ["training.loss_over=mean", "training.epochs=2", "training.threads=1", *extra]
        words = [word for option in options for word in ("--set", option)]
        words += ["--rule", "bptt", "--data", str(data)]
        run = run_json("train", str(recipe), *words, folder=tmp_path)["run"]
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        rows.append(json.loads(lines[-1])["train_loss"])
    assert rows[0] == pytest.approx(rows[1], rel=1e-5)
    assert rows[0] == pytest.approx(rows[2], rel=0.1)
    assert replace(loaded, notes=()).lengths_test is not None
