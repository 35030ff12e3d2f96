"""``bench train``: the yardstick is SLTT, and what is measured is what is said."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neurodeploy.bench.configuration import Configuration, network_shape
from neurodeploy.bench.iteration import BackwardClock, Iteration, balanced_draws, measure, steps_run
from neurodeploy.bench.process import median, run_alone
from neurodeploy.bench.train import TrainRow, alone, configurations, table
from neurodeploy.errors import InputError, SimulationError, UnsupportedError
from neurodeploy.nn.families import Family, SpikingNetwork
from neurodeploy.nn.families.conv import Conv
from neurodeploy.nn.families.dense import Mlp, Recurrent
from neurodeploy.nn.families.resnet import ResNet18
from neurodeploy.nn.families.vgg import Vgg11, Vgg11WS
from neurodeploy.nn.layers import GridLinear
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import Batch
from neurodeploy.rules.sltt import SLTT, SLTTK
from neurodeploy.training.batches import seed_piece
from neurodeploy.training.yardstick import PlainLIF, PlainNetwork, PlainSLTT
from support.command import run_cli, run_json
from support.rounding import (
    assert_equal_but_for_rounding,
    gradient_magnitudes,
    statistic_magnitudes,
)

LOSS = InstantaneousLoss(0.05)
NEURON = NeuronRecipe(tau=1.1)
SMALL = Configuration("sltt", "mlp-12-8-3", T=3, batch=4)
CONV = Conv((4, 6), (1, 2), batch_norm=True, pool=(2, 1))
FAMILIES: list[tuple[Family, tuple[int, ...], bool]] = [
    (Mlp((7,)), (6,), True),
    (Mlp((7, 5), batch_norm=True), (6,), False),
    (CONV, (1, 8, 8), False),
    (CONV, (1, 8, 8), True),
    (ResNet18(), (3, 8, 8), True),
    (Vgg11(), (2, 32, 32), False),
]
"""With the shape of a sample, and whether it is the same at every step."""


def make(family: Family, shape: tuple[int, ...]) -> SpikingNetwork:
    torch.manual_seed(3)
    return family.build(shape, 5, NEURON).double()


def frames_and_labels(shape: tuple[int, ...], steps: int = 3) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(4)
    frames = [2 * torch.rand(4, *shape, generator=generator).double() for _ in range(steps)]
    return frames, torch.randint(5, (4,), generator=generator)


def gradients(network: nn.Module) -> dict[str, Tensor]:
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad
    return found


def do_nothing() -> None:
    """An update that leaves the gradients to be looked at."""


@pytest.mark.parametrize(("family", "shape", "constant"), FAMILIES)
def test_the_yardstick_has_the_gradient_of_sltt(
    family: Family, shape: tuple[int, ...], constant: bool
) -> None:
    model = make(family, shape)
    plain = PlainNetwork(model)
    frames, labels = frames_and_labels(shape)
    if constant:
        frames = frames[:1] * 3
    batch = Batch(frames, 3, labels, constant)
    ours = SLTT().train_batch(model, batch, LOSS, do_nothing, torch.Generator())
    with gradient_magnitudes(plain) as magnitudes:
        theirs = PlainSLTT().train_batch(plain, batch, LOSS, do_nothing, torch.Generator())
    assert 0 < ours.loss.item() == pytest.approx(theirs.loss.item(), rel=1e-12)
    assert_equal_but_for_rounding(theirs.outputs, ours.outputs, ours.outputs, "outputs")
    expected = gradients(model)
    for name, found in gradients(plain).items():
        magnitude = magnitudes.get(name, expected[name])
        assert_equal_but_for_rounding(found, expected[name], magnitude, name)
    statistics = dict(model.named_buffers())
    terms = statistic_magnitudes(statistics)
    for (name, ours_kept), kept in zip(statistics.items(), plain.buffers(), strict=True):
        if kept.is_floating_point():
            assert_equal_but_for_rounding(kept, ours_kept, terms[name], name)
        else:
            assert torch.equal(kept, ours_kept), name


def test_the_yardstick_is_made_of_stock_modules_and_trains_a_copy() -> None:
    stock = {nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.Flatten, nn.Linear}
    for family, shape in ((ResNet18(), (3, 8, 8)), (Vgg11(), (2, 32, 32))):
        model = make(family, shape)
        plain = PlainNetwork(model)
        assert {type(layer) for layer in plain.layers.values()} <= {*stock, PlainLIF, GridLinear}
        for name, parameter in model.named_parameters():
            copied = plain.get_parameter(name)
            assert torch.equal(copied, parameter) and copied.data_ptr() != parameter.data_ptr()


def test_the_yardstick_refuses_what_it_is_not_written_for() -> None:
    with pytest.raises(UnsupportedError, match="recurrence"):
        PlainNetwork(Recurrent((3,)).build((4,), 2, NEURON))
    with pytest.raises(UnsupportedError, match="no plain form of layer 'conv1', a WSConv2d"):
        PlainNetwork(Vgg11WS().build((2, 8, 8), 2, NEURON))
    with pytest.raises(UnsupportedError, match="reset='zero'"):
        PlainNetwork(Mlp((3,)).build((4,), 2, replace(NEURON, reset="zero")))


@pytest.mark.parametrize(("K", "steps"), [(1, 6), (1, 32), (2, 5), (4, 4)])
def test_timed_draws_are_no_luckier_than_the_mean(K: int, steps: int) -> None:
    """The mean of the last of K drawn steps is K (T + 1) / (K + 1)."""
    recipe = replace(SMALL, method=f"sltt-{K}", T=steps).recipe
    made = list(itertools.islice(balanced_draws(recipe), 40))
    run = list(itertools.accumulate(draw.steps for draw in made))
    mean = K * (steps + 1) / (K + 1)
    assert all(abs(total - count * mean) <= 1 for count, total in enumerate(run, start=1))
    for draw in made:
        seeds = seed_piece(recipe.seed, draw.epoch, 0, 0, torch.device("cpu"))
        drawn = torch.randperm(steps, generator=seeds)[:K]
        assert draw.steps == drawn.max() + 1


def test_rules_that_run_all_steps_are_timed_with_any_draws() -> None:
    assert list(itertools.islice(balanced_draws(SMALL.recipe), 3)) == [(1, 3), (2, 3), (3, 3)]
    assert steps_run(SLTTK(1, early_exit=False), 5, torch.Generator()) == 5


class SlowBackward(torch.autograd.Function):
    """Sleeps in backward, inside of which it runs another backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        with torch.enable_grad():
            inner = torch.ones(1, requires_grad=True)
            torch.autograd.grad(inner.sum(), inner)
        time.sleep(0.05)
        return grad_outputs[0]


