"""The report: complete and self-contained."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.artifacts.deployment import TrainingRecord
from neurodeploy.recipe import load_recipe
from neurodeploy.reporting.pictures import ROWS, raster
from neurodeploy.reporting.report.deployed import in_nano, simulated
from neurodeploy.reporting.report.trained import trained
from neurodeploy.simulation.trace import PopulationTrace, SpikeTrace
from support.command import run_cli, run_json
from support.page import Page

pytestmark = pytest.mark.pictures


@pytest.fixture(scope="module")
def deployment(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that has been simulated and validated."""
    out = tmp_path_factory.mktemp("report") / "deployed"
    run_json("export", "--target", "loihi2", "--out", str(out), folder=workspace)
    choice = (str(out), "--samples", "12")
    run_json("simulate", *choice, "--engine", "reference", folder=workspace)
    run_json("validate", *choice, "--engines", "reference,float", folder=workspace)
    return out


def read(deployment: Path) -> tuple[str, Page]:
    text = (deployment / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_a_fresh_export_reports_what_it_can(workspace: Path, tmp_path: Path) -> None:
    run_json("export", "--target", "loihi2", "--out", str(tmp_path / "d"), folder=workspace)
    text, page = read(tmp_path / "d")
    assert "digits_conv on loihi2" in page.text
    assert "Not simulated yet: neurodeploy simulate" in page.text
    assert "Not compared yet: neurodeploy validate" in page.text
    assert len(page.images) == 4  # curve, confusion matrix, graph, cores
    assert "{{" not in text and "None" not in page.text


def test_the_report_tells_what_the_files_say(deployment: Path) -> None:
    _, page = read(deployment)
    manifest = json.loads((deployment / "manifest.json").read_text())
    summary = json.loads((deployment / "results/reference/summary.json").read_text())
    parity = json.loads((deployment / "results/reference-float/parity.json").read_text())
    training = manifest["training"]
    for expected in (
        f"{training['test_accuracy']:.2%}",
        f"{summary['accuracy']:.2%}",
        f"{summary['estimate']['synaptic_ops']:,.0f}",
        f"energy at least {summary['estimate']['energy_nj']['low'] / 1000:.2f} to",
        "of the slowest core and the barrier",
        f"{parity['compared']:,} values compared",
        "by subtracting the threshold",
        "conv1 input to lif1 conv 16 x 1 x 3 x 3 = 144 8 \u00b1",
        "lif1 LIF 16 x 8 x 8 1,024",
        "triangle", "adam",
        "Davies et al. 2018", "(assumed for loihi2)", "Horowitz",
        "Messages per sample with the spikes of 12 samples on reference",
        "No limit is published, and so none was checked, for: output axons.",
        *(f"sha256 {digest}" for digest in manifest["files"].values()),
        *manifest["versions"].values(),
    ):  # fmt: skip
        assert expected in page.text, expected
    assert len(training["history"]) == training["epochs"] == 1
    assert len(page.images) == 8  # and two confusion matrices, rates, raster, parity


def test_samples_without_labels_have_no_confusion_matrix(workspace: Path, tmp_path: Path) -> None:
    run_json("export", "--target", "loihi2", "--out", str(tmp_path / "d"), folder=workspace)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 17, (2, 1, 8, 8), np.uint8))
    choice = ("--engine", "reference", "--data", str(tmp_path / "x.npz"))
    run_json("simulate", str(tmp_path / "d"), *choice, folder=workspace)
    _, page = read(tmp_path / "d")
    assert len(page.images) == 6  # with rates and a raster beside those of an export


def test_the_report_needs_nothing_else(deployment: Path) -> None:
    text, page = read(deployment)
    assert page.fetched == []
    assert not re.search(r"url\(|@import|<script[^>]+src", text)
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.images)
    assert all(image["alt"] for image in page.images)
    assert {link.removeprefix("#") for link in page.links} <= page.anchors


def test_it_names_no_folder_above_the_data() -> None:
    places = ["data.path=/home/me/secret/mnist.npz", "training.start_from=/home/me/secret/run-1"]
    recipe = load_recipe("mnist_conv", places)
    training = trained(TrainingRecord(recipe, 0.5, 0.5, 1, 2, 0.5))
    rows = {name: value for name, value in training.rows}  # noqa: C416 - rows are sequences
    assert rows["data"] == "npz, validation 0.05, path mnist.npz"
    assert "start from run-1" in rows["loop"]
    assert "secret" not in str(rows)


def test_lists_of_a_recipe_are_shown_as_lists() -> None:
    recipe = load_recipe("digits_conv", ["data.exclude=[3, 5]"])
    rows = trained(TrainingRecord(recipe, 0.5, 0.5, 1, 2, 0.5)).rows
    assert ["data", "digits, validation 0.1, exclude [3, 5]"] in [list(row) for row in rows]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 0.0, "0 nJ"),
        (641.06, 998.6, "641 to 999 nJ"),
        (7_590.5, 7_948.1, "7.59 to 7.95 \u00b5J"),
        (999.9, 1_000.2, "1.00 \u00b5J"),
        (2.19e6, 2.19e6, "2.19 mJ"),
        (1.5e9, 1.2e13, "1.50 to 12,000 J"),
    ],
)
def test_energies_have_three_digits(low: float, high: float, text: str) -> None:
    assert in_nano({"low": low, "high": high}, "J") == text


def test_overflow_names_its_population() -> None:
    run = {"engine": "reference", "samples": 3, "accuracy": None, "total_spikes_per_sample": 1.0}
    counts = {"wraps": {"a": 0, "b": 1200}, "saturations": {"a": 2, "b": 3}}
    (row,) = simulated([{**run, **counts, "samples_per_second": 1.0}]).rows
    assert row[4:6] == ("1,200 (b)", "5 (most in b)")


def test_a_raster_of_many_neurons_has_no_more_rows_than_pixels() -> None:
    s = np.zeros((1, 4, 5000), np.uint8)
    s[0, 1, 2500:] = 1
    trace = SpikeTrace(0, {"many": PopulationTrace(s)}, "many")
    (axes,) = raster(trace, "many").axes
    shown = np.asarray(axes.images[0].get_array())
    assert shown.shape[0] == ROWS
    middle = shown[:, shown.shape[1] * 3 // 8]
    assert middle[0] == 0 and middle[-1] == 1 and middle.mean() == pytest.approx(0.5, abs=0.01)
    assert not shown[:, : shown.shape[1] // 4].any()


def test_a_report_is_not_part_of_what_is_deployed(deployment: Path, workspace: Path) -> None:
    (deployment / "report.html").write_text("scribbles")
    run_json("simulate", str(deployment), "--engine", "float", "--samples", "3", folder=workspace)
    assert "How it behaves" in read(deployment)[1].text


def test_names_are_escaped(workspace: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "bold.toml"
    text = (Path(__file__).parent.parent / "models" / "digits_conv.toml").read_text()
    recipe.write_text(re.sub("description = .*", 'description = "<b>bold</b> & more"', text))
    run = run_json("train", str(recipe), "--set", "training.epochs=1", "--out",
                   str(tmp_path / "run"), folder=workspace)["run"]  # fmt: skip
    out = str(tmp_path / "d")
    assert (
        run_cli("export", run, "--target", "loihi2", "--out", out, folder=workspace).exit_code == 0
    )
    assert "<b>bold</b> & more" in read(tmp_path / "d")[1].text
