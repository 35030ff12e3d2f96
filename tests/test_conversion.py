"""Trained networks of ReLUs as spiking ones: rates against activations, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.data import load_dataset
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.from_relu import ReluNetwork
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.network_out import network_to_nir
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.network import Neuron
from neurodeploy.nn.conversion import Balance
from neurodeploy.nn.families.user import module_from
from support.command import run_cli, run_json

LEVELS = 16


class Residual(nn.Module):
    """Batch norm, one ReLU for all, pooling, and a sum of a convolution and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bn = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.out = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 3)
        self.relu, self.pool, self.drop = nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.pool(self.relu(self.bn(self.first(x)))))
        x = F.relu(self.second(x) + x)
        return self.out(self.pool(x).flatten(1))


def residual() -> tuple[Residual, np.ndarray]:
    """A network with batch norm that has seen something, and samples for it."""
    torch.manual_seed(0)
    module = Residual().double()
    x = np.random.default_rng(0).integers(0, LEVELS + 1, (24, 1, 8, 8))
    module.train()(torch.tensor(x / LEVELS))
    return module.eval(), x


def mean_outputs(network: nd.Network, x: np.ndarray) -> np.ndarray:
    v = nd.simulate(network, x, engine="float")[network.output].v
    assert v is not None
    return v[:, -1] / network.contract.steps


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("steps", [1, 5, 8])
def test_one_layer_sends_its_activation_in_levels(steps: int, half: bool) -> None:
    """theta/T clip(floor(T x / theta [+ 1/2]), 0, T), computed in numpy."""
    torch.manual_seed(steps)
    module = nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Linear(50, 4)).double()
    weight, bias, out, out_bias = (p.detach().numpy() for p in module.parameters())
    x = np.random.default_rng(steps).integers(0, LEVELS + 1, (40, 6))
    relus = nd.from_torch(module, (6,), levels=LEVELS)
    network = relus.as_spiking(x, steps, "percentile", percentile=90, half=half)
    (theta,) = relus.thresholds(x, steps, Balance("percentile", 90)).values()
    assert {float(t) for p in network.populations if p.neuron for t in _thresholds(p)} == {1.0}
    drive = x / LEVELS @ weight.T + bias
    above = np.sort(drive[drive > 0])
    assert theta == pytest.approx(above[int(np.ceil(0.9 * len(above))) - 1])
    levels = np.clip(np.floor(steps * drive / theta + half / 2), 0, steps)
    assert (levels == steps).any() and (levels == 0).any()
    expected = levels * theta / steps @ out.T + out_bias
    np.testing.assert_allclose(mean_outputs(network, x), expected, atol=1e-9)


def _thresholds(population: Any) -> np.ndarray:
    found = population.neuron.v_threshold
    return np.empty(0) if found is None else np.unique(found)


def test_rates_come_to_the_activations_as_steps_grow() -> None:
    module, x = residual()
    relus = nd.from_torch(module, (1, 8, 8), levels=LEVELS)
    exact = module(torch.tensor(x / LEVELS)).detach().numpy()
    np.testing.assert_allclose(relus.outputs(x[:, 0]), exact, atol=1e-12)
    errors = [
        np.abs(mean_outputs(relus.as_spiking(x, steps, "max"), x) - exact).max()
        for steps in (8, 64, 512)
    ]
    assert errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3
    assert errors[2] < 2e-3 * np.abs(exact).max() + 1e-3


def test_the_smallest_error_is_that_of_all_thresholds() -> None:
    module, x = residual()
    relus = nd.from_torch(module, (1, 8, 8), levels=LEVELS)
    drive = module.bn(module.first(torch.tensor(x / LEVELS))).detach().numpy()
    above = drive[drive > 0].astype(np.float32)

    def error(theta: float, steps: int) -> float:
        levels = np.clip(np.floor(above / theta * steps + 0.5), 0, steps)
        return float(np.square(levels * theta / steps - above).mean())

    found = {}
    for steps in (2, 16):
        found[steps] = relus.thresholds(x, steps, Balance())["relu"]
        tried = np.linspace(0.01, 1, 400) * above.max()
        best = min(error(theta, steps) for theta in tried)
        assert error(found[steps], steps) <= 1.02 * best
    assert found[2] < found[16] <= above.max()


def test_units_of_the_threshold_leave_every_spike_where_it_is() -> None:
    module, x = residual()
    relus = nd.from_torch(module, (1, 8, 8), levels=LEVELS)
    network = relus.as_spiking(x, 8)
    units = relus.thresholds(x, 8, Balance())
    back = replace(
        network,
        populations=tuple(
            replace(p, neuron=replace(p.neuron, v_threshold=theta, bias=p.neuron.bias * theta))
            if isinstance(p.neuron, Neuron) and (theta := units.get(p.name)) is not None
            else p
            for p in network.populations
        ),
        projections=tuple(
            replace(p, operator=p.operator.scaled(np.array(units.get(p.target, 1.0))))
            for p in network.projections
        ),
    )
    ours, theirs = (nd.simulate(n, x, engine="float") for n in (network, back))
    for name in units:
        assert ours[name].spikes.any()
        assert (ours[name].spikes == theirs[name].spikes).mean() > 0.999


