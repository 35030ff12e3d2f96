"""``neurodeploy compare``: two runs or two deployments, with what makes them unlike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.reporting.comparison import Comparison, Figure, Form, Layer, comparison_page
from support.command import run_cli, run_json
from support.page import Page

ENGINE = ("--engine", "reference")


@pytest.fixture(scope="module")
def pair(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Deployments of 8 and of 4 bits; ``a`` and ``b`` were simulated on 12 samples, ``c`` not."""
    folder = tmp_path_factory.mktemp("compared")
    source = workspace / "deployments/digits_conv-loihi2-001"
    for name in ("a", "c"):
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("results"))
    out = ("--target", "loihi2", "--weight-bits", "4", "--out", str(folder / "b"))
    run_json("export", *out, folder=workspace)
    for name in ("a", "b"):
        run_json("simulate", name, *ENGINE, "--samples", "12", folder=folder)
    return folder


def figures_of(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name / "results/reference/summary.json").read_text())


def test_two_deployments_side_by_side(pair: Path) -> None:
    found = run_json("compare", "a", "b", folder=pair)
    assert found["kind"] == "deployments" and found["page"] is None
    for side, name in (("first", "a"), ("second", "b")):
        summary, manifest = (
            figures_of(pair, name),
            json.loads((pair / name / "manifest.json").read_text()),
        )
        mapping = json.loads((pair / name / "mapping.json").read_text())
        estimate, half = summary["estimate"], found[side]
        assert half["path"] == name and half["accuracy"] == summary["accuracy"]
        assert half["test_accuracy"] == manifest["training"]["test_accuracy"]
        assert half["spikes"] == estimate["spikes"] and half["energy_nj"] == estimate["energy_nj"]
        assert half["cores"] == len(mapping["placements"])
        layers = {layer["name"]: layer[side] for layer in found["layers"]}
        assert list(layers) == ["input", "lif1", "lif2", "readout"]
        for layer, spikes in summary["spikes_per_sample"].items():
            assert layers[layer]["spikes"] == spikes
        energies = [layer["energy_nj"] for layer in layers.values() if layer["energy_nj"]]
        for end in ("low", "high"):
            assert sum(e[end] for e in energies) == pytest.approx(estimate["energy_nj"][end])
    (_, lif1, *_) = found["layers"]
    assert (lif1["first"]["bits"], lif1["second"]["bits"]) == ("8", "4")
    predicted = [figures_of(pair, name)["predictions"]["predicted"] for name in "ab"]
    same = sum(x == y for x, y in zip(*predicted, strict=True))
    assert found["remarks"] == [f"both give the same class to {same} of 12 samples"]


def test_the_text_and_the_page_say_the_same(pair: Path) -> None:
    text = run_cli("compare", "a", "b", "--page", "p.html", folder=pair).stdout
    accuracies = [f"{figures_of(pair, name)['accuracy']:.2%}" for name in "ab"]
    (line,) = [line for line in text.splitlines() if line.startswith("accuracy ")]
    assert line.split()[1:3] == accuracies
    assert text.splitlines()[-1] == "Wrote p.html"
    page = Page((pair / "p.html").read_text(encoding="utf-8"))
    assert page.fetched == [] and " ".join(["accuracy", *accuracies]) in page.text
    for heading in ("Layer by layer", "lif2", "SQNR", "both give the same class to"):
        assert heading in page.text
    # Over its own page, and over nothing else.
    assert run_cli("compare", "a", "b", "--page", "p.html", folder=pair).exit_code == 0
    (pair / "other.html").write_text("<title>mine</title>")
    refused = run_cli("compare", "a", "b", "--page", "other.html", folder=pair)
    assert refused.exit_code == 2 and "--page" in refused.stderr
    assert (pair / "other.html").read_text() == "<title>mine</title>"


