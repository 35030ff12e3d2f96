"""Input layers of a .net that are driven by biases, and the first layers of a file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.netx.file import write_net
from neurodeploy.interchange.netx.layers import (
    ConvLayer,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    NetLayer,
    NetNeuron,
)
from neurodeploy.simulation.trace import WholeTrace
from support.command import run_cli, run_json
from support.narrow import group
from support.wording import refused

WEIGHT, BIAS, STEPS = 64, 16, 12


def neuron(threshold: int = 600) -> NetNeuron:
    return NetNeuron(np.array(1024), np.array(128), threshold)


def net_file(folder: Path, weight: int = WEIGHT, bias: int = BIAS) -> Path:
    """Input block, convolution, dense; as small as they come."""
    rng = np.random.default_rng(0)
    kernel, matrix = (2 * rng.integers(-60, 60, s) for s in ((2, 1, 3, 3), (3, 8)))
    layers: list[NetLayer] = [
        InputLayer((1, 4, 4), neuron(), weight, bias),
        ConvLayer((2, 2, 2), neuron(90), kernel, (1, 1), (0, 0), (1, 1), 1),
        FlattenLayer(),
        DenseLayer(neuron(90), matrix),
    ]
    write_net(folder / "a.net", layers, STEPS)
    return folder / "a.net"


def as_lava_dl_loads(x: np.ndarray, weight: int = WEIGHT, bias: int = BIAS) -> np.ndarray:
    """The last lines of lava-dl's PilotNet data set."""
    return (2 * weight * x - weight + bias).astype(np.int32)


def images(count: int = 20) -> np.ndarray:
    """Real values from 0 to 1, as 8-bit pixels over 255 are, both ends among them."""
    x = np.random.default_rng(1).integers(0, 256, (count, 1, 4, 4))
    x[0, 0, 0, :2] = 0, 255
    return x / 255


def potentials(trace: WholeTrace) -> np.ndarray:
    found = trace["layer0"].v
    assert found is not None
    return found


def test_real_values_and_biases_drive_the_block_as_lava_dl_does(tmp_path: Path) -> None:
    """v = (1 - 128/4096) v + bias 2^6 and back to 0 above the threshold, stepped by hand."""
    network = nd.import_net(net_file(tmp_path), biases=True, steps=STEPS)
    x = images()
    biases = as_lava_dl_loads(x)
    assert (biases.min(), biases.max()) == (BIAS - WEIGHT, BIAS + WEIGHT)
    v, expected = np.zeros(x.shape, np.int64), []
    for _ in range(STEPS):
        v = np.sign(v) * (np.abs(v) * (4096 - 128) >> 12) + biases * 64
        v[v > 600 << 6] = 0
        expected.append(v)
    for given in (x, biases, biases.astype(np.int8)):
        np.testing.assert_array_equal(
            potentials(nd.simulate(network, given)), np.stack(expected, 1)
        )
    # The two ways of saying the same: integers times the weight are what they were.
    plain = nd.import_net(net_file(tmp_path), steps=STEPS, encoder="direct", levels=1)
    ends = np.array([0, 1]).repeat(16).reshape(2, 1, 4, 4)
    first, second = (
        potentials(nd.simulate(plain, ends)),
        potentials(nd.simulate(network, ends * WEIGHT + BIAS)),
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.lava
@pytest.mark.parametrize(
    ("engine", "samples"),
    [("netx", "t.npz"), pytest.param("lava", "x.npz", marks=pytest.mark.slow)],
)
def test_lava_lava_dl_and_the_script_run_them_bit_for_bit(
    tmp_path: Path, engine: str, samples: str
) -> None:
    net_file(tmp_path)
    how = ("--target", "loihi2", "--steps", str(STEPS), "--biases", "--out", "d")
    run_json("export", "a.net", *how, folder=tmp_path)
    x = images(5)
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "b.npz", x=as_lava_dl_loads(x))
    engines = ("--engines", f"reference,{engine}", "--data", "x.npz")
    assert run_json("validate", "d", *engines, folder=tmp_path)["mismatches"] == 0
    for given in ("x.npz", "b.npz"):
        trace = ("--engine", "reference", "--data", given, "--trace", "t.npz")
        run_json("simulate", "d", *trace, folder=tmp_path)
        with np.load(tmp_path / "t.npz") as arrays:
            expected = arrays["layer3.s"]
            assert 0 < expected.mean() < 1
    command = [sys.executable, "d/run_netx.py", samples, "--out", "o.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_array_equal(found["spikes"].reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (images() * 1.01, "floats from 0 to 1.01; real values that drive biases are from 0 to 1"),
        (images() - 0.1, "real values that drive biases are from 0 to 1"),
        (images() * np.nan, "real values that drive biases are from 0 to 1"),
        (np.full((1, 1, 4, 4), 81), "from 81 to 81; biases of this input layer are integers "),
        (np.full((1, 1, 4, 4), -49), "integers from -48 to 80, or floats from 0 to 1"),
        (np.full((1, 1, 4, 4), "a"), "x is <U1"),
    ],
)
def test_what_drives_no_bias_is_refused(tmp_path: Path, x: Any, message: str) -> None:
    network = nd.import_net(net_file(tmp_path), biases=True, steps=STEPS)
    with pytest.raises(InputError, match=re.escape(message)):
        nd.simulate(network, x)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"levels": 255}, "--biases take 129 values.*leave --levels out"),
        ({"encoder": "events"}, "--biases are there at every step; state --encoder direct"),
    ],
)
def test_what_contradicts_biases_is_refused(
    tmp_path: Path, stated: dict[str, Any], message: str
) -> None:
    path = net_file(tmp_path)
    with refused(UnsupportedError, message, by="export"):
        nd.import_net(path, biases=True, steps=STEPS, **stated)


