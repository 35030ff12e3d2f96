"""Where data lies stays on the machine it lies on: network files carry its name and its hash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy.interchange.nir.network_in import contract_of
from neurodeploy.ir.contract import Contract, DataSource, InputCode, Semantics
from neurodeploy.support.files import sha256
from support.command import run_cli, run_json


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run trained and exported on ``secret/place/tiny.npz`` beside it."""
    folder = tmp_path_factory.mktemp("work")
    data = folder / "secret" / "place" / "tiny.npz"
    data.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 60, (60, 4, 4)) + 90 * (labels[:, None, None] == np.arange(4)[:, None])
    x, y = images.astype(np.uint8), labels
    np.savez(data, x_train=x[:45], y_train=y[:45], x_test=x[45:], y_test=y[45:])
    settings = {
        "data.name": "npz",
        "training.epochs": "1",
        "training.batch_size": "9",
        "network.channels": "[2]",
        "network.strides": "[1]",
        "network.pool": "[1]",
    }
    chosen = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run_json("train", "digits_conv", *chosen, "--data", str(data), "--out", "run", folder=folder)
    run_json("export", "run", "--target", "loihi2", "--out", "deployed", folder=folder)
    return folder


def test_only_the_name_of_the_data_is_in_the_files_that_are_handed_on(trained: Path) -> None:
    graph = nir.read(trained / "run" / "network.nir")
    contract = contract_of(graph, "file")
    assert contract is not None
    digest = sha256(trained / "secret" / "place" / "tiny.npz")
    assert contract.source == DataSource("tiny.npz", digest)
    for file in (*trained.glob("run/*.nir"), *trained.glob("deployed/*.nir")):
        assert b"secret" not in file.read_bytes(), file


def test_the_deployment_of_a_run_still_finds_its_data(trained: Path) -> None:
    place = trained / "secret" / "place" / "tiny.npz"
    manifest = json.loads((trained / "deployed" / "manifest.json").read_text())
    assert manifest["network"]["contract"]["source"]["path"] == str(place)
    found = run_json("simulate", "deployed", "--engine", "reference", folder=trained)
    assert found["samples"] == 15
    assert found["accuracy"] is not None


def test_a_file_alone_finds_data_beside_it_or_asks_for_them(trained: Path, tmp_path: Path) -> None:
    shutil.copy(trained / "run" / "network.nir", tmp_path / "theirs.nir")
    run_json("export", "theirs.nir", "--target", "loihi2", "--out", "d", folder=tmp_path)
    command = ("simulate", "d", "--engine", "reference")
    result = run_cli(*command, folder=tmp_path)
    assert result.exit_code == 2
    assert f"{tmp_path}/tiny.npz: the file of data set 'npz' does not exist" in result.output
    assert "--data FILE" in result.output
    data = trained / "secret" / "place" / "tiny.npz"
    assert run_json(*command, "--data", str(data), folder=tmp_path)["samples"] == 15
    shutil.copy(data, tmp_path / "tiny.npz")
    assert run_json(*command, folder=tmp_path)["samples"] == 15
    (tmp_path / "tiny.npz").write_bytes(b"another")
    assert "changed since it was used" in run_cli(*command, folder=tmp_path).output


@pytest.mark.parametrize(
    ("path", "written"),
    [("", ""), ("/home/me/cifar", "cifar"), ("/data/a.npz", "a.npz"), ("a.npz", "a.npz")],
)
def test_metadata_hold_the_last_part_of_a_place(path: str, written: str) -> None:
    semantics = Semantics(1e-4, "zero", ">")
    source = DataSource(path, "f" * 64, side=32, bins="count")
    contract = Contract(semantics, InputCode("direct"), 4, "last_v", "npz", source)
    read = Contract.from_metadata(contract.to_metadata(), "file")
    assert read.source == DataSource(written, "f" * 64, side=32, bins="count")
    assert contract.source.path == path
