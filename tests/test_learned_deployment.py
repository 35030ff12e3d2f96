"""What a learned deployment holds beside its integers: floats, NIR and ``.net`` of the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import float_network, read_deployment
from neurodeploy.artifacts.names import NIR_FILE, QUANTIZED_NIR
from neurodeploy.errors import CheckFailedError, InputError
from neurodeploy.interchange.netx.file import import_net
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.norse.compat import norse_available
from neurodeploy.support.files import sha256
from neurodeploy.workflow.learning.deployment import mapped
from support.command import run_cli, run_json
from support.manifests import edit_manifest, make_old

OLD = "deployments/digits_conv-loihi2-001"
needs_norse = pytest.mark.skipif(not norse_available(), reason="Norse is not installed")


@pytest.fixture(scope="module")
def learned(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After 100 rotated samples, which change what every layer answers."""
    out = tmp_path_factory.mktemp("learned") / "learnt"
    run_json(
        "learn", OLD, "--task", "drift", "--samples", "100", "--rate", "2^-4", "--held-out", "60",
        "--engine", "reference", "--no-ceiling", "--out", str(out), folder=workspace,
    )  # fmt: skip
    return out


@pytest.fixture
def older(workspace: Path, learned: Path, tmp_path: Path) -> Path:
    """The same as the first versions wrote it: with the NIR from before learning."""
    folder = Path(shutil.copytree(learned, tmp_path / "older"))
    shutil.copyfile(workspace / OLD / NIR_FILE, folder / NIR_FILE)
    (folder / QUANTIZED_NIR).unlink()

    def change(manifest: dict[str, Any]) -> None:
        del manifest["files"][QUANTIZED_NIR]
        manifest["files"][NIR_FILE] = sha256(folder / NIR_FILE)

    edit_manifest(folder, change)
    make_old(folder)
    return folder


@pytest.mark.parametrize("which", ["learned", "older"])
def test_the_float_network_is_the_learnt_integers(
    workspace: Path, which: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(which)
    deployment, before = read_deployment(folder), read_deployment(workspace / OLD)
    floats = float_network(deployment)
    for real, integers in zip(floats.projections, deployment.network.projections, strict=True):
        scale = deployment.network.population(integers.target).scale
        found = real.operator.weights * scale / (2.0**integers.exponent * integers.payload)
        np.testing.assert_allclose(found, integers.operator.weights, rtol=1e-12, atol=1e-9)
    changed = [
        not np.array_equal(a.operator.weights, b.operator.weights)
        for a, b in zip(deployment.network.projections, before.network.projections, strict=True)
    ]
    assert all(changed), "every layer learnt"


@pytest.mark.parametrize(
    ("engine", "which"),
    [
        ("float", "older"),
        pytest.param("norse", "learned", marks=needs_norse),
        pytest.param("float", "learned", marks=pytest.mark.slow),
        pytest.param("norse", "older", marks=[needs_norse, pytest.mark.slow]),
    ],
)
def test_engines_of_floats_run_what_was_learnt(
    workspace: Path, which: str, engine: str, request: pytest.FixtureRequest
) -> None:
    """Their spikes are the integers', but for potentials that lie on the threshold exactly."""
    folder: Path = request.getfixturevalue(which)
    options = ("--engines", f"reference,{engine}", "--samples", "60")
    said = run_cli("validate", str(folder), *options, folder=workspace).stdout
    results = f"results/reference-{engine}/parity.json"
    found = json.loads((folder / results).read_text())
    assert found["agreeing_predictions"] >= 59
    assert min(p["spike_agreement"] for p in found["populations"]) > 0.999
    said_of_old = run_cli("validate", OLD, *options, folder=workspace).stdout
    old = json.loads((workspace / OLD / results).read_text())
    assert min(p["spike_agreement"] for p in old["populations"]) < 0.999
    assert f"Engine {engine}: the learnt integers divided by their scales" in said
    assert "divided by their scales" not in said_of_old


def test_nir_files_hold_what_was_learnt(workspace: Path, learned: Path, tmp_path: Path) -> None:
    deployment = read_deployment(learned)
    assert {NIR_FILE, QUANTIZED_NIR} <= set(deployment.files)
    written = import_nir(learned / NIR_FILE).network
    for ours, theirs in zip(
        float_network(deployment).projections, written.projections, strict=True
    ):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)
    out = str(tmp_path / "again")
    again = run_json(
        "export", str(learned / QUANTIZED_NIR), "--target", "loihi2", "--out", out, folder=workspace
    )
    found = read_deployment(Path(again["deployment"])).network
    for ours, theirs in zip(deployment.network.projections, found.projections, strict=True):
        assert np.array_equal(
            ours.operator.weights * 2.0**ours.exponent,
            theirs.operator.weights * 2.0**theirs.exponent,
        )


def test_a_net_holds_what_was_learnt(workspace: Path, tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("run", "deployed", "learnt")]
    run, deployed, learnt = folders
    overrides = ("--set", "network.hidden=[24]", "--set", "training.epochs=2")
    run_json("train", "digits_mlp", *overrides, "--out", run, folder=workspace)
    run_json("export", run, "--target", "loihi2", "--netx", "--out", deployed, folder=workspace)
    run_json(
        "learn", deployed, "--task", "drift", "--samples", "60", "--rate", "2^-4", "--engine",
        "reference", "--no-ceiling", "--held-out", "20", "--out", learnt, folder=workspace,
    )  # fmt: skip
    deployment = read_deployment(Path(learnt))
    before = read_deployment(Path(deployed)).network
    network = import_net(deployment.net_file, steps=16, encoder="rate", levels=16).network
    for ours, theirs, old in zip(
        deployment.network.projections, network.projections, before.projections, strict=True
    ):
        assert np.array_equal(ours.operator.weights, theirs.operator.weights)
        assert not np.array_equal(ours.operator.weights, old.operator.weights)


def test_learning_again_has_no_floats_to_come_back_to(
    workspace: Path, learned: Path, tmp_path: Path
) -> None:
    """The network before quantisation is that of an earlier deployment, not of this one."""
    options = ("--samples", "10", "--held-out", "20", "--engine", "reference", "--no-ceiling")
    first = run_json("learn", OLD, *options, "--out", str(tmp_path / "a"), folder=workspace)
    again = run_json(
        "learn", str(learned), *options, "--out", str(tmp_path / "b"), folder=workspace
    )
    assert first["accuracy_float"] is not None and again["accuracy_float"] is None


def test_integers_that_never_fitted_are_not_said_to_come_from_learning(workspace: Path) -> None:
    deployment = read_deployment(workspace / OLD)
    first, *others = (p for p in deployment.network.populations if p.neuron is not None)
    high = replace(first.leaky, bias_exponent=np.full(first.shape, 8))
    populations = (
        *deployment.network.inputs,
        *(replace(first, neuron=high), *others),
    )
    network = replace(deployment.network, populations=populations)
    with pytest.raises(CheckFailedError, match="the learnt network would not fit loihi2"):
        mapped(network, deployment)
    with pytest.raises(InputError, match=r"its own integers do not fit loihi2.*bias exponent 8"):
        mapped(network, replace(deployment, network=network))