def test_the_backward_clock_times_backward_passes_only() -> None:
    x = torch.ones(1, requires_grad=True)
    with BackwardClock(torch.device("cpu")) as clock:
        time.sleep(0.1)
        for _ in range(2):
            SlowBackward.apply(x).sum().backward()
    SlowBackward.apply(x).sum().backward()
    assert clock.passes == 2
    assert x.grad is not None and x.grad.item() == 3
    started = time.perf_counter()
    with BackwardClock(torch.device("cpu")) as other:
        SlowBackward.apply(x).sum().backward()
        time.sleep(0.2)
    assert 0.05 <= other.seconds() < time.perf_counter() - started - 0.2
    assert clock.seconds() >= 0.1


MEMORY = """
import torch
from neurodeploy.bench.process import allocate_exactly
from neurodeploy.bench.iteration import Watermark
allocate_exactly()
torch.ones(1000) + 1
for _ in range(2):
    mark = Watermark(torch.device("cpu"), exact=True)
    for _ in range(3):
        kept = [torch.ones(1 << 18) for _ in range(32)]
        del kept
    print(mark.above_mb())
"""


def test_peak_memory_is_that_of_the_tensors_alive() -> None:
    """32 MiB live at a time; what was freed before counts neither then nor afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=120
    )
    assert [float(line) for line in done.stdout.split()] == pytest.approx([32, 32], abs=1.5)


def test_measure_counts_steps_and_time() -> None:
    found = measure(SMALL, seconds=0.01, exact=False)
    assert found["steps_per_iteration"] == 3
    assert found["iterations"] * found["seconds_per_iteration"] >= 0.01
    assert 0 < found["backward_seconds_per_iteration"] < found["seconds_per_iteration"]
    early = measure(replace(SMALL, method="sltt-1", T=5), seconds=0.05, exact=False)
    assert early["steps_per_iteration"] == pytest.approx(3, abs=1)


@pytest.mark.parametrize("precision", ["fp32", "fp64", "bf16"])
@pytest.mark.parametrize("method", ["yardstick", "sltt", "sltt-2", "bptt", "ottt", "rate_m"])
def test_every_method_trains(method: str, precision: Any) -> None:
    configuration = replace(SMALL, method=method, network="conv-6-4-5-3", precision=precision)
    iteration = Iteration(configuration)
    before = [parameter.clone() for parameter in iteration.model.parameters()]
    iteration(epoch=1)
    for old, new in zip(before, iteration.model.parameters(), strict=True):
        assert new.isfinite().all() and not torch.equal(old, new)


def test_networks_have_the_layers_of_their_names() -> None:
    shape = network_shape("conv-28-16-32-10")
    assert shape.options["channels"] == [16, 32] and shape.options["strides"] == [1, 2]
    assert (shape.sample, shape.classes) == ((1, 28, 28), 10)
    assert network_shape("mlp-784-256-10").options["hidden"] == [256]
    parameters = {
        name: sum(p.numel() for p in Iteration(replace(SMALL, network=name)).model.parameters())
        for name in ("resnet18", "vgg11", "mlp-784-256-10")
    }
    # As counted on the papers' own code; the MLP by hand.
    assert parameters == {
        "resnet18": 11_176_906,
        "vgg11": 9_476_298,
        "mlp-784-256-10": 784 * 256 + 256 + 256 * 10 + 10,
    }


KEYS = (
    "method network T batch seconds_per_iteration peak_mb_above_model device precision "
    "backward_seconds_per_iteration resident_mb_above_model steps_per_iteration iterations "
    "threads time_chunk device_name"
)


def test_bench_train_prints_a_row_for_each_configuration(tmp_path: Path) -> None:
    options = ["--network", "conv-16-8-8-3", "--T", "4", "--batch", "32", "--threads", "1"]
    options += ["--methods", "sltt-1", "--seconds", "0.01", "--rounds", "1"]
    (row,) = run_json("bench", "train", *options, folder=tmp_path)["rows"]
    assert list(row) == KEYS.split()
    assert (row["method"], row["network"], row["T"]) == ("sltt-1", "conv-16-8-8-3", 4)
    assert (row["batch"], row["device"], row["threads"]) == (32, "cpu", 1)
    # Two spike maps of 8 x 16 x 16 and 8 x 8 x 8 per sample, and what they come from.
    assert 32 * (2048 + 512) * 4 / (1 << 20) < row["peak_mb_above_model"] < 16
    assert 1 <= row["steps_per_iteration"] <= 4
    assert 0 < row["backward_seconds_per_iteration"] < row["seconds_per_iteration"]


@pytest.mark.slow
def test_memory_of_sltt_does_not_grow_with_T_and_that_of_bptt_does() -> None:
    """The paper's claim, on its network: CIFAR's ResNet-18."""

    def peak(method: str, T: int) -> float:
        configuration = Configuration(method, "resnet18", T, batch=16)
        return alone(configuration, 0, exact=True)["peak_mb_above_model"]

    few, many = peak("sltt", 4), peak("sltt", 16)
    assert many <= 1.03 * few
    assert peak("bptt", 16) >= 8 * many
    assert many <= peak("yardstick", 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--methods slt",
            "'slt' is not one of yardstick, sltt, bptt, ottt, eprop, rate_m, rate_s, nor",
        ),
        ("--methods sltt-0", "'sltt-0' is not one of"),
        ("--methods sltt,sltt-7 --T 8,6", "K = 7 steps cannot be drawn from the T = 6"),
        ("--network resnet19", "--network resnet19: expected resnet18, vgg11, mlp-IN-HIDDEN-OUT"),
        ("--T 0", "steps must be at least 1"),
        ("--T 4,x", "'4,x': expected whole numbers"),
        ("--batch 1", "--batch 1: batch norm needs at least 2 samples"),
        ("--precision fp8", "'fp8' is not one of fp32, fp64, bf16, fp16"),
        ("--device abacus", "device 'abacus' cannot be used"),
        ("--methods yardstick,sltt --T 2,0", "steps must be at least 1"),
        ("--time-chunk -1", "'--time-chunk': -1 is not in the range x>=0"),
        ("--threads -1", "'--threads': -1 is not in the range x>=0"),
        ("--rounds 0", "'--rounds': 0 is not in the range 1<=x"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    options: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr("neurodeploy.bench.train.run_alone", measured)
    result = run_cli("bench", "train", *options.split(), folder=tmp_path)
    assert result.exit_code == 2
    assert message in result.stderr


def row(method: str, T: int, precision: str, seconds: float, peak: float) -> TrainRow:
    return TrainRow(
        **{"method": method, "network": "resnet18", "T": T, "batch": 32},
        **{"seconds_per_iteration": seconds, "peak_mb_above_model": peak, "device": "cpu"},
        **{"precision": precision, "backward_seconds_per_iteration": seconds / 2},
        **{"resident_mb_above_model": peak, "steps_per_iteration": T, "iterations": 1},
        **{"threads": 2, "time_chunk": 0, "device_name": "an abacus"},
    )


def test_the_table_compares_with_the_yardstick_of_the_same_T() -> None:
    rows = [
        row("yardstick", 6, "fp32", 8.0, 400.0),
        row("sltt", 6, "bf16", 2.0, 100.0),
        row("yardstick", 6, "bf16", 4.0, 200.0),
        row("sltt", 12, "fp32", 1.0, 50.0),
    ]
    heading, columns, *lines = table(rows).splitlines()
    assert heading == "resnet18, batch 32, on an abacus (cpu), 2 threads"
    assert columns.split()[-2:] == ["faster", "memory"]
    assert [line.split()[-2:] for line in lines[:3]] == [
        ["1.00x", "1.00x"],
        ["4.00x", "0.25x"],
        ["2.00x", "0.50x"],
    ]
    assert lines[3].split()[-1] == "50.0"
    assert "faster" not in table(rows[1:2])


def test_configurations_are_every_method_at_every_T_and_precision() -> None:
    made = configurations(["a", "b"], [1, 2], ["bf16", "fp32"], network="n", batch=2)
    assert [(c.T, c.precision, c.method) for c in made] == [
        *((1, "fp32", "a"), (1, "fp32", "b"), (1, "bf16", "a"), (1, "bf16", "b")),
        *((2, "fp32", "a"), (2, "fp32", "b"), (2, "bf16", "a"), (2, "bf16", "b")),
    ]
    with pytest.raises(InputError, match="fp8"):
        configurations(["a"], [1], ["fp8"])


def test_the_median_of_two_rounds_is_the_dearer_one() -> None:
    assert median([3.0, 1.0, 2.0], float) == 2.0
    assert median([3.0, 1.0], float) == 3.0


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    yield tmp_path / "measured.py"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; the machine probab"),
        ("raise RuntimeError('no luck')", "bench of it failed: RuntimeError: no luck"),
        (
            "from neurodeploy.bench.process import answer\n"
            "from neurodeploy.errors import InputError\n"
            "def measure(): raise InputError('too small')\n"
            "answer(measure)",
            "bench of it failed: too small",
        ),
    ],
)
def test_a_failed_measurement_says_why(module: Path, program: str, message: str) -> None:
    module.write_text(program)
    with pytest.raises(SimulationError, match=message):
        run_alone("measured", [], "it")
