"""Leaks in 1/4096, and a note on those that twelve bits cannot hold."""

from __future__ import annotations

import numpy as np

from neurodeploy.ir.fixed_point import DECAY_ONE, nearest_decay
from neurodeploy.ir.network import Neuron
from neurodeploy.target import Target


def quantized_decays(neuron: Neuron, target: Target) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Decays of u (1..4096) and v (0..4095), int64, and notes.

    A leak so slow that its decay rounds to 0 would never leak, one so fast that it rounds to 4096
    keeps nothing; v cannot lose everything, because 12 bits end at 4095. Each is named.
    """
    most = 2**target.neuron.decay_bits.value - 1
    u_decay, v_decay = nearest_decay(neuron.u_keep), nearest_decay(neuron.v_keep)
    notes = [
        *_extremes("u", neuron.u_keep, u_decay, (1, most + 1)),
        *_extremes("v", neuron.v_keep, v_decay, (0, most)),
    ]
    return np.clip(u_decay, 1, most + 1), np.clip(v_decay, 0, most), notes


def _extremes(
    variable: str, keep: np.ndarray, decay: np.ndarray, limits: tuple[int, int]
) -> list[str]:
    """What became of leaks whose nearest decay is 0 or 4096."""
    lowest, highest = limits
    notes = []
    frozen = (decay == 0) & (keep < 1)
    if frozen.any():
        slowest = float(np.max(keep[frozen]))
        kept = f"{lowest}/{DECAY_ONE}" if lowest else "no leak"
        notes.append(
            f"{_count(frozen, 'leak')} of {variable} (keeping up to {slowest:.6g} a step) rounded "
            f"to decay 0: {kept}"
        )
    emptied = (decay == DECAY_ONE) & ((keep > 0) | (highest < DECAY_ONE))
    if emptied.any():
        strongest = float(np.min(keep[emptied]))
        kept = f"{DECAY_ONE - highest}/{DECAY_ONE} kept" if highest < DECAY_ONE else "nothing kept"
        notes.append(
            f"{_count(emptied, 'leak')} of {variable} (keeping {strongest:.6g} a step or more) "
            f"rounded to decay {DECAY_ONE}: {kept}"
        )
    return notes


def _count(which: np.ndarray, thing: str) -> str:
    """``1 leak``, ``3 leaks``."""
    number = int(which.sum())
    return f"{number:,} {thing}" + ("s" if number > 1 else "")
