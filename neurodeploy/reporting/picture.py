"""Figures on disk: PNG for people who open a file, SVG for the report."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from neurodeploy.support.files import written_whole


def write_picture(figure: Figure, path: Path) -> None:
    """Write ``path`` (.png) and the same as .svg beside it, each whole or not at all."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)
    with written_whole(path.with_suffix(".svg")) as temporary:
        temporary.write_bytes(svg(figure))


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "neurodeploy"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()
