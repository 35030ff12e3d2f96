""".net files without Lava: written and read back, slayer's own, and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.errors import NeurodeployError, UnsupportedError
from neurodeploy.interchange.netx.file import write_net
from neurodeploy.interchange.netx.layers import (
    NEVER_SPIKES,
    SILENT,
    ConvLayer,
    FlattenLayer,
    NetLayer,
    layer_lines,
)
from neurodeploy.interchange.netx.network_in import input_shape, to_quantized
from neurodeploy.interchange.netx.network_out import to_layers
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.operators import Dense, SparseMatrix
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.lava.compat import lava_available
from neurodeploy.simulation.engines import ReferenceEngine
from support.narrow import dataset, group, there
from support.net_networks import CASES, plain_net, random_net, slayer_files
from support.random_networks import random_input
from support.wording import refused

IMAGES = plain_net(
    Convolution(np.full((2, 2, 3, 3), 2), (2, 5, 5), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    Dense(np.full((4, 50), 2), (2, 5, 5), (4,)),
)
FLAT = plain_net(Dense(np.full((5, 8), 3), (8,), (5,)), Dense(np.full((4, 5), 2), (5,), (4,)))
EVENTS = Contract(Semantics(1e-4, "zero", ">"), InputCode("events"), 8, "spike_count")


def fields(value: Any) -> Any:
    """Everything a value holds, arrays with their shapes, so that == compares all of it."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.tolist())
    if isinstance(value, list | tuple):
        return [fields(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: fields(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def written(path: Path, network: QuantizedNetwork) -> list[NetLayer]:
    exported = to_layers(network)
    assert exported.missing == ()
    write_net(path, exported.layers, network.contract.steps)
    return exported.layers


# --- round trip ---


@pytest.mark.parametrize("case", CASES)
def test_layers_read_back_whole_and_compute_the_same(tmp_path: Path, case: str) -> None:
    for seed in range(4):
        network = random_net(seed, *CASES[case])
        path = tmp_path / f"{seed}.net"
        layers = written(path, network)
        read = read_net(path)
        assert fields(read) == fields(layers)
        again = to_quantized(read, input_shape(read, None, "x"), network.contract, "x")
        samples = random_input(network, seed, 3, over_time=True)
        shape = again.inputs[0].shape
        other = replace(
            samples,
            take=lambda a, b, take=samples.take, shape=shape: take(a, b).reshape(b - a, -1, *shape),
        )
        ((_, first),) = ReferenceEngine(network).run(samples.batches(3), state=True)
        ((_, second),) = ReferenceEngine(again).run(other.batches(3), state=True)
        pairs = zip(first.populations.values(), second.populations.values(), strict=True)
        for index, (left, right) in enumerate(pairs):
            for what in "suv" if index else "s":
                a, b = getattr(left, what), getattr(right, what)
                np.testing.assert_array_equal(a.reshape(b.shape), b, f"{index}.{what}")


def test_the_file_has_slayers_layout(tmp_path: Path) -> None:
    written(tmp_path / "a.net", random_net(1, ("conv", "dense"), 5, 1))
    with h5py.File(tmp_path / "a.net") as file:
        assert [dataset(file, f"layer/{i}/type")[0] for i in range(4)] == [
            b"input",
            b"conv",
            b"flatten",
            b"dense",
        ]
        conv = group(file, "layer/1")
        weight = dataset(conv, "weight")
        assert dataset(conv, "neuron/type")[()] == b"CUBA"
        assert weight.dtype == np.int16
        assert weight.shape[2:] == tuple(dataset(conv, "kernelSize")[()])
        assert weight.shape[1] * dataset(conv, "groups")[()] == dataset(conv, "inChannels")[()]
        assert dataset(file, "simulation/nSample")[()] == 5


def test_delays_of_one_step_apart_stay_apart(tmp_path: Path) -> None:
    network = random_net(3, ("delays",), 70, 1)
    path = tmp_path / "a.net"
    written(path, network)
    read = to_quantized(read_net(path), network.inputs[0].shape, network.contract, "a")
    assert {p.delay for p in read.projections} == {0, 1, 3, 62}
    assert all(isinstance(p.operator, SparseMatrix) for p in read.projections)


# --- what slayer writes ---


@pytest.fixture(scope="module")
def slayers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if not lava_available():
        pytest.skip("Lava is not installed")
    return slayer_files(tmp_path_factory.mktemp("slayer"))


@pytest.mark.parametrize("name", ["dense", "conv", "recurrent", "driven"])
def test_slayers_integers_are_kept(slayers: dict[str, Path], name: str) -> None:
    layers = read_net(slayers[name])
    network = to_quantized(layers, input_shape(layers, None, name), EVENTS, name)
    plain = {
        p.name: p.operator.weights >> -p.exponent
        for p in network.projections
        if isinstance(p.operator, Dense | Convolution)
    }
    with h5py.File(slayers[name]) as file:
        for index, layer in group(file, "layer").items():
            kind = layer["type"][0].decode()
            if kind in ("input", "flatten"):
                continue
            neuron = network.population(f"layer{index}").leaky
            for ours, key in (("u_decay", "iDecay"), ("v_decay", "vDecay")):
                values = np.asarray(layer["neuron"][key])
                spread = values.reshape(-1, *[1] * (neuron.u_decay.ndim - 1))
                assert (getattr(neuron, ours) == spread).all()
            threshold = int(layer["neuron/vThMant"][()])
            if threshold == SILENT:
                assert neuron.threshold is None
            else:
                assert neuron.threshold is not None and (neuron.threshold == threshold).all()
            bias = np.asarray(layer["bias"]) if "bias" in layer else np.zeros(1)
            assert (
                neuron.bias_mantissa == bias.reshape(-1, *[1] * (neuron.u_decay.ndim - 1))
            ).all()
            assert (neuron.bias_exponent == 6).all()
            if "delay" in layer:
                delays = np.floor(np.asarray(layer["delay"]))
                for p in network.projections:
                    if p.target == f"layer{index}" and p.source != p.target:
                        rows = np.unique(p.operator.matrix().nonzero()[0])
                        assert set(delays[rows]) == {p.delay}
                continue
            np.testing.assert_array_equal(plain[f"synapses{index}"], np.asarray(layer["weight"]))
            if kind == "dense_rec":
                recurrent = np.asarray(layer["weight_rec"])
                np.testing.assert_array_equal(plain[f"recurrent{index}"], recurrent)


def test_slayers_input_block_takes_its_bias_for_input(slayers: dict[str, Path]) -> None:
    layers = read_net(slayers["driven"])
    contract = replace(EVENTS, input_code=InputCode("direct", 16))
    network = to_quantized(layers, (2, 8, 8), contract, "x")
    block = network.population("layer0").leaky
    # weight 1.0 and bias 0.25 at slayer's scale of 64; u holds no more than the drive.
    drive = network.projections[0]
    assert set(drive.operator.weights >> -drive.exponent) == {64}
    assert set(block.bias_mantissa.ravel()) == {16}
    assert set(block.u_decay.ravel()) == {4096}
    assert drive.payload == 16
    with refused(UnsupportedError, r"biases up to 16,336; 4,095 fit; lower --levels", by="export"):
        to_quantized(layers, (2, 8, 8), replace(EVENTS, input_code=InputCode("direct", 255)), "x")


def test_both_ways_of_writing_a_type_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    written(path, random_net(1, ("dense", "dense"), 5, 1))
    before = fields(read_net(path))
    with h5py.File(path, "a") as file:
        for layer in group(file, "layer").values():
            word = layer["type"][0].decode()
            del layer["type"]
            layer["type"] = word
            if "neuron" in layer:
                del layer["neuron/type"]
                layer["neuron"].create_dataset("type", (1,), "S10", [b"LOIHI"])
    assert fields(read_net(path)) == before


def test_layers_are_described(slayers: dict[str, Path]) -> None:
    lines = list(layer_lines(read_net(slayers["driven"])))
    assert "input    (2, 8, 8), driven by biases of value * 64 + 16, CUBA iDecay 1024" in lines[0]
    assert "conv     (4, 6, 6), 72 weights" in lines[1]
    assert "flatten" in lines[2]
    lines = list(layer_lines(read_net(slayers["recurrent"])))
    assert "recurrent 36 weights" in lines[0] and "threshold 80" in lines[0]
    assert "never spikes" in lines[1]
    assert "delays 0 to 5" in "".join(layer_lines(read_net(slayers["dense"])))


# --- refusals on reading ---


def put(name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        name_in_file = f"layer/{name}"
        if name_in_file in file:
            del file[name_in_file]
        if value is not None:
            file[name_in_file] = value

    return edit


def kind_of(layer: int, kind: str) -> Callable[[h5py.File], None]:
    return put(f"{layer}/type", kind)


def neuron_of(kind: str) -> Callable[[h5py.File], None]:
    return put("1/neuron/type", kind)


# input 2x5x5, convolution, flatten, dense
REFUSED: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "pool": (kind_of(1, "pool"), r"layer 1 \(pool\): lava-dl itself cannot load pooling layers"),
    "average": (kind_of(3, "average"), r"\(average\): .*averaging layers"),
    "concat": (kind_of(3, "concat"), r"\(concat\): .*skip connections"),
    "convT": (kind_of(1, "convT"), "transposed convolutions"),
    "norm": (kind_of(1, "norm"), r"\(norm\): unknown type; input, flatten, dense"),
    "rf": (neuron_of("RF_PHASE"), r"'RF_PHASE' \(resonate-and-fire neurons\); CUBA, LOIHI and"),
    "rf iz": (neuron_of("RF_IZHIKEVICH"), "resonate-and-fire neurons"),
    "adrf": (neuron_of("ADRF_PHASE"), "adaptive resonate-and-fire neurons"),
    "alif": (neuron_of("ALIF"), "adaptive neurons"),
    "other neuron": (neuron_of("LIF"), "neuron type 'LIF'; CUBA, LOIHI and SDNN are read"),
    "no neuron": (put("1/neuron", None), "no neuron group.*write type, iDecay"),
    "graded": (
        put("1/neuron/gradedSpike", True),
        "gradedSpike other than 0, which lava-dl's reader skips",
    ),
    "refractory": (put("1/neuron/refDelay", 3), "refDelay other than 0 or 1"),
    "weight exponent": (put("1/neuron/wgtExp", 2), "wgtExp other than 0"),
    "norm exponent": (put("1/neuron/weight_exp", [1.0]), "weight_exp"),
    "messages": (put("1/neuron/messageBits", 8), "messageBits"),
    "conv delay": (put("1/delay", np.array([1.0, 0.0])), "delays, which lava-dl's reader skips"),
    "float decay": (put("1/neuron/iDecay", 1024.0), "iDecay is float64; lava-dl needs integers"),
    "many thresholds": (put("1/neuron/vThMant", [1, 2]), "2 thresholds; Lava's neurons have one"),
    "negative threshold": (put("1/neuron/vThMant", -1), "threshold -1"),
    "decay shape": (put("1/neuron/vDecay", np.zeros((2, 2), int)), r"vDecay has shape \(2, 2\)"),
    "fractions": (put("3/weight", np.full((4, 50), 0.5)), "weight holds fractions"),
    "nan": (put("3/weight", np.full((4, 50), np.nan)), "beyond .* or none at all"),
    "huge": (put("3/weight", np.full((4, 50), 2**40)), r"numbers beyond \+-16,777,216"),
    "words": (put("3/weight", "abc"), "weight is not numeric"),
    "complex": (put("3/weight", None), "'weight' is missing"),
    "nine bits": (put("3/weight", np.full((4, 50), 3) * np.array([1] * 49 + [-99])), "8 bits"),
    "zeros": (put("3/weight", np.zeros((4, 50), int)), "all weights are 0"),
    "odd kernel": (put("1/weight", np.array([255, -1] * 18).reshape(2, 2, 3, 3)), "do not fit 8"),
    "row count": (put("3/shape", [5]), r"weight is \(4, 50\); expected \(5, inputs\)"),
    "bias": (put("3/bias", np.zeros(3, int)), r"bias is \(3,\); expected \(4,\)"),
    "delay shape": (put("3/delay", np.zeros(7)), r"delay is \(7,\) for weights of \(4, 50\)"),
    "delay": (put("3/delay", np.full(4, 63)), "delays from 63 to 63; 0 to 62"),
    "shape": (put("1/shape", [0, 5, 5]), r"shape \(0, 5, 5\); expected 3 positive"),
    "many neurons": (put("1/shape", [9999, 9999, 9999]), "up to 4,194,304 neurons"),
    "no shape": (put("1/shape", None), "'shape' is missing"),
    "stride": (put("1/stride", [0, 0]), "stride"),
    "large stride": (put("1/stride", 200), "Lava takes up to 127"),
    "no groups": (put("1/groups", None), "'groups' is missing"),
    "groups": (put("1/groups", 3), "groups"),
    "conv shape": (put("1/shape", [2, 4, 4]), r"says its shape is \(2, 4, 4\), but it makes"),
    "no flatten": (put("2", None), "the layers are named 0, 1, 3; expected 0 to 2"),
    "gap": (put("9/type", "flatten"), "the layers are named"),
    "array": (put("9", 3), "the layers are named"),
    "type": (put("1/type", 3), "'type' is not a word"),
    "second input": (kind_of(2, "input"), "shape|input layer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_deployed_is_refused_by_layer(tmp_path: Path, case: str) -> None:
    edit, message = REFUSED[case]
    path = tmp_path / "a.net"
    written(path, IMAGES)
    with h5py.File(path, "a") as file:
        edit(file)
    with pytest.raises(NeurodeployError, match=message) as caught:
        layers = read_net(path)
        to_quantized(layers, input_shape(layers, None, "a.net"), EVENTS, "a.net")
    assert "a.net" in str(caught.value)


def test_layers_that_lava_dl_cannot_connect_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    input_layer, conv, _, dense = written(path, IMAGES)
    for layers, message in (
        (
            [input_layer, conv, dense],
            r"layer 2: a dense layer behind \(2, 5, 5\) without a flatten",
        ),
        ([input_layer, FlattenLayer(), conv], "layer 2: a convolution of 'input', which is flat"),
        ([input_layer, conv, FlattenLayer()], "the last layer has no neurons"),
        ([conv, input_layer], "layer 1: an input layer behind others"),
        ([input_layer], "the last layer has no neurons"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            to_quantized(layers, (2, 5, 5), EVENTS, "a.net")


def test_recurrent_layers_take_no_delays(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    written(path, random_net(0, ("recurrent",), 5, 1))
    with h5py.File(path, "a") as file:
        file["layer/1/delay"] = 1
    with pytest.raises(UnsupportedError, match="delays beside recurrent weights"):
        read_net(path)


def test_the_size_of_images_has_to_be_known() -> None:
    _, conv, flatten, dense = to_layers(IMAGES).layers
    with refused(UnsupportedError, "state --input-shape CHANNELS,HEIGHT,WIDTH", by="export"):
        input_shape([conv, flatten, dense], None, "a.net")
    assert input_shape([conv, flatten, dense], (2, 5, 5), "a.net") == (2, 5, 5)
    assert input_shape([flatten, dense], None, "a.net") == (50,)
    layers = to_layers(IMAGES).layers
    with refused(
        UnsupportedError, r"--input-shape \(50,\), but the file's input layer", by="export"
    ):
        input_shape(layers, (50,), "a.net")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no group 'layer' with layers"),
        ({"layer": 3}, "no group 'layer' with layers"),
        ({"layer/0": 3}, "layer 0: an array; expected a group"),
        ({"layer/0/type": "dense", "layer/0/shape/x": 1}, "'shape' is a group"),
        (
            {"layer/0/type": "dense", "layer/0/shape": 1, "layer/0/weight/imag": 1},
            "complex weights",
        ),
        ({"layer/a/type": "dense"}, "the layers are named a; expected 0 to 0"),
    ],
)
def test_what_is_no_net_is_one_message(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.net"
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value
    with pytest.raises(NeurodeployError, match=message):
        read_net(path)


# --- what a .net cannot hold ---


def changed(network: QuantizedNetwork, **fields_of_neuron: Any) -> QuantizedNetwork:
    """The first population with other neurons."""
    source, first, *rest = network.populations
    neuron = replace(first.leaky, **fields_of_neuron)
    return replace(network, populations=(source, replace(first, neuron=neuron), *rest))


def linked(network: QuantizedNetwork, index: int = 0, **fields_of_link: Any) -> QuantizedNetwork:
    """One projection with other fields."""
    links = list(network.projections)
    links[index] = replace(links[index], **fields_of_link)
    return replace(network, projections=tuple(links))


def more(network: QuantizedNetwork, source: str, target: str, **fields_of_link: Any) -> Any:
    """One more projection, dense."""
    shapes = [network.population(name).shape for name in (source, target)]
    weights = np.full([int(np.prod(shape)) for shape in reversed(shapes)], 2)
    link = replace(
        network.projections[0],
        **{"source": source, "target": target, "name": "more"} | fields_of_link,
        operator=Dense(weights, *shapes),
    )
    return replace(network, projections=(*network.projections, link))


MISSING: dict[str, tuple[Callable[[], QuantizedNetwork], str]] = {
    "soft reset": (
        lambda: changed(FLAT, reset="subtract"),
        "population 'p0': resets by subtraction, lava-dl's neurons go to 0",
    ),
    "comparison": (lambda: changed(FLAT, comparison=">="), "'p0': fires at v >= threshold"),
    "rest": (lambda: changed(FLAT, refractory_period=2), "'p0': rests after a spike"),
    "thresholds": (
        lambda: changed(FLAT, threshold=np.array([1, 2, 3, 4, 5])),
        "'p0': 5 thresholds",
    ),
    "decays": (
        lambda: changed(IMAGES, v_decay=np.arange(50).reshape(2, 5, 5)),
        "'p0': decays differ within a channel",
    ),
    "bias": (
        lambda: changed(FLAT, bias_mantissa=np.full(5, 3), bias_exponent=np.full(5, 5)),
        "'p0': biases that are not multiples of 64",
    ),
    "large bias": (
        lambda: changed(FLAT, bias_mantissa=np.full(5, 4095), bias_exponent=np.full(5, 7)),
        "'p0': biases from 8,190 to 8,190 << 6 beyond 13 bits",
    ),
    "skip": (lambda: more(FLAT, "input", "p1"), "'p1' reads 'input', 'p0': a .net is a chain"),
    "loop": (lambda: more(FLAT, "p1", "p0", delay=1), "'p0' reads 'input', 'p1'"),
    "slow feedback": (
        lambda: more(FLAT, "p0", "p0", delay=2),
        "'p0': recurrent connections that take more than one step",
    ),
    "delayed with feedback": (
        lambda: more(linked(FLAT, delay=1), "p0", "p0", delay=1),
        "'p0': delays beside recurrent weights",
    ),
    "feedback on images": (
        lambda: more(IMAGES, "p0", "p0", delay=1),
        "'p0': a convolution beside other connections",
    ),
    "graded spikes": (lambda: linked(FLAT, 1, payload=3), "'w1': graded spikes between neurons"),
    "exponent": (
        lambda: linked(FLAT, exponent=7),
        "projection 'w0': weights from 384 to 384 do not fit 8 bits",
    ),
    "fractions": (lambda: linked(FLAT, exponent=-1), "weight exponent -1 leaves fractions"),
    "no weights": (
        lambda: linked(FLAT, operator=Dense(np.zeros((5, 8), np.int64), (8,), (5,))),
        "projection 'w0': all weights are 0",
    ),
    "wide images": (
        lambda: linked(IMAGES, exponent=7),
        "projection 'w0': weights from 256 to 256 do not fit 8 bits",
    ),
    "long delay": (lambda: linked(FLAT, delay=63), "'w0': delays above 62 steps"),
    "delayed images": (lambda: linked(IMAGES, delay=1), "'w0': a convolution with a delay"),
    "uneven padding": (
        lambda: plain_net(
            Convolution(np.full((1, 1, 2, 2), 2), (1, 3, 3), (1, 1), ((0, 1), (0, 1)), (1, 1))
        ),
        "'w0': padding that differs between two sides",
    ),
    "pooling": (
        lambda: plain_net(SparseMatrix.of(pool((1, 4, 4), (2, 2), (2, 2), (0, 0)))),
        "'w0': synapses listed one by one, as of pooling or scaling",
    ),
    "convolution late": (
        lambda: plain_net(
            Dense(np.full((9, 4), 2), (4,), (1, 3, 3)),
            Convolution(np.full((1, 1, 2, 2), 2), (1, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        ),
        "'p1': a convolution behind a dense layer",
    ),
    "groups": (
        lambda: plain_net(
            Convolution(
                np.full((128, 1, 1, 1), 2), (128, 2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 128
            )
        ),
        "number of groups of 128; Lava's Conv takes up to 127",
    ),
    "twice": (lambda: more(FLAT, "input", "p0"), "'more': two synapses between the same neurons"),
}

ROUNDABLE = ("bias", "large bias", "exponent", "fractions", "wide images")


@pytest.mark.parametrize("case", MISSING)
def test_what_a_net_cannot_hold_is_named(case: str) -> None:
    make, message = MISSING[case]
    exported = to_layers(make())
    assert any(message in reason for reason in exported.missing), exported.missing
    assert exported.roundable == (case in ROUNDABLE)


def test_everything_that_is_missing_is_named_at_once() -> None:
    network = changed(linked(FLAT, 1, exponent=7), reset="subtract", comparison=">=")
    exported = to_layers(network)
    assert len(exported.missing) == 3
    assert not exported.roundable


def thresholds(layers: Sequence[NetLayer]) -> list[int]:
    """Of layers of neurons."""
    return [
        there(layer.neuron).threshold for layer in layers if not isinstance(layer, FlattenLayer)
    ]


def test_a_population_that_never_spikes_has_a_threshold_out_of_reach() -> None:
    network = changed(FLAT, threshold=None)
    assert thresholds(to_layers(network).layers[1:]) == [SILENT, 100]
    assert thresholds(to_layers(network, {"p0"}).layers[1:]) == [NEVER_SPIKES - 1, 100]


def test_pooling_that_is_a_convolution_is_held(tmp_path: Path) -> None:
    summed = pool((3, 4, 4), (2, 2), (2, 2), (0, 0))
    network = plain_net(summed.with_weights(np.full(summed.weights.shape, 6)))
    written(tmp_path / "a.net", network)
    (_, conv) = read_net(tmp_path / "a.net")
    assert isinstance(conv, ConvLayer) and conv.groups == 3
