"""Rule ``sltt`` compiled, for chains of dense layers: event by event, one sample after the other.

Loops that numba compiles. Whatever is zero is passed over: inputs that did not spike, errors that
came to nothing, gradients of nothing. That loses nothing, because a synapse whose gradient is 0
does not change: (random - 0) >> r is 0 for every random number of r bits.

Weights and X are held as (inputs, outputs), so that what one spike reaches lies in a row.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from neurodeploy.ir.fixed_point import ACTIVATION_SHIFT, DECAY_BITS, DECAY_ONE, STATE_LIMIT
from neurodeploy.ir.quantized import QuantizedPopulation
from neurodeploy.onchip.arithmetic import GOLDEN

compiled: Any = numba.njit(cache=True, nogil=True, boundscheck=False)
inlined: Any = numba.njit(inline="always", nogil=True, boundscheck=False)
"""For what a loop does to one synapse: written into the loop, as if it stood there."""

_HIGHEST = STATE_LIMIT - 1


@compiled
def activations(values: np.ndarray, weights: np.ndarray, exponent: int, found: np.ndarray) -> int:
    """a of each step: (T, inputs) integers through (inputs, outputs) weights into ``found``.

    Sums stay within 32 bits, which the plan has made sure of; so do they after the shift.

    Returns:
        How many inputs were not 0, summed over steps.
    """
    events = 0
    for t in range(values.shape[0]):
        row = found[t]
        row[:] = 0
        for j in range(values.shape[1]):
            value = values[t, j]
            if value != 0:
                events += 1
                met = weights[j]
                for i in range(met.shape[0]):
                    row[i] += met[i] * value
        for i in range(row.shape[0]):
            row[i] = row[i] << exponent if exponent >= 0 else row[i] >> -exponent
    return events


@compiled
def integrate(
    activation: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    resting: np.ndarray,
    u_kept: np.ndarray,
    v_kept: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    period: int,
    zeroes: bool,
    strict: bool,
    membranes: np.ndarray,
    spikes: np.ndarray,
) -> tuple[int, int]:
    """Steps of a population one after the other, as ``ir.quantized`` has them.

    Args:
        activation: (T or 1, n) int32; one row stands for all steps.
        u, v, resting: (n,) int64, the state from before, changed in place; for how many more steps
            each neuron rests.
        u_kept, v_kept: (n,) int64 in 1/4096.
        bias: (n,) int64.
        threshold: (n,) int64 in state units, or below 0 for none.
        period: steps of rest after a spike.
        zeroes: whether a spike sets v to 0; else it takes the threshold off.
        strict: whether only v above the threshold fires.
        membranes: (T, n) int32, written: v before the reset; without a threshold what the step
            added to v.
        spikes: (T, n) int32, written.

    Returns:
        How often u wrapped, and how often v was clipped.
    """
    wraps = saturations = 0
    for i in range(u.shape[0]):
        current, state, theta, left = u[i], v[i], threshold[i], resting[i]
        for t in range(membranes.shape[0]):
            arrived = np.int64(activation[t % activation.shape[0], i]) << ACTIVATION_SHIFT
            kept = (abs(current) * u_kept[i]) >> DECAY_BITS
            current = np.int64(np.int32(arrived + (kept if current >= 0 else -kept)))
            if current > STATE_LIMIT:
                current -= 2 * STATE_LIMIT
                wraps += 1
            elif current <= -STATE_LIMIT:
                current += 2 * STATE_LIMIT
                wraps += 1
            spikes[t, i] = 0
            if left > 0:
                left -= 1
                membranes[t, i] = state
                continue
            kept = (abs(state) * v_kept[i]) >> DECAY_BITS
            state = np.int64(np.int32((kept if state >= 0 else -kept) + current + bias[i]))
            if abs(state) > _HIGHEST:
                state = _HIGHEST if state > 0 else -_HIGHEST
                saturations += 1
            if theta < 0:
                membranes[t, i] = current + bias[i]
                continue
            membranes[t, i] = state
            if state > theta or (state == theta and not strict):
                spikes[t, i] = 1
                left = period
                state = np.int64(0) if zeroes else state - theta
        u[i], v[i], resting[i] = current, state, left
    return wraps, saturations


def parameters(population: QuantizedPopulation) -> tuple[Any, ...]:
    """What ``integrate`` takes of a population, from ``u_kept`` to ``strict``."""
    neuron, shape = population.leaky, population.shape

    def each(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(values, shape).ravel(), np.int64)

    threshold = neuron.threshold
    none = np.full(math.prod(shape), -1, np.int64)
    return (
        DECAY_ONE - each(neuron.u_decay),
        DECAY_ONE - each(neuron.v_decay),
        each(neuron.bias_mantissa << neuron.bias_exponent),
        none if threshold is None else each(threshold) << ACTIVATION_SHIFT,
        neuron.refractory_period,
        neuron.reset == "zero",
        neuron.comparison == ">",
    )


@compiled
def clip_errors(errors: np.ndarray, largest: int) -> tuple[int, int]:
    """Bring errors to their width, in place; returns how many were outside, and how many count."""
    clipped = events = 0
    for t in range(errors.shape[0]):
        for i in range(errors.shape[1]):
            e = errors[t, i]
            if e > largest or e < -largest:
                errors[t, i] = largest if e > 0 else -largest
                clipped += 1
            if e != 0:
                events += 1
    return clipped, events


@compiled
def errors_below(
    errors: np.ndarray,
    back: np.ndarray,
    membranes: np.ndarray,
    threshold: int,
    slope_shift: int,
    shift: int,
    found: np.ndarray,
) -> None:
    """Errors of the population below: through (inputs, outputs) weights, times the surrogate.

    Args:
        errors: (T, outputs) int64.
        back: weights that errors go back through.
        membranes: (T, inputs) v of the population below, before its resets.
        found: (T, inputs) int64, written.
    """
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    for t in range(errors.shape[0]):
        silent = True
        for i in range(errors.shape[1]):
            if errors[t, i] != 0:
                silent = False
        for j in range(membranes.shape[1]):
            slope = (threshold - abs(np.int64(membranes[t, j]) - threshold)) >> slope_shift
            if silent or slope <= 0:
                found[t, j] = 0
                continue
            total = np.int64(0)
            met = back[j]
            for i in range(met.shape[0]):
                total += met[i] * errors[t, i]
            found[t, j] = (total * slope + half) >> shift


@compiled
def random_number(number: int, key_low: int, key_high: int, bits: int) -> np.int64:
    """One synapse's of ``arithmetic.random_bits``; numba would widen every product to 64 bits."""
    x = np.uint32(np.uint32(number) * np.uint32(GOLDEN) + np.uint32(key_low))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(np.uint32(x * np.uint32(0x7FEB352D)) ^ np.uint32(key_high))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    return np.int64(x >> np.uint32(32 - bits))


