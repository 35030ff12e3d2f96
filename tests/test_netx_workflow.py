"""lava-dl's .net from the command line: exported, deployed, simulated, and run by its script."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurodeploy.interchange.netx.file import write_net
from neurodeploy.interchange.netx.network_out import to_layers
from neurodeploy.ir.operators import Dense
from neurodeploy.lava.compat import lava_available
from support.command import run_cli, run_json
from support.manifests import edit_manifest
from support.narrow import dataset
from support.net_networks import plain_net, random_net, slayer_files
from support.quick import quick


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits_mlp, trained for an epoch and exported for lava-dl, and a recurrent .net."""
    folder = tmp_path_factory.mktemp("netx")
    run_json("train", "digits_mlp", "--set", "training.epochs=1", folder=folder)
    exported = run_json("export", "--target", "loihi1", "--netx", "--out", "mlp", folder=folder)
    assert exported["netx"]["file"] == "network.net"
    assert exported["netx"]["missing"] == []
    network = random_net(15, ("recurrent", "delays"), 6, 1)
    write_net(folder / "recurrent.net", to_layers(network).layers, 6)
    return folder


def test_digits_mlp_is_held_when_rounded_for_it(folder: Path) -> None:
    files = {entry.name for entry in (folder / "mlp").iterdir()}
    assert {"network.nir", "network.net", "run_netx.py"} <= files
    manifest = json.loads((folder / "mlp" / "manifest.json").read_text())
    assert {"network.net", "run_netx.py"} <= set(manifest["files"])
    inspected = run_cli("inspect", "mlp", folder=folder).output
    assert "For lava-dl: network.net, run_netx.py" in inspected
    with h5py.File(folder / "mlp" / "network.net") as file:
        assert dataset(file, "layer/2/neuron/iDecay")[()] == 4096
        # The readout never spikes: the highest threshold, which its v provably stays below.
        assert dataset(file, "layer/3/neuron/vThMant")[()] == 2**17 - 1


def test_without_rounding_it_says_what_is_missing_and_what_helps(folder: Path) -> None:
    result = run_cli("export", "--target", "loihi1", "--out", "fine", folder=folder)
    assert result.exit_code == 0
    (line,) = (line for line in result.output.splitlines() if "network.net" in line)
    assert re.fullmatch(
        r"No network\.net for lava-dl: \d+ reasons?, listed by neurodeploy inspect fine; "
        r"--netx rounds to integers that it can hold",
        line,
    )
    inspected = run_cli("inspect", "fine", folder=folder).output
    assert "population 'lif1': biases that are not multiples of 64" in inspected
    assert not (folder / "fine" / "network.net").exists()
    refused = run_cli("simulate", "fine", "--engine", "netx", folder=folder)
    if lava_available():
        assert refused.exit_code == 2
        assert "has no network.net for lava-dl:\n  population 'lif1'" in refused.output
    assert "Not for lava-dl: population 'lif1'" in run_cli("inspect", "fine", folder=folder).output


def test_digits_conv_says_why_not(workspace: Path) -> None:
    result = run_json("export", "--target", "loihi2", "--out", "why", folder=workspace)
    missing = "\n".join(result["netx"]["missing"])
    assert "population 'lif1': resets by subtraction" in missing
    assert "population 'lif1': fires at v >= threshold" in missing
    refused = run_cli("export", "--target", "loihi2", "--netx", "--out", "no", folder=workspace)
    assert refused.exit_code == 1
    assert "does not fit a .net for lava-dl:\n  population 'lif1': resets by" in refused.output
    assert not (workspace / "no").exists()


@pytest.mark.lava
def test_simulate_and_validate_run_lava_dl(folder: Path) -> None:
    found = [
        run_json("simulate", "mlp", "--samples", "4", "--engine", engine, folder=folder)
        for engine in ("netx", "reference")
    ]
    for key in ("accuracy", "samples", "spikes_per_sample", "wraps", "saturations"):
        assert found[0][key] == found[1][key]
    report = run_json(
        "validate", "mlp", "--engines", "reference,netx", "--samples", "4", folder=folder
    )
    assert report["mismatches"] == 0
    # 64 inputs, then u, v and s of 256 and 10 neurons, over 16 steps.
    assert report["compared"] == 4 * 16 * (64 + 3 * (256 + 10))


