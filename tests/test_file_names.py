"""Names in files never lead out of the folder that a command writes to."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import open_run
from neurodeploy.data import load_dataset
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import DataSource
from neurodeploy.support.file_names import LONGEST, file_name
from neurodeploy.support.seals import sealed
from neurodeploy.target import load_target
from neurodeploy.workflow.export import deploy_network, export
from support.random_networks import random_network
from support.small_runs import make_recipe

pytestmark = pytest.mark.pictures

HOSTILE = (
    *("../../../X", "/etc/X", "..", ".hidden", "a/b", "a\\b", "a\0b", "", "x" * 300),
    "-$(rm) `ls`",
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("digits_conv", "digits_conv"),
        ("a+b-1.5", "a+b-1.5"),
        ("ünïcode_網", "ünïcode_網"),
        ("../../../X", "_.._.._X"),
        ("cost $5^$", "cost_5_"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("caf\udce9", "caf_"),
        ("é" * 60, "é" * 50),
        ("a" + "é" * 60, "a" + "é" * 49),
    ],
)
def test_what_a_text_becomes(text: str, name: str) -> None:
    assert file_name(text) == name


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_a_name_stays_in_its_folder(text: str) -> None:
    name = file_name(text)
    assert Path(name).name == name and not name.startswith(".")
    assert 0 < len(name.encode()) <= LONGEST
    assert not set("/\\\0 ") & set(name)
    assert file_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_takes_no_name_that_is_none_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError, match="cannot name a folder; give the run folder"),
        open_run(make_recipe(name=name), None),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", HOSTILE)
def test_networks_and_targets_of_any_name_are_deployed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    network = replace(
        random_network(1, ("lif", "lif", "lif"), ("dense", "dense"), "chain", 1), name=name
    )
    found = deploy_network(network, replace(load_target("loihi2"), name=name))
    assert found.path.parent == Path("deployments")
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner"]
    assert [entry.name for entry in Path().iterdir()] == ["deployments"]
    assert (found.network.name, read_deployment(found.path).target.name) == (name, name)


def test_a_name_in_run_json_does_not_lead_export_elsewhere(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "a/b/c"
    run = Path(shutil.copytree(workspace / "runs/digits_conv-001", inner / "run"))
    table = json.loads((run / "run.json").read_text())
    table["recipe"]["name"] = "../../../X"
    (run / "run.json").write_text(json.dumps(sealed(table)))
    monkeypatch.chdir(inner)
    assert export(run, "loihi2").path == Path("deployments/_.._.._X-loihi2-001")
    assert sorted(entry.name for entry in inner.iterdir()) == ["deployments", "run"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["../user01.aedat", "/etc/passwd", "..", "x" * 10_000])
def test_a_list_of_recordings_does_not_lead_out_of_its_folder(name: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"trials_to_{part}.txt").write_text(f"{name}\n")
    with pytest.raises(InputError, match=r"trials_to_train.txt: .* is not the name of a file"):
        load_dataset("dvs_gesture", DataSource(str(tmp_path)))
