"""The Python of README and docs runs as it stands there.

All blocks of a page run one after the other, as one program in an empty folder that holds only what
a training leaves: ``network.nir``. Where a page needs more, a block in an HTML comment makes it: it
runs like any other and is not shown.
"""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import pytest

from neurodeploy.norse.compat import norse_available

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def program_in(page: str) -> str:
    """The blocks fenced as Python, each on the lines that it has in the page."""
    fence, language, lines = "", "", []
    for line in page.splitlines():
        kept = ""
        if not fence:
            if opened := re.match(r"(```+)(\w*)", line):
                fence, language = opened[1], opened[2]
        elif line.startswith(fence):
            fence = ""
        elif language == "python":
            kept = line
        lines.append(kept)
    return "\n".join(lines) + "\n"


PROGRAMS = {
    page.relative_to(ROOT).as_posix(): program
    for page in PAGES
    if (program := program_in(page.read_text(encoding="utf-8"))).strip()
}


def test_there_is_python_in_the_pages() -> None:
    assert "README.md" in PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_fenced_as_such(page: Path) -> None:
    """Indented, or under another name, nothing would find it."""
    text = page.read_text(encoding="utf-8")
    loose = re.findall(r"^(?: {4}|\t)(?:import \w|from [\w.]+ import |>>> ).*", text, re.MULTILINE)
    assert [line for line in loose if line not in program_in(text).splitlines()] == []
    assert not re.search(r"^```+ *(?:py|python3|Python)\b", text, re.MULTILINE)


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_python_of_a_page_runs(
    page: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if '"norse"' in PROGRAMS[page] and not norse_available():
        pytest.skip("needs Norse")
    shutil.copy(workspace / "runs" / "digits_conv-001" / "network.nir", tmp_path)
    # A file as long as the page, so that an error names the page's own line.
    program = tmp_path / Path(page).with_suffix(".py").name
    program.write_text(PROGRAMS[page], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(program), run_name="__main__")


def test_blocks_keep_their_lines_and_others_are_left_out() -> None:
    page = "text\n```python\na = 1\n```\n```text\nb\n```\n<!--\n```python\nc = a\n```\n-->\n    d\n"
    assert program_in(page) == "\n\na = 1\n\n\n\n\n\n\nc = a\n\n\n\n"
