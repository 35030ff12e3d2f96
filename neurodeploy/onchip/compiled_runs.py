"""The loops of ``compiled`` for synapses that share weights; see ``runs.SharedRuns``."""

from __future__ import annotations

import numpy as np

from neurodeploy.onchip.compiled import compiled, moved


@compiled
def activations(
    values: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    exponent: int,
    sums: np.ndarray,
    found: np.ndarray,
) -> int:
    """a of each step: (T, inputs) integers through (rows, width) weights into (T, outputs).

    Sums stay within 32 bits, which the plan has made sure of; so do they after the shift.

    Args:
        sums: (places, width) int32, for use on the way.

    Returns:
        How many inputs were not 0, summed over steps.
    """
    events = 0
    for t in range(values.shape[0]):
        sums[:] = 0
        for j in range(values.shape[1]):
            value = values[t, j]
            if value != 0:
                events += 1
                for run in range(starts[j], starts[j + 1]):
                    row, met = sums[places[run]], weights[rows[run]]
                    for i in range(met.shape[0]):
                        row[i] += met[i] * value
        for place in range(sums.shape[0]):
            for i in range(sums.shape[1]):
                total = sums[place, i]
                shifted = total << exponent if exponent >= 0 else total >> -exponent
                found[t, targets[place, i]] = shifted
    return events


@compiled
def by_place(errors: np.ndarray, targets: np.ndarray, found: np.ndarray) -> None:
    """(T, outputs) errors of 16 bits, or sums of them, as (T, places, width)."""
    for t in range(errors.shape[0]):
        for place in range(targets.shape[0]):
            for i in range(targets.shape[1]):
                found[t, place, i] = errors[t, targets[place, i]]


@compiled
def errors_below(
    errors: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    back: np.ndarray,
    membranes: np.ndarray,
    threshold: int,
    slope_shift: int,
    shift: int,
    sums: np.ndarray,
    found: np.ndarray,
) -> None:
    """Errors of the population below: through (rows, width) weights, times the surrogate.

    Args:
        errors: (T, places, width) int32 of 16 bits.
        back: weights that errors go back through.
        membranes: (T, inputs) v of the population below, before its resets.
        sums: (width,) for use on the way, wide enough for the products of all runs of an input.
        found: (T, inputs) int64, written.
    """
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    for t in range(errors.shape[0]):
        for j in range(membranes.shape[1]):
            slope = (threshold - abs(np.int64(membranes[t, j]) - threshold)) >> slope_shift
            if slope <= 0:
                found[t, j] = 0
                continue
            sums[:] = 0
            for run in range(starts[j], starts[j + 1]):
                place, row = places[run], rows[run]
                for i in range(sums.shape[0]):
                    sums[i] += errors[t, place, i] * back[row, i]
            total = np.int64(0)
            for i in range(sums.shape[0]):
                total += sums[i]
            found[t, j] = (total * slope + half) >> shift


@compiled
def gradients(
    errors: np.ndarray,
    values: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Add error times value, summed over steps and places, to (rows, width) of gradients.

    Args:
        errors: (T, places, width) int32 or int64.
        values: (T, inputs) integers.
        gradient: wide enough for the sum, which the plan knows.
    """
    for t in range(errors.shape[0]):
        for j in range(values.shape[1]):
            value = values[t, j]
            if value != 0:
                for run in range(starts[j], starts[j + 1]):
                    row, arrived = gradient[rows[run]], errors[t, places[run]]
                    for i in range(row.shape[0]):
                        row[i] += arrived[i] * value


@compiled
def update(
    gradient: np.ndarray,
    state: np.ndarray,
    weights: np.ndarray,
    names: np.ndarray,
    step: int,
    tag: int,
    shift: int,
    lowest: int,
    highest: int,
    most: int,
    key_low: int,
    key_high: int,
    changed: np.ndarray,
    changed_to: np.ndarray,
) -> tuple[int, int, int]:
    """Change every synapse by its gradient; arguments and result as of ``compiled.update``.

    Args:
        gradient: (rows, width), set to 0.
        names: (rows, width) flat numbers of the synapses.
    """
    count = clipped = saturated = 0
    half = 1 << (tag - 1)
    for row in range(state.shape[0]):
        for i in range(state.shape[1]):
            change = -np.int64(gradient[row, i])
            if change == 0:
                continue
            gradient[row, i] = 0
            number = names[row, i]
            before = np.int64(state[row, i])
            after, cut, bounded = moved(
                before, change, number, shift, lowest, highest, most, key_low, key_high
            )
            clipped += cut
            saturated += bounded
            if after != before:
                state[row, i] = after
                weights[row, i] = ((after + half) >> tag) * step
                changed[count] = number
                changed_to[count] = after
                count += 1
    return count, clipped, saturated
