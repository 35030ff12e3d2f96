"""Trained networks of ReLUs as sigma-delta networks: what they compute, cost, and come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.sigma_delta import share_of_dense
from neurodeploy.lava.compat import lava_available
from neurodeploy.neurons.sigma_delta import QuantizedDelta, QuantizedSigmaDelta, SigmaDelta
from support.command import run_cli, run_json

LEVELS, FRAMES, SHAPE = 255, 6, (1, 8, 8)


def convolutional() -> nn.Sequential:
    """Batch norm that has seen something, pooling, and biases."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 3)),
    ).double()
    layer: Any
    with torch.no_grad():
        for layer in (net[4], net[7], net[9]):
            layer.weight *= 2.5  # so that outputs differ from sample to sample
    net.train()(torch.rand(32, *SHAPE, dtype=torch.float64))
    return net.eval()


def films(count: int, seed: int = 0) -> np.ndarray:
    """A bright square that moves a step at a time over a still background."""
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.integers(0, 60, (count, 1, *SHAPE)), FRAMES, axis=1)
    for film, start in zip(x, rng.integers(0, 3, (count, 2)), strict=True):
        for t, frame in enumerate(film):
            row, column = start + t // 2
            frame[0, row : row + 3, column : column + 3] = 240
    return x


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return convolutional()


