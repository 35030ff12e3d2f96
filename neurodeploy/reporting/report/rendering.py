"""Pages that are one file: style, script and data inside, nothing fetched, every text escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from neurodeploy.reporting.report.glossary import GLOSSARY, LINKED

if TYPE_CHECKING:
    from markupsafe import Markup

SCRIPTS = ("page.js", "data.js", "matrix.js", "chips.js", "raster.js", "explorer.js")
"""In the order in which they use one another; ``start.js`` comes last."""

NOT_IN_HTML = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&'\u2028\u2029"}
"""Signs that JSON may hold as they are and HTML would take for its own."""


def render(
    template: str, values: Mapping[str, Any], data: Any = None, scripts: Sequence[str] = SCRIPTS
) -> str:
    """A page from a template of this folder.

    The page's own policy lets a browser run this script alone and fetch nothing.

    Args:
        data: what the script reads, as JSON can hold it; None for a page without.
        scripts: files of the script.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(_text)
    )
    script = _script(scripts)
    return environment.get_template(template).render(
        style=Markup(_text("report.css")),
        script=Markup(script),
        policy=_policy(script),
        data=embedded(data) if data is not None else "",
        glossary=GLOSSARY,
        terms=LINKED,
        **values,
    )


def embedded(data: Any) -> Markup:
    """JSON that may stand inside a ``script`` element, whatever its texts hold."""
    from markupsafe import Markup

    # Signs beyond ASCII are escapes, among them the halves of those that are no text.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(NOT_IN_HTML))


def _script(files: Sequence[str]) -> str:
    """The files as one script with names of its own."""
    parts = "\n".join(_text(name).strip() for name in (*files, "start.js"))
    return f'\n(() => {{\n"use strict";\n{parts}\n}})();\n'


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    """A file of this folder."""
    folder = resources.files("neurodeploy.reporting.report")
    return folder.joinpath(name).read_text(encoding="utf-8")