def test_what_is_not_alike_is_said(pair: Path, tmp_path: Path) -> None:
    found = run_json("compare", "a", "c", folder=pair)
    assert found["second"]["accuracy"] is None
    assert found["remarks"] == [
        "B was not simulated, so its spikes are not known",
        "both have the same digest, so they compute the same",
    ]
    shutil.copytree(pair / "c", tmp_path / "d")
    run_json("simulate", str(tmp_path / "d"), *ENGINE, "--samples", "5", folder=pair)
    first, *_ = run_json("compare", "a", str(tmp_path / "d"), folder=pair)["remarks"]
    assert first == (
        "accuracy and spikes are of different samples: 12 (digits test set) and 5 (digits test set)"
    )


def test_two_runs_side_by_side(workspace: Path, tmp_path: Path) -> None:
    settings = ("--set", "training.epochs=2", "--set", "training.batch_size=128", "--seed", "3")
    other = tmp_path / "other"
    run_json("train", "digits_conv", *settings, "--out", str(other), folder=workspace)
    run = "runs/digits_conv-001"
    found = run_json("compare", run, str(other), folder=workspace)
    assert found["kind"] == "runs" and found["remarks"] == []
    for side, path in (("first", workspace / run), ("second", other)):
        table = json.loads((path / "run.json").read_text())
        lines = (path / "metrics.jsonl").read_text().splitlines()
        best = json.loads(lines[table["best_epoch"] - 1])
        assert found[side]["test_accuracy"] == table["test_accuracy"]
        layers = {layer["name"]: layer[side]["rate"] for layer in found["layers"]}
        assert layers == best["firing_rates"]
    assert {key: tuple(both.values()) for key, both in found["settings"].items()} == {
        "training.epochs": ("1", "2"),
        "training.batch_size": ("64", "128"),
        "seed": ("0", "3"),
    }


def test_what_cannot_be_compared_is_refused(pair: Path, workspace: Path) -> None:
    run = str(workspace / "runs/digits_conv-001")
    for pair_of, said in (
        ((run, "a"), f"{run} is a training run and a a deployment"),
        (("a", run), "a run is deployed with neurodeploy export"),
        (("a", "nowhere"), "nowhere: no such folder"),
        (("a", "."), ".: neither a run nor a deployment"),
    ):
        refused = run_cli("compare", *pair_of, folder=pair)
        assert refused.exit_code == 2 and said in refused.stderr, refused.stderr


@pytest.mark.parametrize(
    ("form", "first", "second", "texts"),
    [
        ("share", 0.7, 0.96, ("70.00%", "96.00%", "+26.00 points")),
        ("count", 1200, 600, ("1,200", "600", "x0.5")),
        ("count", 3, 3, ("3", "3", "")),
        ("count", 0, 3, ("0", "3", "")),
        ("number", None, 2.5, ("", "2.5", "")),
        ("text", "loihi1", "loihi2", ("loihi1", "loihi2", "differs")),
        ("energy", {"low": 1e3, "high": 2e3}, {"low": 2e3, "high": 3e3},
         ("1.00 to 2.00 \u00b5J", "2.00 to 3.00 \u00b5J", "x2 to x1.5")),
        ("time", {"low": 2.0, "high": 2.0}, {"low": 1.0, "high": 1.0},
         ("2.00 \u00b5s", "1.00 \u00b5s", "x0.5")),
    ],
)  # fmt: skip
def test_figures_are_written_with_what_changes(
    form: Form, first: Any, second: Any, texts: tuple[str, str, str]
) -> None:
    assert Figure("key", "label", form, first, second).texts == texts


def test_hostile_names_stay_text() -> None:
    name = "<img src=x onerror=alert(1)>{{ 7 }}</script>"
    figure = Figure("a", name, "text", name, "b")
    found = Comparison("runs", name, "b", (figure,), (Layer(name, (figure,)),), (figure,), (name,))
    text = comparison_page(found)
    page = Page(text)
    assert name not in text and name in page.text and page.images == []
