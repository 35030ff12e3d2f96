"""Pages of documentation as what a reader would type: files to save, and lines for a shell."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = {"fsdd": ROOT.parent / "shared" / "data" / "fsdd"}
"""Data that a page fetches, where it lies here."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the word behind the fence.
        options: the words after that, as ``title="a.py"`` or ``slow``.
    """

    language: str
    options: str
    text: str

    @property
    def title(self) -> str:
        """The file that it is to be saved as; empty for none."""
        found = re.search(r'title="([^"]+)"', self.options)
        return found[1] if found else ""


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    found = re.findall(r"^```(\w+)(.*?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(language, options.strip(), text) for language, options, text in found]


def wanted_data(page: str) -> list[str]:
    """Names of the data that a page fetches."""
    return re.findall(r"^```sh data=(\w+)", page, re.MULTILINE)


def run_page(page: str, folder: Path) -> str:
    """Do all that a page says, in an empty folder; what was printed.

    A block marked ``slow`` is left out, and of one marked ``data=NAME`` a link to the data is made.
    """
    said = ""
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for block in blocks(page):
        data = re.search(r"data=(\w+)", block.options)
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif data:
            (folder / data[1]).symlink_to(DATA[data[1]])
        elif block.language == "sh" and "slow" not in block.options:
            done = subprocess.run(
                ["bash", "-e", "-c", block.text],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
    return said


NOT_TYPED = {
    "needs data, a file, machines or a name of the reader's own": re.compile(
        r"\b[A-Z]{3,}\b|mnist|fsdd|speaker|theirs|mine\.npz|ann\.pt|pilotnet|frames\.npz|\bs32|\bd32"
        r"|build\.nir|tcp:|cuda"
    ),
    "takes hours": re.compile(r"\b(bench|sweep)\b"),
}
"""Why some lines of the pages are not typed by the tests, and what such lines contain."""

OPTIONAL = {
    "onnx": "--onnx",
    "dask": "--workers",
    "neurobench": "neurobench",
    "mlflow": "--track mlflow",
    "wandb": "--track wandb",
}
"""Packages that lines with these words need."""


def why_not_typed(line: str) -> str:
    """A reason of ``NOT_TYPED``; empty for a line that runs in an empty folder, within minutes."""
    return next((reason for reason, words in NOT_TYPED.items() if words.search(line)), "")


def runnable_lines(page: str) -> list[str]:
    """Lines to be typed, in the order of the page."""
    return [line for line in command_lines(page) if not why_not_typed(line)]


def possible_here(lines: list[str]) -> list[str]:
    """Those whose packages are installed."""
    absent = [word for name, word in OPTIONAL.items() if importlib.util.find_spec(name) is None]
    return [line for line in lines if not any(word in line for word in absent)]


def run_lines(lines: list[str], folder: Path) -> str:
    """Type lines one after the other in a folder; what was printed."""
    block = "\n".join(lines)
    return run_page(f"```sh\n{block}\n```\n", folder)


def command_lines(page: str) -> list[str]:
    """Lines that call ``neurodeploy``, in blocks of any kind, without prompt and comment."""
    joined = re.sub(r" *\\\n\s*", " ", page)
    lines = re.findall(r"^ *(?:\$ )?(neurodeploy .*)$", joined, re.MULTILINE)
    return [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
