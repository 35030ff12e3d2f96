"""What the documentation says to type: pages run as they stand, commands exist, links lead."""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from neurodeploy.cli import main
from neurodeploy.lava.compat import lava_available
from support.documented import (
    DATA,
    ROOT,
    blocks,
    command_lines,
    possible_here,
    run_lines,
    run_page,
    runnable_lines,
    wanted_data,
)

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
STORIES = sorted((DOCS / "stories").glob("*.md"))
NEED = {"snntorch": "snntorch"}


def story(name: str) -> str:
    return (DOCS / "stories" / f"{name}.md").read_text(encoding="utf-8")


def check(name: str, folder: Path) -> None:
    page = story(name)
    for data in wanted_data(page):
        if not DATA[data].exists():
            pytest.skip(f"no data: {data}")
    if name in NEED and importlib.util.find_spec(NEED[name]) is None:
        pytest.skip(f"{NEED[name]} is not installed")
    if not lava_available() and "neurodeploy validate" in page:
        pytest.skip("Lava is not installed")
    said = run_page(page, folder)
    assert "Traceback" not in said
    if "MATCH: 0 mismatches" in page:
        assert "MATCH: 0 mismatches" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in STORIES])
def test_a_story_runs_as_written(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


BEFORE = {
    "README.md": [],
    "first_steps.md": [],
    "install.md": [],
    "recipe.md": [],
    "frameworks.md": ["neurodeploy train", "neurodeploy export --target loihi2"],
    "lava_dl.md": ["neurodeploy train digits_mlp"],
    "simulation.md": ["neurodeploy train digits_mlp"],
    "learning.md": [],
    "quantization.md": [],
    "training.md": [],
}
"""Pages whose lines are typed, with what is to be typed before."""


def page_named(name: str) -> Path:
    return ROOT / name if name == "README.md" else DOCS / name


def test_every_line_is_typed_somewhere_or_there_is_a_reason() -> None:
    """A page with a new line is typed by the slow test, or says what only its reader has."""
    typed = {
        line
        for page in (*map(page_named, BEFORE), *STORIES)
        for line in runnable_lines(page.read_text(encoding="utf-8"))
    }
    forgotten = [
        f"{page.name}: {line}"
        for page in PAGES
        for line in runnable_lines(page.read_text(encoding="utf-8"))
        if line not in typed
    ]
    assert forgotten == []


@pytest.mark.slow
@pytest.mark.parametrize("name", BEFORE)
def test_the_lines_of_a_page_run_as_written(name: str, tmp_path: Path) -> None:
    """All but those of ``NOT_TYPED`` and those whose packages are not installed."""
    if not lava_available():
        pytest.skip("Lava is not installed")
    page = page_named(name)
    lines = possible_here(runnable_lines(page.read_text(encoding="utf-8")))
    assert lines
    assert "Traceback" not in run_lines([*BEFORE[name], *lines], tmp_path)


def test_a_network_from_snntorch_takes_25_lines() -> None:
    typed = [
        line
        for block in blocks(story("snntorch"))
        for line in block.text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    assert len(typed) <= 25
    assert f"There are {len(typed)} lines to type" in story("snntorch")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_placeholder_is_left(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`|^ {4}.*$", "", page.read_text("utf-8"), flags=re.S | re.M)
    found = re.findall(r"\b(?:TODO|FIXME|TBD|XXX+|MEGABYTES|SECONDS|PEAK|PLACEHOLDER)\b", text)
    assert found == []


def parsed(line: str) -> None:
    """Refuse a line that the command line would, without running it."""
    words = shlex.split(re.split(r"\s[|>&]|;\s", line)[0])[1:]
    command: Any = main
    context = click.Context(main, info_name="neurodeploy", **main.context_settings)
    while isinstance(command, click.Group):
        if words and words[0] in ("-h", "--help", "-V", "--version"):
            return
        name, words = words[0], words[1:]
        command = command.commands[name]
        context = click.Context(command, info_name=name, parent=context)
    if {"-h", "--help"} & set(words):
        return
    command.parse_args(context, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_is_one(page: Path) -> None:
    """Names, options and values exist; whether the files do is for the stories to show."""
    wrong = []
    for line in command_lines(page.read_text(encoding="utf-8")):
        if re.search(r"\b[A-Z]{3,}\b|\.\.\.|…", line.partition("--set")[0]):
            continue  # a pattern, not a line to type
        try:
            parsed(line)
        except (click.ClickException, KeyError, ValueError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else error
            wrong.append(f"{line}: {message}")
    assert wrong == []


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and code hosts name them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    dead = []
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]*))?\)", text):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in headings(file)):
            dead.append(f"{target}#{anchor}")
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = re.findall(r"(?<![\w/.])((?:neurodeploy|tests|docs|models|targets)/[\w/.]*\w)", text)
    assert [file for file in set(files) if not (ROOT / file).exists()] == []
    modules = re.findall(r"`(neurodeploy(?:\.\w+)+)`|from (neurodeploy(?:\.\w+)+) import", text)
    for name in {first or second for first, second in modules}:
        pkgutil.resolve_name(name)


def test_the_readme_shows_a_whole_demo() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition("<!-- demo:")
    shown, _, after = rest.partition("<!-- /demo -->")
    measured = r"\d[\d.,]*\s*(?:%|(?:s|ms|GB|MB|nJ|uJ|samples|images|epochs)\b)"
    assert re.findall(measured, before + after) == [], "figures are those of the demo"
    for command in ("train digits_lean", "export --target loihi2", "simulate", "validate"):
        assert f"    $ neurodeploy {command}\n" in shown
    assert "MATCH: 0 mismatches" in shown and "The demo took" in shown


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    built = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        built, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert (tmp_path / "index.html").is_file()


def test_the_glossary_has_the_terms_of_the_report() -> None:
    sys.path.insert(0, str(DOCS))
    try:
        from make_glossary import glossary_page
    finally:
        sys.path.pop(0)
    assert (DOCS / "glossary.md").read_text(encoding="utf-8") == glossary_page(), "make docs"


def test_every_page_is_in_the_site() -> None:
    named = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert named == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