@inlined
def moved(
    before: int,
    change: int,
    number: int,
    shift: int,
    lowest: int,
    highest: int,
    most: int,
    key_low: int,
    key_high: int,
) -> tuple[int, int, int]:
    """X of one synapse after a change that is yet to be shifted; arguments as of ``update``.

    Returns:
        X, and 1 or 0 for each of: the update was clipped, X ended at a bound.
    """
    clipped = saturated = 0
    if shift > 0:
        change = (change + random_number(number, key_low, key_high, shift)) >> shift
    else:
        change <<= -shift
    if change > most or change < -most:
        clipped = 1
        change = most if change > 0 else -most
    after = before + change
    if after < lowest or after > highest:
        saturated = 1
        after = lowest if after < lowest else highest
    return after, clipped, saturated


@compiled
def update(
    errors: np.ndarray,
    values: np.ndarray,
    state: np.ndarray,
    weights: np.ndarray,
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
    """Change every synapse by its gradient, the sum over steps of error times value.

    Args:
        errors: (T, outputs) int64.
        values: (T or 1, inputs) integers; one row stands for all steps.
        state, weights: (inputs, outputs) int32 X and weights, changed in place.
        lowest, highest: X.
        most: largest size of an update.
        key_low, key_high: of ``arithmetic.random_bits``.
        changed, changed_to: written: the flat numbers of the synapses that changed, in the order
            of inputs, and their X.

    Returns:
        How many changed, how many updates were clipped, and how many ended at a bound.
    """
    inputs, outputs = state.shape
    count = clipped = saturated = 0
    static = values.shape[0] < errors.shape[0]
    gradient = np.zeros(outputs, np.int64)
    rows = np.empty(outputs, np.int64)
    half = 1 << (tag - 1)
    active = 0
    for i in range(outputs):
        total, silent = np.int64(0), True
        for t in range(errors.shape[0]):
            total += errors[t, i]
            silent = silent and errors[t, i] == 0
        if static:
            gradient[i], silent = total, total == 0
        if not silent:
            rows[active] = i
            active += 1
    if active == 0:
        return 0, 0, 0
    for j in range(inputs):
        if static:
            value = np.int64(values[0, j])
            if value == 0:
                continue
        else:
            value, silent = np.int64(1), True
            for n in range(active):
                gradient[rows[n]] = 0
            for t in range(values.shape[0]):
                if values[t, j] != 0:
                    silent = False
                    for n in range(active):
                        gradient[rows[n]] += values[t, j] * errors[t, rows[n]]
            if silent:
                continue
        for n in range(active):
            i = rows[n]
            change = -gradient[i] * value
            if change == 0:
                continue
            number = i * inputs + j
            before = np.int64(state[j, i])
            after, cut, bounded = moved(
                before, change, number, shift, lowest, highest, most, key_low, key_high
            )
            clipped += cut
            saturated += bounded
            if after != before:
                state[j, i] = after
                weights[j, i] = ((after + half) >> tag) * step
                changed[count] = number
                changed_to[count] = after
                count += 1
    return count, clipped, saturated
