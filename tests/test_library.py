"""The top level: light to import, complete, and the whole road in memory."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.errors import CheckFailedError, ImportNote, InputError, UnsupportedError

T = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.l1 = nd.nn.LIF(tau=1.5)
        self.fc = nn.Linear(6 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.l1(self.conv(x)).flatten(1))


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    found: Any = load_digits()
    return found.images[:, None].astype(np.int32), found.target.astype(np.int64)


@pytest.fixture(scope="module")
def network(digits: tuple[np.ndarray, np.ndarray]) -> nd.Network:
    """Trained in a loop of its own, as anybody would."""
    x, y = torch.tensor(digits[0] / 16, dtype=torch.float32), torch.tensor(digits[1])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    rule = nd.rules.SLTT()
    losses = []
    for _ in range(6):
        for i in torch.randperm(1400).split(64):
            opt.zero_grad()
            loss = rule.backward(net, x[i].expand(T, *x[i].shape), y[i], F.cross_entropy)
            opt.step()
            losses.append(float(loss))
    torch.set_num_threads(threads)
    assert losses[-1] < losses[0] / 2
    return nd.from_torch(net.eval(), sample_shape=(1, 8, 8), steps=T, levels=16)


def test_the_import_loads_no_heavy_package() -> None:
    heavy = ("torch", "numpy", "scipy", "nir", "lava", "matplotlib", "sklearn", "click")
    program = (
        "import sys, json, neurodeploy as nd\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))\n"
        "print(json.dumps(sorted(nd.__all__)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded, names = done.stdout.splitlines()
    assert json.loads(loaded) == []
    assert {"from_torch", "to_torch", "quantize", "simulate", "nn", "rules"} <= {*json.loads(names)}


def test_every_name_is_there_and_says_what_it_is() -> None:
    for name in nd.__all__:
        found = getattr(nd, name)
        assert name in dir(nd)
        if name != "__version__":
            assert inspect.getdoc(found), name
        if inspect.isfunction(found):
            doc = str(inspect.getdoc(found))
            assert "Raises:" in doc, name
            hints = inspect.signature(found)
            assert hints.return_annotation is not inspect.Signature.empty, name
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        nd.quantise  # noqa: B018
    assert (Path(nd.__file__).parent / "py.typed").is_file()


def test_the_road_in_memory(network: nd.Network, digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Train, follow, quantise, simulate: accurate, and every engine gives the same classes."""
    images, labels = digits[0][1400:], digits[1][1400:]
    integers = nd.quantize(network, "loihi2", bits=8)
    trace = nd.simulate(integers, images)
    assert {"input", "l1", "readout"} <= {*trace.keys()}
    assert trace["l1"].spikes.shape == (397, T, 6, 4, 4)
    assert (trace.classes == labels).mean() > 0.8
    float_trace = nd.simulate(network, images, engine="float")
    assert (float_trace.classes == labels).mean() > 0.8
    again = nd.simulate(integers, images)
    np.testing.assert_array_equal(again["l1"].spikes, trace["l1"].spikes)


@pytest.mark.lava
def test_lava_gives_the_reference_bit_for_bit(
    network: nd.Network, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    integers = nd.quantize(network, "loihi2", bits=8)
    fused = nd.simulate(integers, digits[0][1400:1430], engine="lava-fused")
    expected = nd.simulate(integers, digits[0][1400:1430])
    np.testing.assert_array_equal(fused["l1"].spikes, expected["l1"].spikes)
    np.testing.assert_array_equal(fused.classes, expected.classes)
    assert nd.validate(integers, digits[0][1400:1404]).mismatches == 0


def test_calibration_and_width_reach_the_integers(
    network: nd.Network, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    narrow = nd.quantize(network, "loihi2", bits=2, calibration=digits[0][:32])
    assert {p.weight_format.bits for p in narrow.projections} == {2}
    plain = nd.quantize(network, "loihi2", bits=2)
    assert any(
        not np.array_equal(a.operator.weights, b.operator.weights)
        for a, b in zip(narrow.projections, plain.projections, strict=True)
    )
    with pytest.raises(InputError):
        nd.quantize(network, "loihi2", calibration=digits[0][:4] + 100)
    with pytest.raises(UnsupportedError):
        nd.quantize(network, "loihi2", bits=9)


def test_a_deployment_is_written_and_read(
    network: nd.Network, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    deployed = nd.deploy(network, "loihi2", tmp_path / "mine", bits=4)
    found = nd.load(tmp_path / "mine")
    assert found.path == deployed.path
    assert found.mapping == nd.map(found.network, "loihi2")
    assert (tmp_path / "mine/report.html").is_file()
    assert (tmp_path / "mine/network.nir").is_file()
    images = digits[0][1400:1420]
    expected = nd.simulate(nd.quantize(network, "loihi2", bits=4), images)
    np.testing.assert_array_equal(nd.simulate(found.network, images).classes, expected.classes)
    with pytest.raises(InputError):
        nd.deploy(network, "loihi2", tmp_path / "mine")


def test_integers_can_be_deployed_as_they_are(network: nd.Network, tmp_path: Path) -> None:
    integers = nd.quantize(network, "loihi2", bits=4)
    deployed = nd.deploy(integers, "loihi2", tmp_path / "integers")
    for mine, theirs in zip(deployed.network.projections, integers.projections, strict=True):
        np.testing.assert_array_equal(mine.operator.weights, theirs.operator.weights)
    with pytest.raises(InputError, match="quantised already"):
        nd.deploy(integers, "loihi2", tmp_path / "again", bits=8)


def test_what_does_not_fit_is_refused_whole(network: nd.Network, tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    text = Path("targets/loihi2.toml").read_text(encoding="utf-8")
    small.write_text(text.replace("cores = { value = 128", "cores = { value = 1"), encoding="utf-8")
    with pytest.raises(CheckFailedError, match="does not fit"):
        nd.deploy(network, small, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_from_elsewhere_says_what_was_assumed(tmp_path: Path, network: nd.Network) -> None:
    from nir import NIRGraph, read, write

    deployed = nd.deploy(network, "loihi2", tmp_path / "d")
    graph = read(deployed.path / "network.nir")
    assert isinstance(graph, NIRGraph)
    graph.metadata, graph.edges = {}, [*graph.edges, graph.edges[0]]
    write(tmp_path / "bare.nir", graph)
    semantics = {"dt": 1e-4, "reset": "subtract", "comparison": ">=", "integrator": "euler"}
    with pytest.raises(UnsupportedError, match="steps"):
        nd.import_nir(tmp_path / "bare.nir")
    with pytest.warns(ImportNote, match="is written 2 times"):
        found = nd.import_nir(tmp_path / "bare.nir", steps=T, **semantics)
    assert {p.name for p in found.populations} == {p.name for p in network.populations}


def test_networks_of_the_wrong_kind_say_how_to_come_to_one(network: nd.Network) -> None:
    module, integers = Net(), nd.quantize(network, "loihi2")
    calls: list[Any] = [
        lambda: nd.quantize(module, "loihi2"),  # type: ignore[arg-type]
        lambda: nd.quantize(integers, "loihi2"),  # type: ignore[arg-type]
        lambda: nd.map(network, "loihi2"),  # type: ignore[arg-type]
        lambda: nd.deploy(module, "loihi2"),  # type: ignore[arg-type]
        lambda: nd.simulate(module, np.zeros((1, 1, 8, 8), int)),  # type: ignore[arg-type]
        lambda: nd.quantize(network, "loihi2", scale="foo"),  # type: ignore[arg-type]
        lambda: nd.quantize(network, "loihi2", bits="8"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()
