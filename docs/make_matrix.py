"""Write docs/framework_matrix.md: what every framework's file is read as. Run with ``make docs``.

Every row is found by a run: of the framework and its own exporter where that is installed, else of
the trace recorded of it, against our float engine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from neurodeploy.interchange.frameworks import FRAMEWORKS
from neurodeploy.ir.contract import Origin
from support.matrix import all_cells
from support.matrix.cell import Cell
from support.matrix.parameters import becomes, parameter_rows

PAGE = Path(__file__).with_name("framework_matrix.md")

HEAD = """\
# Frameworks, neuron by neuron

Written by `make docs`. Each row is a test of `tests/test_framework_matrix.py`: the framework builds
the network, writes it with its own exporter and runs it on random spikes; `export --from` reads the
file, and our float engine runs it. `equal` means that every spike of every neuron at every step is
equal, or every potential of a read-out. If a framework is not installed for the tests, its file and
traces are recorded (`tests/data/frameworks/`). Norse's networks have steps of 2^-10 s, stated with
`--dt`; norse 1.1.0 does not write `v_reset`, which is in its files here as its current exporter
writes it. [interchange.md](interchange.md) says what the files leave open, and what is assumed.
"""


def matrix_page() -> str:
    """The page as Markdown."""
    neurons, layers = all_cells()
    with TemporaryDirectory() as folder:
        parts = [
            HEAD,
            "## Neurons\n\n" + _table(neurons, Path(folder)),
            "## Layers\n\nBefore a layer of neurons, whose spikes are compared.\n\n"
            + _table(layers, Path(folder)),
            "## Parameters\n\nWhat another value of a parameter does, all else as the framework "
            "writes it.\n\n" + _parameters(Path(folder)),
        ]
    return "\n".join(parts)


def row_of(cell: Cell, outcome: str) -> str:
    """One line of the first two tables."""
    return f"| {' | '.join((*key_of(cell), outcome))} |"


def key_of(cell: Cell) -> tuple[str, ...]:
    """The columns that say which cell it is."""
    names = {"reset": "--reset", "gain": "--gain", "reset_delay": "--reset-delay"}
    words = {True: "yes", False: "no"}
    said = [
        f"`{names[key]} {words.get(value, value)}`"
        for key, value in cell.options.items()
        if key in names
    ]
    return cell.framework, cell.subject, cell.reset, cell.parameters, " ".join(said)


def _table(cells: list[Cell], folder: Path) -> str:
    lines = [
        "| framework | class | reset | other than default | option | |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row_of(cell, cell.outcome(folder)) for cell in cells)]) + "\n"


def _parameters(folder: Path) -> str:
    lines = ["| framework | primitive | used | else |", "|---|---|---|---|"]
    pairs: dict[tuple[Origin, str], None] = {row[:2]: None for row in parameter_rows()}
    return "\n".join([*lines, *(parameter_row(*pair, folder) for pair in pairs)]) + "\n"


def parameter_row(name: Origin, kind: str, folder: Path) -> str:
    """One line of the third table."""
    parameters = [row[2] for row in parameter_rows() if row[:2] == (name, kind)]
    found = {parameter: becomes(name, kind, parameter, folder) for parameter in parameters}
    used = ", ".join(f"`{key}`" for key, value in found.items() if value == "used")
    other = "; ".join(f"`{key}` {value}" for key, value in found.items() if value != "used")
    return f"| {FRAMEWORKS[name].title} | {kind} | {used} | {other} |"


if __name__ == "__main__":
    PAGE.write_text(matrix_page(), encoding="utf-8")
