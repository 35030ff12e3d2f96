""".net files of sigma-delta layers: slayer's own, lava-dl's, their engine, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.errors import InputError, NeurodeployError, UnsupportedError
from neurodeploy.interchange.netx.file import NetReading, import_net, write_net
from neurodeploy.interchange.netx.layers import (
    DenseLayer,
    InputLayer,
    NetLayer,
    NetNeuron,
    layer_lines,
)
from neurodeploy.interchange.netx.network_in import to_quantized
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.operators import Dense
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.neurons.sigma_delta import QuantizedDelta, QuantizedSigma, QuantizedSigmaDelta
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.simulation.trace import Samples
from support.narrow import group
from support.quick import quick
from support.sigma_delta_networks import slayer_changes
from support.wording import refused

pytestmark = pytest.mark.lava
SEMANTICS = Semantics(1e-4, "zero", ">")
SHAPES = {"dense": (8,), "conv": (2, 8, 8)}
LEVELS = 4


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return slayer_changes(tmp_path_factory.mktemp("changes"))


def imported(path: Path, **options: Any) -> QuantizedNetwork:
    stated = {"steps": 6, "encoder": "direct", "levels": LEVELS, **options}
    return import_net(path, **stated).network


def over_time(network: QuantizedNetwork, count: int, seed: int = 0) -> Samples:
    """Samples whose values change from step to step, but for every third."""
    rng = np.random.default_rng(seed)
    (source,) = network.inputs
    x = rng.integers(0, LEVELS + 1, (count, network.contract.steps, *source.shape))
    x[:, 1::3] = x[:, ::3]
    return Samples(count, lambda a, b: x[a:b], None, network.contract, "random", over_time=True)


@pytest.mark.parametrize("name", SHAPES)
def test_slayers_integers_are_kept(files: dict[str, Path], name: str) -> None:
    network = imported(files[name])
    assert network.contract.decode == ("last_v" if name == "conv" else "spike_count")
    with h5py.File(files[name]) as file:
        for index, layer in group(file, "layer").items():
            if layer["type"][0] == b"flatten":
                continue
            neuron = network.population(f"layer{index}").neuron
            into = [p for p in network.projections if p.target == f"layer{index}"]
            assert isinstance(neuron, QuantizedDelta | QuantizedSigma | QuantizedSigmaDelta)
            if isinstance(neuron, QuantizedSigma):
                assert "sigma_output" in layer["neuron"]
            else:
                assert neuron.threshold == int(layer["neuron/vThMant"][()]) << 12
                bias = np.asarray(layer["bias"]).ravel() if "bias" in layer else np.zeros(1)
                assert set(neuron.bias.ravel()) == {int(b) << 12 for b in bias}
                assert neuron.exponent == 6
            if isinstance(neuron, QuantizedDelta):
                assert neuron.input_exponent == 12
                assert set(into[0].operator.weights >> -into[0].exponent) == {64}
                continue
            plain = sum(
                np.asarray(p.operator.weights >> -p.exponent)
                if isinstance(p.operator, Dense | Convolution)
                else (p.operator.matrix().toarray().astype(int) >> -p.exponent)
                for p in into
            )
            np.testing.assert_array_equal(plain, np.asarray(layer["weight"]))


def check_engine(network: QuantizedNetwork, path: Path) -> None:
    """Everything that lava-dl's layers keep and send, over two batches."""
    from neurodeploy.lava.netx import NetxEngine

    samples = over_time(network, 3)
    reference = ReferenceEngine(network)
    engine = NetxEngine(network, path, capacity=2, state=True, timeout=200)
    runs = (run.run(samples.batches(2), state=True) for run in (reference, engine))
    sent = 0
    for (_, expected), (_, found) in zip(*runs, strict=True):
        for population, record in expected.populations.items():
            others = found.populations[population].arrays
            assert record.arrays.keys() == others.keys()
            for what, values in record.arrays.items():
                np.testing.assert_array_equal(values, others[what], f"{population}.{what}")
            sent += record.events
    assert sent > 0 and reference.overflow.total == 0


@pytest.mark.parametrize("name", quick(SHAPES, "conv"))
def test_lava_dl_itself_computes_the_same(files: dict[str, Path], name: str) -> None:
    check_engine(imported(files[name]), files[name])


def test_changes_may_drive_leaky_neurons(files: dict[str, Path], tmp_path: Path) -> None:
    """lava-dl resets these itself, the others Lava's Reset does."""
    first, _, last = read_net(files["dense"])
    assert isinstance(last, DenseLayer)
    leaky = NetNeuron(np.array(4096), np.array(300), 900)
    weight = np.arange(-24, 8, 2).reshape(2, 8)
    write_net(tmp_path / "a.net", [first, DenseLayer(leaky, weight)], 6)
    network = imported(tmp_path / "a.net", decode="spike_count", message_exponent=0)
    check_engine(network, tmp_path / "a.net")


def shipped(name: str) -> Path:
    """A file that lava-dl installs with its own tests, which are a package called ``tests``."""
    import h5py as beside

    path = Path(beside.__file__).parent.parent / "tests/lava/lib/dl/netx/gts/pilotnet_sdnn" / name
    if not path.is_file():
        pytest.skip("lava-dl's tests are not installed")
    return path


