"""The commands as a user types them: the path without arguments, JSON, and every bad input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

from support.command import run_cli, run_json


@pytest.mark.pictures
def test_each_command_takes_the_newest_output_and_says_what_is_next(workspace: Path) -> None:
    exported = run_cli("export", "--target", "loihi2", folder=workspace)
    assert exported.exit_code == 0
    assert "Exported runs/digits_conv-001 to loihi2" in exported.output
    written = re.search(r"Wrote (deployments/digits_conv-loihi2-\d+)/", exported.output)
    assert written
    assert "Next: neurodeploy simulate" in exported.output
    simulated = run_cli("simulate", "--engine", "reference", folder=workspace)
    assert f"Deployment {written.group(1)}" in simulated.output
    assert "Next: neurodeploy validate" in simulated.output
    raster = re.search(r"Wrote (\S+raster.png)", simulated.output)
    assert raster and (workspace / raster.group(1)).stat().st_size > 1000
    shutil.rmtree(workspace / written.group(1))


@pytest.mark.lava
def test_simulate_lava_and_reference_find_the_same(workspace: Path) -> None:
    lava = run_json("simulate", "--samples", "12", folder=workspace)
    reference = run_json("simulate", "--samples", "12", "--engine", "reference", folder=workspace)
    fused = run_json("simulate", "--samples", "12", "--engine", "lava-fused", folder=workspace)
    assert (lava["engine"], reference["engine"]) == ("lava", "reference")
    for key in ("accuracy", "samples", "spikes_per_sample", "wraps", "saturations"):
        assert lava[key] == reference[key] == fused[key]
    assert lava["samples"] == 12
    assert lava["samples_per_second"] == pytest.approx(lava["samples"] / lava["seconds"])


@pytest.mark.lava
def test_validate_finds_no_mismatch(workspace: Path) -> None:
    report = run_json("validate", "--samples", "20", folder=workspace)
    assert report["mismatches"] == 0
    assert report["first_divergence"] is None
    # input 64, lif1 and lif2 with u, v and s, T = 4: every value was looked at.
    sizes = {p["name"]: p["compared"] for p in report["populations"]}
    assert sizes["input"] == 20 * 4 * 64
    assert report["compared"] == sum(sizes.values())
    assert (workspace / report["picture"]).is_file()


def test_validate_takes_64_samples_and_compares_float_by_spikes(workspace: Path) -> None:
    report = run_json("validate", "--engines", "float,reference", folder=workspace)
    assert report["samples"] == 64
    assert not report["exact"]
    assert 0.9 < min(p["spike_agreement"] for p in report["populations"]) <= 1
    assert set(report["accuracies"]) == {"float", "reference"}


@pytest.mark.lava
def test_validate_exits_with_1_and_names_the_first_divergence(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodeploy.neurons.dynamics import FixedStepper

    step = FixedStepper.step

    def faulty(self, activation):
        fires = step(self, activation)
        if self.threshold is not None:
            self.v[0].view(-1)[7] += 1
        return fires

    monkeypatch.setattr(FixedStepper, "step", faulty)
    result = run_cli("validate", "--samples", "2", folder=workspace)
    assert result.exit_code == 1
    assert "DIFFER" in result.output
    assert (
        "First divergence: population 'lif1', sample 0, step 0, neuron [0, 0, 7]" in result.output
    )


def test_random_and_file_input_with_trace(workspace: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.npz"
    run_json(
        "simulate", "--engine", "reference", "--random", "5", "--rate", "0.3", "--seed", "1",
        "--trace", str(trace), "--trace-state", folder=workspace,
    )  # fmt: skip
    with np.load(trace) as arrays:
        assert arrays["input.s"].shape == (5, 4, 1, 8, 8)
        assert arrays["lif1.s"].dtype == np.uint8
        assert {f"{name}.{what}" for name in ("lif1", "lif2") for what in "suv"} <= set(arrays)
        spikes, x = arrays["lif2.s"], arrays["input.s"]
    data = tmp_path / "same.npz"
    np.savez(data, x=x)
    run_json(
        "simulate", "--engine", "reference", "--data", str(data), "--trace", str(trace),
        folder=workspace,
    )  # fmt: skip
    with np.load(trace) as arrays:
        np.testing.assert_array_equal(arrays["lif2.s"], spikes)
        assert "lif2.u" not in arrays
    floats = run_json(
        "simulate", "--engine", "float", "--data", str(data), "--trace", str(trace),
        "--trace-state", folder=workspace,
    )  # fmt: skip
    assert floats["accuracy"] is None
    with np.load(trace) as arrays:
        assert arrays["lif1.v"].dtype == np.float64


def test_strict_refuses_overflow(workspace: Path, tmp_path: Path) -> None:
    def lif(size: int) -> nir.LIF:
        ones = np.ones(size)
        return nir.LIF(tau=1e9 * ones, r=1e13 * ones, v_leak=0 * ones, v_threshold=1e3 * ones)

    graph = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([4])}),
            "w": nir.Linear(-np.ones((3, 4))),
            "lif": lif(3),
            "output": nir.Output({"output": np.array([3])}),
        },
        [("input", "w"), ("w", "lif"), ("lif", "output")],
    )
    nir.write(tmp_path / "sinking.nir", graph)
    semantics = ["--dt", "1e-4", "--reset", "zero", "--compare", "gt", "--integrator", "euler"]
    exported = run_json(
        "export", str(tmp_path / "sinking.nir"), "--target", "loihi2", "--steps", "400", *semantics,
        "--out", str(tmp_path / "sinking"), folder=tmp_path,
    )  # fmt: skip
    arguments = ["simulate", exported["deployment"], "--engine", "reference", "--random", "2"]
    arguments += ["--rate", "1"]
    counted = run_json(*arguments, folder=tmp_path)
    assert counted["saturations"]["lif"] > 0
    strict = run_cli(*arguments, "--strict", folder=tmp_path)
    assert strict.exit_code == 1
    assert "population 'lif'" in strict.output and "saturations" in strict.output


def test_inspect_describes_runs_deployments_and_nir(workspace: Path) -> None:
    run = run_cli("inspect", "runs/digits_conv-001", folder=workspace)
    assert "test accuracy" in run.output
    graph = run_cli("inspect", "runs/digits_conv-001/network.nir", folder=workspace)
    assert "Conv2d" in graph.output
    assert "fires at v >= threshold, reset subtract" in graph.output
    deployment = run_cli("inspect", "deployments/digits_conv-loihi2-001", folder=workspace)
    assert "loihi2" in deployment.output and "cores" in deployment.output


def test_lists_and_doctor(tmp_path: Path) -> None:
    assert {"digits_conv", "digits_mlp"} <= set(run_json("models", folder=tmp_path))
    assert {"loihi1", "loihi2"} <= set(run_json("targets", folder=tmp_path))
    found = run_cli("doctor", "--json", folder=tmp_path)
    names = {item["name"] for item in json.loads(found.stdout)["findings"]}
    assert {"python", "torch", "lava-nc"} <= names


BAD = {
    "recipe name": (["train", "digit_conv"], "did you mean 'digits_conv'?"),
    "recipe file": (["train", "none.toml"], "recipe 'none.toml': no such file"),
    "recipe key": (["train", "--set", "neuron.thau=2"], "unknown key 'thau'; did you mean 'tau'?"),
    "recipe value": (["train", "--set", "neuron.tau=0.5"], "tau is in steps and must be above 1"),
    "recipe toml": (["train", "bad.toml"], "bad.toml: not valid TOML"),
    "data set": (["train", "--set", "data.name=digit"], "did you mean 'digits'?"),
    "device": (["train", "--device", "nope"], "device 'nope' cannot be used"),
    "unwritable": (["train", "--out", "bad.toml/run"], "cannot be written"),
    "resume nothing": (["train", "--resume", "nowhere"], "nowhere"),
    "no run": (["export", "--target", "loihi2"], "make one with neurodeploy train"),
    "target": (["export", "net.nir", "--target", "loihi3"], "did you mean 'loihi"),
    "nir absent": (["export", "none.nir", "--target", "loihi2"], "none.nir: no such file"),
    "nir corrupt": (
        ["export", "net.nir", "--target", "loihi2"],
        "net.nir: not a readable NIR file",
    ),
    "no deployment": (["simulate", "--engine", "reference"], "make one with neurodeploy export"),
    "not a deployment": (["validate", ".", "--engines", "float,reference"], "not a deployment"),
    "engine": (["simulate", "--engine", "referense"], "did you mean 'reference'?"),
    "same engine": (["validate", "--engines", "float"], "give two engines"),
    "trace state": (["simulate", "--engine", "float", "--trace-state"], "needs --trace"),
    "inspect": (["inspect", "bad.toml"], "neither a .nir file"),
    "inspect absent": (["inspect", "none"], "no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_exit_2(case: str, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    (tmp_path / "bad.toml").write_text("name = [unclosed")
    (tmp_path / "net.nir").write_bytes(b"\x89HDF but not really")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run_cli(*arguments, folder=tmp_path)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.count("Error:") == 1
    assert "Traceback" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_network_that_does_not_fit_lists_all_violations_and_exits_1(workspace: Path) -> None:
    result = run_cli("export", "--target", "loihi1", "--out", "does-not-fit", folder=workspace)
    assert result.exit_code == 1
    for violated in ("binary spikes only", "reset to zero only", "v > threshold only"):
        assert violated in result.output
    assert not (workspace / "does-not-fit").exists()


def test_an_unfinished_run_is_not_exported(workspace: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "digits_conv-001"
    shutil.copytree(workspace / "runs" / "digits_conv-001", run)
    (run / "run.json").unlink()
    newest = run_cli("export", "--target", "loihi2", folder=tmp_path)
    assert newest.exit_code == 2 and "no finished training run" in newest.output
    named = run_cli("export", str(run), "--target", "loihi2", folder=tmp_path)
    assert named.exit_code == 2 and "neurodeploy train --resume" in named.output


def test_a_damaged_deployment_is_refused_by_file(workspace: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workspace / "deployments" / "digits_conv-loihi2-001", copy)
    with (copy / "integers.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    result = run_cli("simulate", str(copy), "--engine", "reference", folder=tmp_path)
    assert result.exit_code == 2
    assert "integers.safetensors: changed since the export" in result.output


def test_a_deployment_without_data_set_asks_for_samples(workspace: Path, tmp_path: Path) -> None:
    source = workspace / "runs" / "digits_conv-001" / "network.nir"
    graph = nir.read(source)
    graph.metadata["neurodeploy"]["dataset"] = ""
    nir.write(tmp_path / "net.nir", graph)
    run_json("export", "net.nir", "--target", "loihi2", "--out", "net", folder=tmp_path)
    result = run_cli("simulate", "net", "--engine", "reference", folder=tmp_path)
    assert result.exit_code == 2
    assert "--data FILE.npz or --random N" in result.output


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from neurodeploy.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "heavy = {'torch', 'lava', 'matplotlib', 'sklearn', 'scipy', 'nir'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_reference_is_current() -> None:
    page = Path(__file__).parent.parent / "docs" / "commands.md"
    sys.path.insert(0, str(page.parent))
    try:
        from make_commands import commands_page
    finally:
        sys.path.pop(0)
    assert page.read_text() == commands_page(), "run `make docs`"


def test_a_message_is_short_however_long_what_it_names(tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    text = (Path(__file__).parents[1] / "models/digits_mlp.toml").read_text()
    recipe.write_text(text.replace('family = "mlp"', f'family = "{"x" * 100_000}"'))
    done = run_cli("train", str(recipe), folder=tmp_path)
    assert done.exit_code == 2 and "xxx" in done.output and len(done.output) < 2000
