"""Results that are shown are those of the deployment, as they were written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.results import read_results, write_result
from neurodeploy.artifacts.simulations import read_activity
from neurodeploy.errors import InputError
from neurodeploy.reporting.report import write_report
from neurodeploy.support.seals import SEAL
from neurodeploy.workflow.samples import choose_samples
from neurodeploy.workflow.simulate import simulate
from neurodeploy.workflow.validate import validate
from support.manifests import edited, make_old

SUMMARY, PARITY = "results/reference/summary.json", "results/reference-float/parity.json"


@pytest.fixture(scope="module")
def whole(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that was simulated and validated on four samples."""
    path = tmp_path_factory.mktemp("results") / "d"
    source = workspace / "deployments/digits_conv-loihi2-001"
    shutil.copytree(source, path, ignore=shutil.ignore_patterns("results"))
    deployment = read_deployment(path)
    samples = choose_samples(deployment.network, default_count=4)
    found = simulate(deployment, samples, "reference", progress=False)
    compared = validate(deployment, samples, ("reference", "float"), progress=False)
    assert found.digest == compared.digest == deployment.digest
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "d"))


def reported(path: Path) -> str:
    return write_report(read_deployment(path)).read_text(encoding="utf-8")


def test_results_hold_the_digest_their_files_and_a_seal(whole: Path) -> None:
    deployment = read_deployment(whole)
    for file, beside in (
        (
            SUMMARY,
            [
                *("activity.safetensors", "predictions.csv", "samples.safetensors"),
                *("raster.png", "raster.svg"),
            ],
        ),
        (PARITY, ["parity.png", "parity.svg"]),
    ):
        values = json.loads((whole / file).read_text())
        assert values["digest"] == deployment.digest
        assert list(values["files"]) == beside
        (result,), ignored = read_results(deployment, Path(file).name)
        assert (result.values, ignored) == (values, [])
        assert all(result.beside(name) == (whole / file).with_name(name) for name in beside)
    assert "Ignored" not in reported(whole)


@pytest.mark.parametrize("name", [SUMMARY, PARITY])
def test_no_edited_result_is_accepted(copy: Path, name: str) -> None:
    """Every entry once: changed, left out, and one added beside it."""
    file = copy / name
    values = json.loads(file.read_text())
    # One population says of all what becomes of it.
    values["populations"] = values.get("populations", [])[:1]
    values["predictions"] = {}
    deployment, count = read_deployment(copy), 0
    for changed in edited(values):
        file.write_text(json.dumps(changed))
        found, (reason,) = read_results(deployment, file.name)
        assert found == [] and reason.startswith(name)
        count += 1
    assert count > 50


def test_an_edited_accuracy_is_on_no_card(copy: Path) -> None:
    file = copy / SUMMARY
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "accuracy": 0.123}))
    (copy / PARITY).with_name("parity.svg").write_text("<svg/>")
    page = reported(copy)
    assert "Parity map" not in page
    assert "Not simulated yet" in page
    assert f"<b>Ignored:</b> {SUMMARY} was changed after it was written." in page
    assert "<span>deployed</span>" not in page


def unsealed(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("digest", SEAL)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "{", "cannot be read"),
        (lambda text: json.dumps(unsealed(json.loads(text))), "does not say what it was made from"),
        (lambda text: text.replace('"seal"', '"sael"'), "was changed"),
    ],
)
def test_what_cannot_be_trusted_is_ignored_by_name(
    copy: Path, change: Callable[[str], str], message: str
) -> None:
    file = copy / PARITY
    file.write_text(change(file.read_text()))
    found, (reason,) = read_results(read_deployment(copy), "parity.json")
    assert found == [] and reason.startswith(f"{PARITY} {message}")


def test_results_of_another_deployment_are_ignored(copy: Path) -> None:
    make_old(copy)
    deployment = read_deployment(copy)
    for name in ("summary.json", "parity.json"):
        found, (reason,) = read_results(deployment, name)
        assert found == [] and reason.endswith("was made from another deployment")
    samples = choose_samples(deployment.network, default_count=1)
    result = simulate(deployment, samples, "reference", progress=False)
    assert result.warnings[: len(deployment.warnings)] == deployment.warnings != ()
    assert len(read_results(deployment, "summary.json")[0]) == 1, "it has a digest of its own"


@pytest.mark.parametrize("name", ["activity.safetensors", "raster.svg", "samples.safetensors"])
def test_a_changed_file_beside_a_result_is_none_of_it(copy: Path, name: str) -> None:
    file = (copy / SUMMARY).with_name(name)
    file.write_bytes(file.read_bytes() + b" ")
    (result,), _ = read_results(read_deployment(copy), "summary.json")
    assert result.beside(name) is None
    said = f"<b>Ignored:</b> {file.relative_to(copy)} was changed after it was written."
    assert said in reported(copy)
    file.unlink()
    page = reported(copy)
    assert f"<b>Ignored:</b> {file.relative_to(copy)} is missing." in page
    assert "<span>deployed</span>" in page, "the rest is there"


@pytest.mark.parametrize("name", ["activity.safetensors", "samples.safetensors"])
def test_a_file_that_cannot_be_read_does_not_take_the_report_along(copy: Path, name: str) -> None:
    """As one of a later version, with a seal that is right."""
    deployment, path = read_deployment(copy), copy / SUMMARY
    path.with_name(name).write_bytes(b"\0" * 8)
    values = unsealed(json.loads(path.read_text()))
    write_result(path, values, deployment, list(values["files"]))
    page = reported(copy)
    assert f"<b>Ignored:</b> {Path(SUMMARY).with_name(name)} cannot be read: " in page
    assert "<span>deployed</span>" in page and "Confusion matrix" in page


def test_placing_takes_only_spikes_that_were_counted_here(copy: Path) -> None:
    shapes = {p.name: p.shape for p in read_deployment(copy).network.populations}
    assert read_activity(copy, shapes).keys() >= shapes.keys()
    values = json.loads((copy / SUMMARY).read_text())
    (copy / SUMMARY).write_text(json.dumps({**values, "samples": 1}))
    with pytest.raises(InputError, match=r"no simulation has counted .*summary.json was changed"):
        read_activity(copy, shapes)