def as_pipeline(network: QuantizedNetwork) -> QuantizedNetwork:
    """Each layer one step behind the one before it, as Lava runs layers of which none is reset."""
    delayed = tuple(
        replace(p, delay=int(isinstance(p.operator, Dense | Convolution)))
        for p in network.projections
    )
    return replace(network, projections=delayed)


def of(network: QuantizedNetwork, values: np.ndarray) -> dict[str, Any]:
    samples = Samples(
        1, lambda a, b: values[None][a:b], None, network.contract, "shipped", over_time=True
    )
    ((_, trace),) = ReferenceEngine(network).run(samples.batches(1), state=True)
    return dict(trace.populations)


def test_pilotnet_gives_what_lava_dl_says_it_gives() -> None:
    layers = read_net(shipped("network.net"))
    image = np.load(shipped("input.npy"))[..., 0].transpose(2, 1, 0)
    first = layers[0]
    assert isinstance(first, InputLayer)
    lowest = int(image.min())
    driven: list[NetLayer] = [replace(first, weight=1, bias=lowest), *layers[1:]]
    code = InputCode("direct", int(image.max()) - lowest)
    contract = Contract(SEMANTICS, code, 9, "last_v")
    network = as_pipeline(to_quantized(driven, image.shape, contract, "pilotnet"))
    found = of(network, np.repeat(image[None] - lowest, 9, 0))["layer9"].s
    np.testing.assert_array_equal(found.ravel(), np.load(shipped("output.npy")).ravel())


@pytest.mark.parametrize(
    ("file", "width", "suffix", "count"),
    [("network.net", 100, "", 2), ("square_network.net", 33, "_square", 4)],
)
def test_pilotnets_layers_keep_what_lava_dl_recorded_on_a_chip(
    file: str, width: int, suffix: str, count: int
) -> None:
    """Twenty frames of changes, which its tests for Loihi 2 feed to the first convolution."""
    layers = read_net(shipped(file))
    changes = np.load(shipped("act0.npy"))[:width].transpose(3, 2, 1, 0).astype(np.int32)
    contract = Contract(SEMANTICS, InputCode("events", 4096), len(changes), "last_v")
    chain: list[NetLayer] = [InputLayer(changes.shape[1:]), *layers[1:]]
    network = as_pipeline(to_quantized(chain, changes.shape[1:], contract, "pilotnet"))
    found = of(network, changes)
    for index in range(1, count + 1):
        recorded = np.load(shipped(f"sigma{index}{suffix}.npy")).transpose(3, 2, 1, 0)
        np.testing.assert_array_equal(found[f"layer{index}"].arrays["sigma"][0], recorded)


def test_layers_are_described_and_written(files: dict[str, Path], tmp_path: Path) -> None:
    layers = read_net(files["conv"])
    lines = list(layer_lines(layers))
    assert "driven by changes of value * 64 + -16, SDNN threshold 3" in lines[0]
    assert "2 groups, SDNN threshold 6" in lines[1]
    assert "SDNN sums" in lines[-1]
    write_net(tmp_path / "again.net", layers, 6)
    assert list(layer_lines(read_net(tmp_path / "again.net"))) == lines


def test_messages_may_be_as_fine_as_lava_dl_makes_them(files: dict[str, Path]) -> None:
    neuron = imported(files["conv"], message_exponent=2).population("layer1").neuron
    assert isinstance(neuron, QuantizedSigmaDelta)
    assert neuron.threshold == 6 << 8
    with refused(InputError, "--spike-exp 9: Lava takes 0 to 7", by="export"):
        NetReading(message_exponent=9)


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return edit


REFUSED: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "activation": (put("layer/1/neuron/activation", "tanh"), "'tanh', .* it runs a ReLU"),
    "false sums": (put("layer/5/neuron/sigma_output", False), "lava-dl's reader takes for true"),
    "biased sums": (put("layer/5/bias", np.ones(3)), "sigma_output beside a bias"),
    "messages": (put("layer/1/neuron/messageBits", 16), "messageBits, on which"),
    "exponent": (put("layer/2/neuron/weight_exp", 1), "weight_exp other than 0"),
    "threshold": (put("layer/1/neuron/vThMant", 2**20), "threshold or bias of 1,048,576, which"),
    "thresholds": (put("layer/1/neuron/vThMant", [1, 2]), "2 thresholds"),
    "recurrent": (put("layer/4/type", "dense_rec"), "'weight_rec'|feed themselves"),
    "no encoder": (put("layer/0/neuron", None), "adds up what it is sent, and nothing"),
    "loud input": (put("layer/0/weight", 10_000), "input up to 4 times 10000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_deployed_is_refused_by_layer(
    files: dict[str, Path], tmp_path: Path, case: str
) -> None:
    edit, message = REFUSED[case]
    path = tmp_path / "a.net"
    path.write_bytes(files["conv"].read_bytes())
    with h5py.File(path, "a") as file:
        edit(file)
    with pytest.raises(NeurodeployError, match=message) as caught:
        imported(path)
    assert "layer" in str(caught.value)


def test_samples_of_changes_need_no_encoder(files: dict[str, Path], tmp_path: Path) -> None:
    layers = read_net(files["dense"])[1:]
    write_net(tmp_path / "a.net", layers, 6)
    network = imported(tmp_path / "a.net", encoder="events", levels=None)
    first = network.population("layer0").neuron
    assert isinstance(first, QuantizedSigmaDelta)
    with pytest.raises(UnsupportedError, match="give samples of changes"):
        imported(tmp_path / "a.net")
