"""Put what a demo printed into README.md. Run with ``make docs`` after ``make demo``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- demo: written by docs/make_readme.py -->\n", "<!-- /demo -->"

SHOWN = (
    r"\$ neurodeploy .*",
    r"Training .*",
    r"Test accuracy .*",
    r"loihi2: .*",
    r"Engine .*",
    r"Accuracy [\d.]+%",
    r" +(at least )?[\d,.]+ (to [\d,.]+ )?[num]?J of dynamic energy",
    r".* against .*: \d+ samples.*",
    r"(MATCH|DIFFER).*",
    r"The demo took .*",
)
"""Lines of the log that the README shows."""


def excerpt(log: str) -> str:
    """The lines shown, as a block of Markdown."""
    lines = [line for line in log.splitlines() if re.fullmatch("|".join(SHOWN), line)]
    return "\n" + "".join(f"    {line}\n" for line in lines) + "\n"


def with_demo(readme: str, log: str) -> str:
    """The README with the lines of this log."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{excerpt(log)}{END}{after}"


if __name__ == "__main__":
    log = (Path(sys.argv[1]) / "demo.log").read_text(encoding="utf-8")
    README.write_text(with_demo(README.read_text(encoding="utf-8"), log), encoding="utf-8")