def test_poolings_stay_parts_of_convolutions() -> None:
    module, x = residual()
    network = nd.from_torch(module, (1, 8, 8), levels=LEVELS).as_spiking(x, 4)
    kinds = [type(projection.operator) for projection in network.projections[:3]]
    assert kinds == [Convolution] * 3


@pytest.mark.lava
def test_a_converted_network_goes_all_the_way(tmp_path: Path) -> None:
    module, x = residual()
    network = nd.from_torch(module, (1, 8, 8), levels=LEVELS, name="ours").as_spiking(x, 12)
    write_nir(tmp_path / "n.nir", network_to_nir(network))
    again = nd.import_nir(tmp_path / "n.nir")
    np.testing.assert_allclose(mean_outputs(again, x), mean_outputs(network, x), atol=1e-9)
    deployed = nd.deploy(again, "loihi2", tmp_path / "d", bits=8, calibration=x)
    assert not deployed.mapping.violations
    report = nd.validate(deployed.network, x[:4], ("reference", "lava-fused"))
    assert report.mismatches == 0 and report.compared > 0
    rates = nd.simulate(deployed.network, x)["relu"].spikes.mean()
    assert rates == pytest.approx(
        nd.simulate(network, x, engine="float")["relu"].spikes.mean(), rel=0.1
    )
    trained_further = nd.to_torch(again)
    assert [layer for layer in trained_further.modules() if isinstance(layer, nd.nn.LIF)]


def test_nothing_of_the_module_changes() -> None:
    module, x = residual()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    nd.from_torch(module.train(), (1, 8, 8), levels=LEVELS).as_spiking(x, 4)
    assert module.training and module.pool.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_pooling_that_is_used_twice_is_two_layers() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(8, 3)
            self.lif, self.pool = nd.nn.LIF(2.0, 0.2), nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.pool(self.lif(self.conv(self.pool(x)))).flatten(1))

    torch.manual_seed(0)
    module = Shared().double().eval()
    network = nd.from_torch(module, (1, 8, 8), 3, levels=LEVELS)
    x = np.random.default_rng(0).integers(0, LEVELS + 1, (5, 1, 8, 8))
    nd.nn.reset(module)
    exact = sum(module(torch.tensor(x / LEVELS)) for _ in range(3))
    assert isinstance(exact, Tensor)
    np.testing.assert_allclose(3 * mean_outputs(network, x), exact.detach().numpy(), atol=1e-9)


class Layers(nn.Module):
    """A module whose forward is given as a function."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.a, self.b, self.lif = nn.Linear(4, 4), nn.Linear(4, 2), nd.nn.LIF(2.0)
        self.given = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.given(self, x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda net, x: net.b(F.relu(net.lif(net.a(x)))), "layer 'lif' keeps a state"),
        (lambda net, x: net.b(net.a(x)), "Layers has neither ReLUs nor spiking neurons"),
        (lambda net, x: net.b(F.max_pool1d(F.relu(net.a(x)), 1)), "largest rate among them"),
        (lambda net, x: net.b(net.a(x).clamp(0, 6)), "clamps to other ends"),
        (lambda net, x: net.b(F.gelu(net.a(x))), "calls gelu"),
        (lambda net, x: F.log_softmax(net.b(F.relu(net.a(x))), 1), "calls log_softmax"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_named(forward: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        nd.from_torch(Layers(forward), (4,))


def test_relus_under_steps_say_the_other_way() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(UnsupportedError, match="from_torch without steps gives one"):
        nd.from_torch(module, (4,), 8)
    with pytest.raises(InputError, match="gets its encoder in as_spiking"):
        nd.from_torch(module, (4,), encoder="rate")
    assert isinstance(nd.from_torch(module, (4,)), ReluNetwork)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"method": "mean"}, "method 'mean' is not known"),
        ({"percentile": 101}, "above 0 and at most 100, found 101"),
        ({"encoder": "latency"}, "use 'direct' or 'rate'"),
        ({"samples": np.zeros((3, 5), int)}, r"shape \(3, 5\); expected \(N, 4\)"),
        ({"samples": np.ones((3, 4))}, "give integers 0 to 16"),
        ({"samples": np.full((3, 4), 17)}, "hold integers 17 to 17, but levels=16"),
        ({"samples": np.zeros((3, 4), int)}, "layer '1' is silent on the samples"),
    ],
)
def test_mistakes_get_one_message(options: dict[str, Any], message: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    given = {"samples": np.full((3, 4), 3), "steps": 4, **options}
    with pytest.raises(InputError, match=message):
        nd.from_torch(module, (4,), levels=LEVELS).as_spiking(**given)


# --- the command ---

NETS = """\
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

def pooled():
    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 10))

def three():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))

