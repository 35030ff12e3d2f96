"""Where chips and their cores lie on a drawing, where a core is 1 wide and y goes up."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse

from neurodeploy.mapping import CoreMapping
from neurodeploy.target import Chip

SHOWN_CHIPS = 16
"""So many of the chips in use are drawn."""
TILE_GAP = 0.35
"""Between tiles."""
CORE = 0.92
"""Width and height of a core as it is drawn."""
BESIDE, BELOW = 1.2, 2.0
"""From one chip to the next."""

Point = tuple[float, float]


def grid(chips: int) -> tuple[int, int]:
    """Columns and rows of so many chips."""
    columns = min(chips, 2 if chips <= 4 else 4)
    return columns, math.ceil(chips / columns)


def chip_corners(mapping: CoreMapping, chip: Chip) -> dict[int, Point]:
    """Upper left corners of the chips in use, the first ``SHOWN_CHIPS`` of them."""
    used = sorted({p.chip for p in mapping.placements})[:SHOWN_CHIPS]
    columns, _ = grid(len(used))
    width, height = mesh_size(chip)
    return {
        number: ((i % columns) * (width + BESIDE), -(i // columns) * (height + BELOW))
        for i, number in enumerate(used)
    }


def mesh_size(chip: Chip) -> tuple[float, float]:
    """Width and height of a chip."""
    across, down = _tile(chip)
    tiles = math.ceil(chip.cores.value / chip.tile_cores.value)
    columns = chip.tile_columns.value
    rows = math.ceil(tiles / columns)
    return columns * (across + TILE_GAP), rows * (down + TILE_GAP)


def core_place(core: int, chip: Chip, corner: Point) -> Point:
    """Lower left corner of a core."""
    across, down = _tile(chip)
    tile, inside = divmod(core, chip.tile_cores.value)
    row, column = divmod(tile, chip.tile_columns.value)
    x = corner[0] + column * (across + TILE_GAP) + inside % across
    y = corner[1] - row * (down + TILE_GAP) - inside // across - 1
    return x, y


def _tile(chip: Chip) -> tuple[int, int]:
    """Columns and rows of cores in a tile, as square as may be."""
    across = math.ceil(math.sqrt(chip.tile_cores.value))
    return across, math.ceil(chip.tile_cores.value / across)


def strongest(sent: sparse.csr_matrix, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The connections between cores with most messages: from, to and how many, (n,) each."""
    entries = sent.tocoo()
    apart = entries.row != entries.col
    row, column, count = entries.row[apart], entries.col[apart], entries.data[apart]
    shown = np.argsort(-count, kind="stable")[:most]
    return row[shown], column[shown], count[shown]