@pytest.mark.lava
def test_validate_names_the_first_difference(folder: Path, tmp_path: Path) -> None:
    """The same deployment with one weight of its .net changed, and the hash with it."""
    from neurodeploy.support.files import sha256

    copy = tmp_path / "copy"
    shutil.copytree(folder / "mlp", copy)
    with h5py.File(copy / "network.net", "a") as file:
        weights = dataset(file, "layer/2/weight")
        weights[5] = -weights[5]
    renewed = {"network.net": sha256(copy / "network.net")}
    edit_manifest(copy, lambda manifest: manifest["files"].update(renewed))
    arguments = ("--engines", "reference,netx", "--samples", "2")
    result = run_cli("validate", str(copy), *arguments, folder=tmp_path)
    assert result.exit_code == 1
    assert "First divergence: population 'lif1', sample 0, step 0, neuron [5]" in result.output


# --- a .net from elsewhere ---


def test_what_a_net_leaves_open_has_to_be_stated(folder: Path) -> None:
    export = ("export", "recurrent.net", "--target", "loihi2")
    for options, message in (
        ((), "state\n  --steps: time steps per sample\n  --encoder: events"),
        (("--steps", "4"), "state\n  --encoder: events"),
        (("--steps", "4", "--encoder", "direct"), "state\n  --levels: the largest integer"),
        (("--weight-bits", "4"), "--weight-bits quantises, but a .net holds integers"),
        (("--reset", "subtract"), "--reset subtract, but lava-dl's neurons have v = 0"),
        (("--compare", "ge"), "--compare ge, but lava-dl's neurons have v > threshold"),
        (("--input-shape", "3,x"), "expected positive numbers such as 1,28,28"),
    ):
        result = run_cli(*export, *options, folder=folder)
        assert result.exit_code == 2
        assert message in result.output
    assert not (folder / "deployments" / "recurrent-loihi2-001").exists()


def test_a_net_is_deployed_with_its_integers(folder: Path) -> None:
    options = ("--steps", "6", "--encoder", "events", "--out", "rec")
    exported = run_json("export", "recurrent.net", "--target", "loihi2", *options, folder=folder)
    assert exported["netx"]["file"] == "network.net"
    assert (folder / "rec" / "network.net").read_bytes() == (folder / "recurrent.net").read_bytes()
    assert not (folder / "rec" / "network.nir").exists()
    inspected = run_cli("inspect", "rec", folder=folder).output
    assert "deployment of recurrent.net on loihi2" in inspected
    floats = ("simulate", "rec", "--engine", "float", "--random", "2")
    refused = run_cli(*floats, folder=folder)
    assert refused.exit_code == 2
    assert "no network in floats to simulate" in refused.output
    found = run_json(*floats[:2], "--engine", "reference", "--random", "4", folder=folder)
    assert found["samples"] == 4


def test_inspect_describes_a_net(folder: Path) -> None:
    result = run_cli("inspect", "recurrent.net", folder=folder)
    assert result.exit_code == 0
    assert "lava-dl network (.net)" in result.output
    assert "recurrent" in result.output and "delays 0 to 62" in result.output
    assert "state --steps, --encoder and --decode" in result.output


def test_limits_of_the_target_are_checked(tmp_path: Path) -> None:
    network = plain_net(Dense(np.full((3000, 4), 2), (4,), (3000,)))
    write_net(tmp_path / "a.net", to_layers(network).layers, 4)
    with h5py.File(tmp_path / "a.net", "a") as file:
        del file["layer/1/neuron/vDecay"]
        file["layer/1/neuron/vDecay"] = 4096
    options = ("--steps", "4", "--encoder", "events")
    result = run_cli("export", "a.net", "--target", "loihi1", *options, folder=tmp_path)
    assert result.exit_code == 1
    assert "a.net does not fit loihi1" in result.output
    assert "v_decay 4,096, loihi1 allows 0 to 4,095" in result.output


# --- the script ---


def run_script(deployment: Path, samples: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, deployment / "run_netx.py", samples, *more],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_script_needs_nothing_of_ours(folder: Path) -> None:
    tree = ast.parse((folder / "mlp" / "run_netx.py").read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("neurodeploy")]


