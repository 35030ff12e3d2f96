"""The Mackey-Glass series of NeuroBench, from its equation: windows of it, and what comes next.

dx/dt = beta x(t - tau) / (1 + x(t - tau)^10) - gamma x(t)        (Mackey and Glass 1977, eq. 4b)

with beta = 0.2, gamma = 0.1 and the constant past 0.7206597, sampled 75 times in each Lyapunov time
of 197: the parameters of NeuroBench (Yik et al. 2025), whose first series has tau = 17. Ten
Lyapunov times are for training and the next ten for testing.

The series is chaotic: what differs in the last digit at first differs in the first after some
thirty-five Lyapunov times. So it is integrated in steps of one length and in nothing but sums,
products and quotients, which every processor rounds alike, and is the same to the bit everywhere.
NeuroBench integrates by jitcdde, whose series goes its own way later on.
"""

from __future__ import annotations

import math

import numpy as np

from neurodeploy.data.dataset import Dataset, Request
from neurodeploy.errors import InputError, Setting, Text

BETA, GAMMA, PAST = 0.2, 0.1, 0.7206597
LEVELS = 255
STEPS_PER_UNIT = 10
"""Steps of the integration in a unit of time."""


def load_mackey_glass(request: Request) -> Dataset:
    """Load windows of the series as (N, window) uint8, and the values that follow them.

    A value is round(255 (x - low) / (high - low)), with the range of the training part; targets
    are x itself. Windows of the first test values reach back into the training part.

    Raises:
        InputError: a file is named.
    """
    if request.source.path:
        raise InputError(
            Text(
                "data set 'mackey_glass' is computed from its equation and takes no ",
                Setting("data"),
            )
        )
    asked = request.source.mackey_glass
    train, test = asked.train_points, asked.test_points
    x = series(asked.tau, asked.lyapunov_time / asked.points, train + test)
    low, high = x[:train].min(), x[:train].max()
    scaled = np.rint(LEVELS * (x - low) / (high - low))
    outside = int(((scaled < 0) | (scaled > LEVELS)).sum())
    integers = scaled.clip(0, LEVELS).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(integers, asked.window).copy()
    first = asked.window + asked.horizon - 1
    # Window number i ends horizon points before the value of number first + i.
    x_all, y_all = windows[: len(x) - first], x[first:, None]
    split = train - first
    return Dataset(
        *("mackey_glass", LEVELS, x_all[:split], y_all[:split], x_all[split:], y_all[split:]),
        source=request.source,
        notes=(f"{outside} of {len(x)} values of the series lie outside the training part's range",)
        if outside
        else (),
        task="regression",
        ordered=True,
        input_range=(float(low), float(high)),
    )


def series(tau: float, interval: float, count: int) -> np.ndarray:
    """The solution at 0, interval, 2 interval and so on, (count,) float64.

    By the classical Runge-Kutta method in steps that divide tau, so that what is delayed lies on
    the same grid, or half way between two of its points, where a cubic through values and
    slopes is taken.

    Args:
        tau: delay, above 0.
        interval: time between two samples.
    """
    delayed = max(1, round(STEPS_PER_UNIT * tau))
    h = tau / delayed
    x, slope = [PAST], [_slope(PAST, PAST)]
    for i in range(math.ceil((count - 1) * interval / h) + 1):
        j = i - delayed
        if j < 0:
            middle = end = PAST
        else:
            middle, end = _half_way(x[j], x[j + 1], slope[j], slope[j + 1], h), x[j + 1]
        now, k1 = x[i], slope[i]
        k2 = _slope(now + h / 2 * k1, middle)
        k3 = _slope(now + h / 2 * k2, middle)
        k4 = _slope(now + h * k3, end)
        x.append(now + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        slope.append(_slope(x[-1], end))
    return np.array([_between(x, slope, h, number * interval) for number in range(count)])


def _slope(now: float, before: float) -> float:
    """dx/dt; the tenth power is a product, because libraries round powers differently."""
    second = before * before
    fourth = second * second
    return BETA * before / (1 + fourth * fourth * second) - GAMMA * now


def _half_way(a: float, b: float, slope_a: float, slope_b: float, h: float) -> float:
    return (a + b) / 2 + h / 8 * (slope_a - slope_b)


def _between(x: list[float], slope: list[float], h: float, time: float) -> float:
    """The cubic through values and slopes of the two grid points about a time."""
    i = min(int(time / h), len(x) - 2)
    s = time / h - i
    rest = 1 - s
    values = rest * rest * (1 + 2 * s) * x[i] + s * s * (3 - 2 * s) * x[i + 1]
    return values + h * s * rest * (rest * slope[i] - s * slope[i + 1])
