"""The Mackey-Glass series: its equation solved another way, its windows, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neurodeploy.data import OF_VALUES, load_dataset
from neurodeploy.data.mackey_glass import BETA, GAMMA, PAST, series
from neurodeploy.errors import InputError
from neurodeploy.ir.source import DataSource, MackeyGlass

INTERVAL = 197 / 75


def by_scipy(tau: float, count: int) -> np.ndarray:
    """The same by scipy's solver of the eighth order, from one delay to the next."""
    times, found = np.arange(count) * INTERVAL, np.empty(count)
    before, now, start = (lambda t: PAST), PAST, 0.0
    while start <= times[-1]:
        end = start + tau

        def slope(t: float, x: np.ndarray, delayed=before) -> np.ndarray:
            z = delayed(t - tau)
            return BETA * z / (1 + z**10) - GAMMA * x

        solution = solve_ivp(
            slope, (start, end), [now], "DOP853", dense_output=True, rtol=1e-10, atol=1e-12
        )
        inside = (times >= start) & (times < end)
        found[inside] = solution.sol(times[inside])[0]
        before = lambda t, of=solution.sol: float(of(t)[0])  # noqa: E731
        now, start = float(solution.y[0, -1]), end
    return found


@pytest.mark.parametrize("tau", [17.0, 23.4])
def test_the_series_solves_its_equation(tau: float) -> None:
    found = series(tau, INTERVAL, 300)
    np.testing.assert_allclose(found, by_scipy(tau, 300), atol=2e-6)
    assert found[0] == PAST and 0.2 < found.min() < found.max() < 1.5


def test_the_series_is_the_same_to_the_bit() -> None:
    """So that a run is repeated on any machine; chaos shows the least difference at the end."""
    found = series(17.0, INTERVAL, 1500)
    assert found[1].hex() == "0x1.c0018149ce05bp-1"
    assert found[-1].hex() == "0x1.05483a4b17f7cp+0"


def test_windows_show_what_comes_before_their_targets() -> None:
    asked = MackeyGlass(train=2.0, test=1.0, window=5, horizon=3)
    dataset = load_dataset("mackey_glass", DataSource(mackey_glass=asked))
    x = series(17.0, INTERVAL, 225)
    low, high = x[:150].min(), x[:150].max()
    integers = np.rint(255 * (x - low) / (high - low)).clip(0, 255)
    assert dataset.name in OF_VALUES and dataset.predicts_values
    assert (dataset.task, dataset.classes, dataset.sample_shape) == ("regression", 1, (5,))
    assert len(dataset.y_train) == 150 - 5 - 2 and len(dataset.y_test) == 75
    # The value of number 150 is the first of the test; its window ends three before.
    np.testing.assert_array_equal(dataset.y_test[:, 0], x[150:])
    np.testing.assert_array_equal(dataset.x_test[0], integers[143:148])
    np.testing.assert_array_equal(dataset.y_train[0], x[[7]])
    np.testing.assert_array_equal(dataset.x_train[0], integers[:5])
    assert (dataset.x_train[:].max(), dataset.x_train[:].min()) == (255, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window is from 1 to 4096, found 0"),
        ({"tau": float("nan")}, "tau is from 0.1 to 1000, found nan"),
        ({"train": 0.5}, "38 points for training are too few for windows of 24"),
        ({"points": 10_000, "train": 100.0}, "at most 100,000"),
        ({"train": 1000.0, "lyapunov_time": 1000.0}, "at most 100,000 in 200,000"),
    ],
)
def test_a_series_that_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MackeyGlass(**options)


def test_what_a_data_set_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[data.mackey_glass\]: data set 'digits' is another"):
        load_dataset("digits", DataSource(mackey_glass=MackeyGlass(window=5)))
    with pytest.raises(InputError, match="computed from its equation and takes no data"):
        load_dataset("mackey_glass", DataSource(path="series.npy"))
    with pytest.raises(InputError, match="1 values for each sample, but 3 outputs"):
        load_dataset("mackey_glass", classes=3)