@pytest.mark.lava
def test_the_script_finds_what_the_reference_found(folder: Path, tmp_path: Path) -> None:
    trace = ("--trace", str(tmp_path / "t.npz"), "--trace-state", "--samples", "3")
    run_json("simulate", "mlp", "--engine", "reference", *trace, folder=folder)
    with np.load(tmp_path / "t.npz") as arrays:
        expected, v = dict(arrays), arrays["readout.v"][:, -1]
    expected["readout.s"][1, 2, 3] ^= 1
    np.savez(tmp_path / "t.npz", **expected, y=v.argmax(axis=1))
    done = run_script(folder / "mlp", tmp_path / "t.npz", "--out", str(tmp_path / "o.npz"))
    assert "Running 3 samples on the CPU" in done.stdout, done.stderr
    assert "Accuracy 100.00%" in done.stdout
    # The readout never spikes; the one spike that was written into the trace is found.
    assert "1 of 480 output spikes differ from those in the file" in done.stdout
    assert done.returncode == 1
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_array_equal(found["v"], v)
        np.testing.assert_array_equal(found["classes"], v.argmax(axis=1))


@pytest.mark.lava
@pytest.mark.parametrize("name", quick(["recurrent", "driven"], "driven"))
def test_the_script_rebuilds_what_it_cannot_reset(folder: Path, tmp_path: Path, name: str) -> None:
    file = folder / "recurrent.net" if name == "recurrent" else slayer_files(tmp_path)["driven"]
    encoder, levels = ("events", 1) if name == "recurrent" else ("direct", 32)
    stated = ("--steps", "6", "--encoder", encoder, "--levels", str(levels), "--out", "d")
    run_json("export", str(file), "--target", "loihi2", *stated, folder=tmp_path)
    settings = json.loads((tmp_path / "d" / "manifest.json").read_text())["netx"]["settings"]
    shape = settings["sample_shape"] if settings["static"] else (6, *settings["sample_shape"])
    x = np.random.default_rng(5).integers(0, levels + 1, (2, *shape))
    np.savez(tmp_path / "x.npz", x=x)
    trace = ("--data", "x.npz", "--trace", "t.npz")
    run_json("simulate", "d", "--engine", "reference", *trace, folder=tmp_path)
    done = run_script(tmp_path / "d", tmp_path / "t.npz")
    assert "\n0 of " in done.stdout and done.returncode == 0, done.stdout + done.stderr
    with np.load(tmp_path / "t.npz") as arrays:
        assert arrays[f"{settings['output']}.s"].any()


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_the_script_imports_nothing_from_its_folder(
    folder: Path, tmp_path: Path, where: str
) -> None:
    copy = Path(shutil.copytree(folder / "mlp", tmp_path / "mlp"))
    for module in ("__future__", "argparse", "json", "pathlib", "numpy", "dataclasses", "h5py"):
        (copy / f"{module}.py").write_text("raise SystemExit('planted')")
    (copy / "lava").mkdir()
    (copy / "lava/__init__.py").write_text("raise SystemExit('planted')")
    script = ["run_netx.py"] if where == "here" else [str(copy / "run_netx.py")]
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 16, 8, 8), np.uint8))
    command = [sys.executable, *script, str(tmp_path / "x.npz")]
    place = copy if where == "here" else tmp_path
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert "x has shape" in done.stderr and "planted" not in done.stderr


def test_the_script_refuses_what_was_edited(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder / "mlp", tmp_path / "mlp"))
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace('"decode": "last_v"', '"decode": "sum_v"'))
    assert manifest != (copy / "manifest.json").read_text()
    done = run_script(copy, tmp_path / "x.npz")
    message = "changed since the export; export it again"
    assert done.stderr == f"{copy / 'manifest.json'}: {message}\n"
    (copy / "manifest.json").write_text(manifest)
    with (copy / "network.net").open("ab") as file:
        file.write(b" ")
    assert run_script(copy, tmp_path / "x.npz").stderr == f"{copy / 'network.net'}: {message}\n"


def test_the_script_refuses_samples_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 16, 8, 8), np.uint8))
    done = run_script(folder / "mlp", tmp_path / "x.npz")
    assert done.returncode == 1
    assert "x has shape (2, 16, 8, 8); expected (N, 16, 1, 8, 8)" in done.stderr
    assert "Traceback" not in done.stderr
    np.savez(tmp_path / "x.npz", z=np.zeros(2))
    assert (
        "holds neither 'x' nor 'input.s'" in run_script(folder / "mlp", tmp_path / "x.npz").stderr
    )