@torch.no_grad()
def exact(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """(N, T, outputs) of the module, frame by frame."""
    frames = torch.from_numpy(x.reshape(-1, *SHAPE)).double() / LEVELS
    return net(frames).numpy().reshape(*x.shape[:2], -1)


def outputs(network: Any, x: np.ndarray, engine: Any = "float") -> np.ndarray:
    v = nd.simulate(network, x, engine=engine)[network.output].v
    assert v is not None
    unit = 1.0 if engine == "float" else network.population(network.output).state_unit
    return v / unit


def test_without_thresholds_every_frame_gives_what_the_module_gives(net: nn.Module) -> None:
    x = films(4)
    network = nd.from_torch(net, SHAPE, levels=LEVELS).as_sigma_delta(x, factor=0.0)
    np.testing.assert_allclose(outputs(network, x), exact(net, x), atol=1e-9)
    assert network.contract.steps == FRAMES
    assert [p.neuron.kind for p in network.populations if p.neuron] == [
        "Delta",
        *["SigmaDelta"] * 4,
    ]


def test_integers_stay_close_and_agree_between_engines(net: nn.Module) -> None:
    x = films(6)
    network = nd.from_torch(net, SHAPE, levels=LEVELS).as_sigma_delta(x, factor=0.0)
    integers = nd.quantize(network, "loihi2", 8, calibration=x)
    assert "by reach on 6 samples" in integers.notes["scales"]
    other = films(5, seed=1)
    wanted, found = exact(net, other), outputs(integers, other, "reference")
    spread = np.sqrt(((wanted - wanted.mean((0, 1))) ** 2).mean())
    assert np.sqrt(((found - wanted) ** 2).mean()) < 0.05 * spread
    trace = nd.simulate(integers, other)
    assert trace.overflow.total == 0
    for population in integers.populations:
        neuron = population.neuron
        if isinstance(neuron, QuantizedDelta | QuantizedSigmaDelta):
            # Of smaller changes Lava would lose those above 0.
            assert neuron.threshold >= 1 << neuron.exponent
            assert np.abs(trace[population.name].s).max() < 2**15
    if lava_available():
        report = nd.validate(integers, other[:2], ("reference", "lava-fused"))
        assert report.mismatches == 0 and report.compared > 0


def test_higher_thresholds_cost_accuracy_and_save_messages(net: nn.Module) -> None:
    x = films(6)
    relus = nd.from_torch(net, SHAPE, levels=LEVELS)
    found = relus.sigma_delta_trades(x)
    assert found[0].factor == 0 and found[0].deviation == 0 and found[0].agreement == 1
    messages = [trade.messages for trade in found]
    assert messages[-1] < messages[0] / 2 and min(np.diff(messages)) < 0
    assert found[-1].deviation > 0.1 > found[1].deviation
    assert "of dense" in found[0].line()
    network = relus.as_sigma_delta(x, deviation=0.05)
    off = outputs(network, x) - exact(net, x)
    spread = np.sqrt(((exact(net, x) - exact(net, x).mean((0, 1))) ** 2).mean())
    assert 0 < np.sqrt((off**2).mean()) <= 0.05 * spread
    thresholds = [
        p.neuron.threshold for p in network.populations if isinstance(p.neuron, SigmaDelta)
    ]
    assert min(thresholds[:-1]) > 0 and thresholds[-1] == 0


def test_activity_is_counted_against_a_network_computed_in_full() -> None:
    """By hand: 3 inputs, of which the second changes once more; 2 and 1 neurons behind."""
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    first: Any = net[0]
    nn.init.ones_(first.weight)
    nn.init.zeros_(first.bias)
    x = np.array([[[10, 20, 30], [10, 21, 30], [10, 21, 30]]])
    network = nd.from_torch(net, (3,), levels=30).as_sigma_delta(x, factor=0.0)
    trace = nd.simulate(network, x, engine="float")
    sent = {name: (record.s != 0).sum(axis=(0, 1)) for name, record in trace.items()}
    # 4 messages to 2 neurons each, 2 x 2 to the output; dense 3 x (6 + 2).
    assert share_of_dense(network, sent, 3) == pytest.approx((4 * 2 + 2 * 2 * 1) / 24)


def test_single_samples_are_films_of_one_frame(net: nn.Module) -> None:
    x = films(8)[:, 0]
    relus = nd.from_torch(net, SHAPE, levels=LEVELS)
    network = relus.as_sigma_delta(x)
    assert network.contract.steps == 1
    classes = nd.simulate(nd.quantize(network, "loihi2", 8, calibration=x), x).classes
    np.testing.assert_array_equal(classes, relus.outputs(x).argmax(axis=1))


def test_values_of_the_last_frame_are_predicted(net: nn.Module) -> None:
    x = films(3)
    relus = nd.from_torch(net, SHAPE, levels=LEVELS)
    network = relus.as_sigma_delta(x, factor=0.0, regression=True)
    found = nd.simulate(network, x, engine="float").predicted_values
    assert found is not None
    np.testing.assert_allclose(found, exact(net, x)[:, -1], atol=1e-9)


def test_it_is_deployed(net: nn.Module, tmp_path: Path) -> None:
    x = films(3)
    network = nd.from_torch(net, SHAPE, levels=LEVELS).as_sigma_delta(x, factor=0.0)
    deployed = nd.deploy(network, "loihi2", tmp_path / "d", bits=8, calibration=x)
    assert deployed.mapping.violations == ()
    again = nd.load(tmp_path / "d")
    np.testing.assert_array_equal(
        outputs(again.network, x, "reference"), outputs(deployed.network, x, "reference")
    )
    report = (tmp_path / "d" / "report.html").read_text()
    assert "SigmaDelta" in report


def test_what_does_not_go_is_one_message(net: nn.Module) -> None:
    x = films(2)
    relus = nd.from_torch(net, SHAPE, levels=LEVELS)
    network = relus.as_sigma_delta(x, factor=0.0)
    with pytest.raises(InputError, match="get their scales from what they reach on samples"):
        nd.quantize(network, "loihi2", 8)
    with pytest.raises(UnsupportedError, match="loihi1: its neurons are fixed"):
        nd.quantize(network, "loihi1", 8, calibration=x)
    with pytest.raises(InputError, match="'input_changes' is silent on the samples"):
        relus.as_sigma_delta(np.zeros_like(x))
    with pytest.raises(InputError, match="factor is from 0 to below 1, found 2"):
        relus.as_sigma_delta(x, factor=2)
    with pytest.raises(InputError, match="deviation is at least 0, found -1"):
        relus.as_sigma_delta(x, deviation=-1)
    with pytest.raises(InputError, match="of frames their number, found 4"):
        relus.as_sigma_delta(x, steps=4)
    with pytest.raises(InputError, match="expected \\(N, 1, 8, 8\\)"):
        relus.as_sigma_delta(x[..., :4])
    with pytest.raises(UnsupportedError, match=r"leaky integrate-and-fire neurons"):
        nd.to_torch(network)


def test_the_command_writes_a_deployment_and_prints_the_trade(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\n"
        "def build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))\n"
    )
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 1, 8, 8)).astype(np.uint8)
    y = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).astype(np.int64)
    arrays = {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}
    np.savez(tmp_path / "data.npz", **arrays)
    command = ("convert", "nets.py:build", "--data", "data.npz", "--sigma-delta")
    found = run_json(*command, "--target", "loihi2", "--out", "d", folder=tmp_path)
    assert found["samples"] == 20 and found["ann_accuracy"] == found["accuracy"]
    chosen = [t for t in found["trades"] if t["factor"] == found["factor"]]
    assert len(chosen) == 1 and chosen[0]["deviation"] <= 0.02
    text = run_cli(*command, "--target", "loihi2", "--weight-bits", "4", folder=tmp_path).output
    assert text.count("<- taken") == 1 and "with sigma-delta neurons in integers" in text
    simulated = run_json("simulate", "d", "--engine", "reference", folder=tmp_path)
    assert simulated["accuracy"] == found["accuracy"]
    for wrong in (command, (*command, "--target", "loihi2", "--steps", "3"), command[:-1]):
        refused = run_cli(*wrong, folder=tmp_path)
        assert refused.exit_code == 2 and "--sigma-delta" in refused.output
