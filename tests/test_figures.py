"""Pictures take every name as it stands, and none of them can lose a result."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from neurodeploy.errors import InputError, PictureWarning, Text
from neurodeploy.support.figures import ornament, png, svg
from support.command import run_cli

pytestmark = pytest.mark.pictures

ODD_NAMES = ["cost $5^$", "$\\frac{a}$", "a_b^{c", "50 % & more", os.fsdecode(b"caf\xe9")]


def figure_named(name: str) -> Figure:
    """A figure with the name in every kind of text."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label=name)
    axes.set_title(name)
    if name.isprintable():  # names of nodes, which come from files as UTF-8
        axes.set_yticks([0, 1], [name, name])
    axes.annotate(name, (0.5, 0.5))
    axes.legend(title=name)
    figure.suptitle(name)
    figure.supylabel(name)
    return figure


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_drawn_as_they_stand(name: str) -> None:
    assert png(figure_named(name)).startswith(b"\x89PNG")
    assert svg(figure_named(name)) == svg(figure_named(name))


def test_a_dollar_is_drawn_and_no_mathematics() -> None:
    figure = Figure()
    letter, dollars = figure.text(0.1, 0.1, "x"), figure.text(0.1, 0.5, "$x$")
    png(figure)
    assert dollars.get_window_extent().width > 2 * letter.get_window_extent().width


def test_a_picture_that_fails_is_a_warning_and_an_older_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "raster.png"
    for file in (path, path.with_suffix(".svg")):
        file.write_text("of something else")
    with pytest.warns(PictureWarning, match=r"raster\.png is missing: .*no room"), ornament(path):
        raise InputError(Text("no room"))
    assert not any(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), ornament(path):
        raise KeyboardInterrupt


def test_a_run_is_complete_without_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no such font")

    monkeypatch.setattr("neurodeploy.training.training_curve.curve_figure", fails)
    monkeypatch.setattr("neurodeploy.reporting.pictures.raster", fails)
    monkeypatch.setattr("neurodeploy.reporting.report.page.network_graph", fails)
    options = ["--set", "training.epochs=1", "--set", "network.hidden=[8]"]
    trained = run_cli("train", "digits_mlp", *options, "--out", "run $a", folder=tmp_path)
    assert trained.exit_code == 0, trained.stderr
    assert "learning_curve.png is missing: ValueError('no such font')" in trained.stderr
    assert "learning_curve.png" not in trained.stdout
    assert json.loads((tmp_path / "run $a" / "run.json").read_text())["kind"] == "run"
    exported = run_cli("export", "run $a", "--target", "loihi2", "--out", "d^{", folder=tmp_path)
    assert exported.exit_code == 0 and "report.html is missing" in exported.stderr
    options = ["--engine", "reference", "--random", "2", "--json"]
    simulated = run_cli("simulate", "d^{", *options, folder=tmp_path)
    assert simulated.exit_code == 0 and "raster.png is missing" in simulated.stderr
    assert json.loads(simulated.stdout)["samples"] == 2
