"""Write docs/glossary.md from the terms of the report. Run with ``make docs``."""

from __future__ import annotations

import textwrap
from pathlib import Path

from neurodeploy.reporting.report.glossary import GLOSSARY


def glossary_page() -> str:
    """The page: every term with an anchor, in the order of the report."""
    entries = []
    for term in GLOSSARY:
        text = textwrap.fill(term.text.replace("_", "\\_"), 98, subsequent_indent="  ")
        entries.append(f'<a id="term-{term.key}"></a>**{term.name}**\n: {text}\n')
    return "# Glossary\n\n" + "\n".join(entries)


if __name__ == "__main__":
    Path(__file__).with_name("glossary.md").write_text(glossary_page(), encoding="utf-8")
