"""docs/framework_matrix.md, row by row: each is run again, by the framework and by us."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from neurodeploy.interchange.frameworks import FRAMEWORKS
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.interchange.nir.importing import open_nir
from neurodeploy.ir.contract import Origin
from support.matrix import MODULES, all_cells
from support.matrix.cell import Cell, quiet
from support.matrix.parameters import parameter_rows

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))

from make_matrix import key_of, parameter_row, row_of  # noqa: E402

PAGE = (DOCS / "framework_matrix.md").read_text(encoding="utf-8")


def rows_under(*headings: str) -> list[str]:
    """The lines of the tables under these headings, without their heads."""
    found = []
    for heading in headings:
        section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
        found += [line for line in section.splitlines() if line.startswith("| ")][1:]
    return found


@cache
def cells() -> dict[tuple[str, ...], Cell]:
    neurons, layers = all_cells()
    return {key_of(cell): cell for cell in (*neurons, *layers)}


def key_in(row: str) -> tuple[str, ...]:
    """The columns of a row that say which cell it is."""
    return tuple(column.strip() for column in row.split("|")[1:6])


ROWS = rows_under("Neurons", "Layers")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ", ".join(filter(None, key_in(row))))
def test_networks(row: str, tmp_path: Path) -> None:
    key = key_in(row)
    if key not in cells():
        pytest.skip(f"{key[0]} is not installed: make install")
    cell = cells()[key]
    assert row_of(cell, cell.outcome(tmp_path)) == row


PARAMETERS = list(dict.fromkeys((name, kind) for name, kind, _ in parameter_rows()))


@pytest.mark.parametrize(("name", "kind"), PARAMETERS)
def test_parameters(name: Origin, kind: str, tmp_path: Path) -> None:
    """None changes nothing without a word."""
    assert parameter_row(name, kind, tmp_path) in rows_under("Parameters")


def test_every_framework_and_every_cell_is_on_the_page() -> None:
    assert len(rows_under("Parameters")) == len(PARAMETERS)
    titles = {row.split("|")[1].split()[0] for row in ROWS}
    assert titles == {framework.title for framework in FRAMEWORKS.values()}
    known = set(map(key_in, ROWS))
    assert set(cells()) <= known
    assert len(known) == len(ROWS)
    assert len(MODULES) == 5


WRITTEN = [row for row in ROWS if row.endswith("| equal |")]


@pytest.mark.parametrize("framework", ["Norse", "snnTorch", "sinabs", "SpikingJelly", "Spyx"])
def test_the_likeliest_framework_is_the_one_that_wrote_the_file(
    framework: str, tmp_path: Path
) -> None:
    found = [cells().get(key_in(row)) for row in WRITTEN if key_in(row)[0].startswith(framework)]
    for cell in found:
        if cell is None:
            pytest.skip(f"{framework} is not installed: make install")
        with quiet():
            write_nir(tmp_path / "a.nir", cell.export())
        assert next(iter(open_nir(tmp_path / "a.nir").likely)) == framework.lower(), cell.name


def test_a_cell_that_differs_fails(tmp_path: Path) -> None:
    cell = next(cell for cell in cells().values() if cell.framework.startswith("Spyx"))
    with pytest.raises(AssertionError):
        replace(cell, late=0).outcome(tmp_path)