def number():
    return 3
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``nets.py``, and the weights of its ``build`` trained on the digits."""
    folder = tmp_path_factory.mktemp("ann")
    (folder / "nets.py").write_text(NETS)
    module = module_from(f"{folder / 'nets.py'}:build")
    digits = load_dataset("digits")
    x = torch.from_numpy(digits.x_train[:]).float() / digits.levels
    y = torch.from_numpy(digits.y_train)
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(100):
        optimiser.zero_grad()
        F.cross_entropy(module(x), y).backward()
        optimiser.step()
    torch.save(module.state_dict(), folder / "w.pt")
    save_file(module.state_dict(), folder / "w.safetensors")
    return folder


def test_convert_writes_a_network_that_goes_on(trained: Path, tmp_path: Path) -> None:
    network, weights = f"{trained / 'nets.py'}:build", ("--weights", str(trained / "w.pt"))
    arguments = ("convert", network, *weights, "--data", "digits", "--out", "s.nir")
    found = run_json(*arguments, "--steps", "32", folder=tmp_path)
    assert found["file"] == "s.nir" and [*found["thresholds"]] == ["2"]
    assert found["ann_accuracy"] > 0.9 and found["samples"] == 360
    assert found["accuracy"] > found["ann_accuracy"] - 0.01
    exported = run_cli("export", "s.nir", "--target", "loihi2", "--out", "d", folder=tmp_path)
    assert exported.exit_code == 0, exported.output
    simulated = run_json("simulate", "d", "--engine", "float", folder=tmp_path)
    assert simulated["accuracy"] == found["accuracy"]
    again = run_json(
        *("convert", network, "--weights", str(trained / "w.safetensors"), "--data", "digits"),
        *("--steps", "2", "--out", "few.nir"),
        folder=tmp_path,
    )
    assert again["ann_accuracy"] == found["ann_accuracy"]
    options = ("--set", "training.epochs=2", "--set", "training.threads=1", "--out", "run")
    tuned = run_json("train", "--init", "few.nir", *options, folder=tmp_path)
    assert tuned["test_accuracy"] > again["accuracy"]
    said = run_cli(*arguments, "--steps", "4", "--method", "max", "--no-half", folder=tmp_path)
    assert "test samples: " in said.output and "Next: neurodeploy export s.nir" in said.output


@pytest.mark.pictures
def test_the_bench_draws_accuracy_against_steps(trained: Path, tmp_path: Path) -> None:
    network = f"{trained / 'nets.py'}:build"
    found = run_json(
        *("bench", "conversion", network, "--weights", str(trained / "w.pt"), "--data", "digits"),
        *("--T", "1,16", "--methods", "mmse,max-floor", "--test", "200", "--out", "c.png"),
        folder=tmp_path,
    )
    by = {(row["T"], row["method"]): row["accuracy"] for row in found["rows"]}
    assert [*by] == [(1, "mmse"), (1, "max-floor"), (16, "mmse"), (16, "max-floor")]
    assert by[1, "mmse"] > by[1, "max-floor"] and by[16, "mmse"] >= by[1, "mmse"]
    for name in ("c.png", "c.svg"):
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("pooled", (), "uses MaxPool2d, which has no counterpart"),
        ("three", (), "gives outputs of shape (3,); data set 'digits' has 10 classes"),
        ("number", (), "returned a int; it must return a torch module"),
        ("absent", (), "has no function 'absent'"),
        ("three", ("--weights", "w.pt"), "not the weights of"),
        ("build", ("--weights", "nets.py"), "not a readable file of weights"),
        ("build", ("--weights", "none.pt"), "cannot be read"),
        ("build", ("--weights", "list.pt"), "does not hold tensors by name"),
        ("build", ("--data", "mackey_glass"), "has values instead of classes"),
        ("build", ("--data", "minst"), "--data minst: neither an .npz nor a data set"),
    ],
)
def test_convert_says_what_is_wrong(
    trained: Path, function: str, options: tuple[str, ...], message: str
) -> None:
    torch.save([1], trained / "list.pt")
    network = ("nets.py:" + function, "--steps", "4", "--out", "never.nir")
    data = () if "--data" in options else ("--data", "digits")
    result = run_cli("convert", *network, *data, *options, folder=trained)
    assert result.exit_code == 2 and message in result.output
    assert result.output.count("Error") == 1 and not (trained / "never.nir").exists()


def test_convert_wants_a_function(tmp_path: Path) -> None:
    options = ("--data", "digits", "--steps", "4")
    result = run_cli("convert", "nets.py", *options, folder=tmp_path)
    assert result.exit_code == 2 and "name a function as FILE.py:FUNCTION" in result.output
    bench = ("bench", "conversion", "nets.py:build", "--data", "digits", "--methods", "mean")
    (tmp_path / "nets.py").write_text(NETS)
    result = run_cli(*bench, folder=tmp_path)
    assert result.exit_code == 2 and "--methods: 'mean' is not known" in result.output