def test_biases_need_a_block_that_they_drive(tmp_path: Path) -> None:
    with refused(UnsupportedError, "--biases needs an input weight above 0, found -2", by="export"):
        nd.import_net(net_file(tmp_path, weight=-2), biases=True, steps=STEPS)
    write_net(tmp_path / "b.net", [DenseLayer(neuron(), np.full((2, 3), 2))], STEPS)
    with refused(UnsupportedError, "no input layer driven through its biases", by="export"):
        nd.import_net(tmp_path / "b.net", biases=True, steps=STEPS)


# --- the first layers ---


def with_pooling_at_its_end(folder: Path) -> Path:
    path = net_file(folder)
    with h5py.File(path, "a") as file:
        group(file, "layer").create_group("4")["type"] = "average"
    return path


def test_the_first_layers_are_run_where_the_last_is_not_supported(tmp_path: Path) -> None:
    path = with_pooling_at_its_end(tmp_path)
    message = "layer 4 .*lava-dl itself cannot load averaging layers.*--layers 4 takes those before"
    with refused(UnsupportedError, message, by="export"):
        nd.import_net(path, biases=True, steps=STEPS)
    found = nd.import_net(path, layers=4, biases=True, steps=STEPS)
    assert [p.name for p in found.populations] == ["input", "layer0", "layer1", "layer3"]
    two = nd.import_net(path, layers=2, biases=True, steps=STEPS)
    assert two.output == "layer1"
    x = images(4)
    first, second = (nd.simulate(n, x)["layer1"].spikes for n in (found, two))
    np.testing.assert_array_equal(first, second)
    assert first.any()


@pytest.mark.lava
def test_a_deployment_of_the_first_layers_has_their_file(tmp_path: Path) -> None:
    with_pooling_at_its_end(tmp_path)
    how = ("--target", "loihi2", "--steps", str(STEPS), "--encoder", "direct", "--levels", "9")
    run_json("export", "a.net", *how, "--layers", "2", "--out", "d", folder=tmp_path)
    with h5py.File(tmp_path / "d" / "network.net") as file:
        assert set(group(file, "layer")) == {"0", "1"}
    engines = ("--engines", "reference,netx", "--random", "3", "--rate", "0.5")
    assert run_json("validate", "d", *engines, folder=tmp_path)["mismatches"] == 0


@pytest.mark.parametrize("layers", [0, 6, -1])
def test_as_many_layers_as_a_file_has(tmp_path: Path, layers: int) -> None:
    path = with_pooling_at_its_end(tmp_path)
    with refused(InputError, rf"--layers {layers}: .* has 5 layers; give 1 to that", by="export"):
        nd.import_net(path, layers=layers, steps=STEPS, encoder="events")


def test_layers_and_biases_are_said_of_a_net_only(tmp_path: Path) -> None:
    (tmp_path / "a.nir").write_bytes(b"")
    for option in (("--layers", "2"), ("--biases",)):
        done = run_cli("export", "a.nir", "--target", "loihi2", *option, folder=tmp_path)
        assert done.exit_code == 2
        assert f"{option[0]}" in done.output and "is for a .net" in done.output
