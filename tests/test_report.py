"""The report: complete, self-contained, and fit for a phone where a browser is there to tell."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import run_cli, run_json

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """Words, headings, pictures and everything that a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.images: list[dict[str, str]] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag == "img":
            self.images.append(found)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        for key in ("src", "href"):
            if key in found and not found[key].startswith(("data:", "#")):
                self.fetched.append(found[key])

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


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
    assert len(page.images) == 3  # curve, graph, cores
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
        f"{summary['estimate']['energy_nj']['low']:,.1f}",
        f"{parity['compared']:,} values compared",
        "by subtracting the threshold",
        "conv1", "lif1", "lif2", "readout",
        "triangle", "adam",
        "Davies et al. 2018", "Horowitz",
        "No limit is published, and so none was checked, for: output axons.",
        *(f"sha256 {digest}" for digest in manifest["files"].values()),
        *manifest["versions"].values(),
    ):  # fmt: skip
        assert expected in page.text, expected
    assert len(training["history"]) == training["epochs"] == 1
    assert len(page.images) == 6  # and rates, raster, parity


def test_the_report_needs_nothing_else(deployment: Path) -> None:
    text, page = read(deployment)
    assert page.fetched == []
    assert not re.search(r"url\(|@import|<script", text)
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.images)
    assert all(image["alt"] for image in page.images)
    assert {link.removeprefix("#") for link in page.links} <= page.anchors


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


FRAME = """<!doctype html><title>waiting</title>
<iframe width="{width}" height="1500" style="border: 0" srcdoc="{page}"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", event => {{
  const page = event.target.contentDocument, images = [...page.images];
  document.title = JSON.stringify({{
    missing: images.filter(i => !i.complete || i.naturalWidth === 0).map(i => i.alt),
    pictures: images.length,
    scroll: page.documentElement.scrollWidth,
    width: event.target.contentWindow.innerWidth,
  }});
}});
</script>"""
"""A browser's own window is never as narrow as a phone."""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_all_of_it(deployment: Path, tmp_path: Path, width: int) -> None:
    text, _ = read(deployment)
    page = tmp_path / "page.html"
    page.write_text(FRAME.format(width=width, page=html.escape(text)), encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
            "--hide-scrollbars", "--window-size=1400,1600", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = json.loads(re.search("<title>(.*?)</title>", done.stdout).group(1))  # type: ignore
    assert found["missing"] == [] and found["pictures"] == 6
    assert found["width"] == width and found["scroll"] <= width
    assert "CONSOLE" not in done.stderr
