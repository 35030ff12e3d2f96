"""Figures as files: texts as they stand, the same bytes each time, no result lost for one."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from neurodeploy.errors import NeurodeployError, PictureWarning
from neurodeploy.support.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    return rendered(figure, "png")


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes each time."""
    return rendered(figure, "svg")


def rendered(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """What matplotlib makes of the figure: most of the time that a report takes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    _literal(figure)
    buffer = io.BytesIO()
    if form == "png":
        FigureCanvasAgg(figure).print_png(buffer)
    else:
        with matplotlib.rc_context({"svg.hashsalt": "neurodeploy"}):
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def write_picture(figure: Figure, path: Path) -> None:
    """Write ``path`` (.png) and, for the report, the same as .svg, each whole or not at all."""
    write_whole(path, png(figure))
    figure.set_layout_engine("none")  # what it found for the one holds for the other
    write_whole(path.with_suffix(".svg"), svg(figure))


@contextmanager
def ornament(path: Path) -> Iterator[None]:
    """Make a file that shows a result and is none: where that fails, a ``PictureWarning``.

    An older one is removed then, as it shows something else.
    """
    try:
        yield
    # Whatever goes wrong in a library that draws, the result is worth more.
    except Exception as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
            path.with_suffix(".svg").unlink(missing_ok=True)
        reason = error.text if isinstance(error, NeurodeployError) else repr(error)
        warnings.warn(f"{path} is missing: {reason}", PictureWarning, stacklevel=3)


def _literal(figure: Figure) -> None:
    """Let every text stand for itself: names may hold dollars, and bytes that are no text."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        said = text.get_text()
        # Bytes of a file's name that are not UTF-8 come as surrogates, which no font has.
        text.set_text(said.encode(errors="replace").decode())
