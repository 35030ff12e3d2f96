"""Which samples are simulated: from a data set, a file or a generator, and how they are encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.data import load_dataset
from neurodeploy.data.dataset import encode
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Contract, InputCode, Semantics
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation
from neurodeploy.simulation.trace import SampleBatch, Samples
from neurodeploy.workflow.samples import choose_samples
from support.narrow import there
from support.wording import refused

STEPS = 5
DIGIT = (1, 8, 8)


def network(
    encoder: Any = "direct", levels: int = 16, shape: tuple[int, ...] = DIGIT, dataset: str = ""
) -> QuantizedNetwork:
    """Only what samples depend on: the input's shape and the contract."""
    code = InputCode(encoder, levels)
    contract = Contract(Semantics(1e-3, "zero", ">"), code, STEPS, "last_v", dataset)
    population = QuantizedPopulation("in", shape, None, float(code.payload))
    return QuantizedNetwork("net", (population,), (), "in", contract)


def together(samples: Samples, size: int) -> np.ndarray:
    """All values, over time, from batches of ``size``."""
    batches = list(samples.batches(size))
    assert [batch.first for batch in batches] == list(range(0, samples.count, size))
    assert all(len(batch) <= size for batch in batches)
    assert all(batch.static == samples.static for batch in batches)
    return np.concatenate([batch.values for batch in batches])


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def only_batch(samples: Samples) -> SampleBatch:
    (batch,) = samples.batches(samples.count)
    return batch


# --- the data set ---


def test_without_a_choice_the_test_set_of_the_contract_is_taken() -> None:
    digits = load_dataset("digits")
    samples = choose_samples(network(dataset="digits"))
    assert samples.count == len(digits.x_test) == 360
    assert samples.static
    assert samples.origin == "digits test set"
    np.testing.assert_array_equal(together(samples, 100), digits.x_test[:])
    labels = [there(batch.labels) for batch in samples.batches(100)]
    np.testing.assert_array_equal(np.concatenate(labels), digits.y_test)


def test_digits_are_what_they_say() -> None:
    digits = load_dataset("digits")
    assert (digits.sample_shape, digits.levels, digits.classes) == (DIGIT, 16, 10)
    assert (len(digits.x_train), digits.x_train[:].max(), digits.x_train[:].min()) == (1437, 16, 0)
    assert np.bincount(digits.y_test).min() >= 34
    again = load_dataset("digits")
    np.testing.assert_array_equal(again.x_test[:], digits.x_test[:])
    everything = np.concatenate([digits.x_train[:], digits.x_test[:]]).reshape(1797, -1)
    assert everything.sum() == 561718  # of all of scikit-learn's images: no sample twice, none lost


def test_an_unknown_data_set_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'digit' is not known; did you mean 'digits'\?"):
        choose_samples(network(dataset="digit"))


def test_no_data_set_says_what_to_give() -> None:
    with refused(
        InputError, r"names no data set; give samples with --data .* or --ran", by="simulate"
    ):
        choose_samples(network())


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (network(levels=8, dataset="digits"), "values from 0 to 16; this network's input takes 0"),
        (network(shape=(64,), dataset="digits"), r"x has shape \(360, 1, 8, 8\); expected \(N, 5"),
        (network(encoder="events", dataset="digits"), "static, but the network takes events"),
    ],
)
def test_a_data_set_that_does_not_fit_is_refused(net: QuantizedNetwork, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_samples(net)


# --- limits ---


@pytest.mark.parametrize(
    ("samples", "default", "count"),
    [(None, None, 360), (None, 64, 64), (10, 64, 10), (100, 64, 100), (9999, None, 360)],
)
def test_at_most_so_many(samples: int | None, default: int | None, count: int) -> None:
    found = choose_samples(network(dataset="digits"), samples=samples, default_count=default)
    assert found.count == count == len(together(found, 50))
    assert found.labels is not None
    assert len(found.labels) == count


def test_a_limit_below_one_is_refused() -> None:
    with refused(InputError, "--samples 0: needs at least 1", by="simulate"):
        choose_samples(network(dataset="digits"), samples=0)


def test_a_limit_holds_for_files_and_random_samples_too(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((9, 2), int), y=np.arange(9) % 2)
    net = network(shape=(2,))
    assert choose_samples(net, data=path, samples=4).count == 4
    assert choose_samples(net, data=path, default_count=4).count == 4
    assert choose_samples(net, random_count=9, samples=4).count == 4
    assert choose_samples(net, random_count=9, default_count=4).count == 9


# --- files ---


def test_static_samples_of_a_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 17, (7, *DIGIT))
    path = save(tmp_path / "a.npz", x=x, y=np.arange(7))
    samples = choose_samples(network(), data=path)
    assert (samples.count, samples.static, samples.origin) == (7, True, str(path))
    np.testing.assert_array_equal(together(samples, 3), x)
    np.testing.assert_array_equal(there(only_batch(samples).labels), np.arange(7))


def test_samples_over_time_are_not_encoded_again(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (7, STEPS, *DIGIT))
    path = save(tmp_path / "a.npz", x=x)
    for encoder in ("direct", "rate", "events"):
        samples = choose_samples(network(encoder), data=path)
        assert not samples.static
        np.testing.assert_array_equal(together(samples, 3), x)
        assert only_batch(samples).labels is None


def test_a_file_may_come_in_any_integer_type(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (4, STEPS, 3))
    for dtype in (bool, "u1", "i1", ">i4", "<u2", "u8", ">i8"):
        path = save(tmp_path / "a.npz", x=x.astype(dtype))
        batch = only_batch(choose_samples(network(shape=(3,)), data=path))
        np.testing.assert_array_equal(batch.values, x)
        assert batch.values.dtype.isnative
        assert batch.values.dtype in (np.uint8, np.int32)


BAD_FILES: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "no x": ({"y": np.zeros(3)}, "holds no array 'x'"),
    "no samples": ({"x": np.zeros((0, 2), int)}, "holds no samples"),
    "other shape": ({"x": np.zeros((3, 4), int)}, r"\(3, 4\); expected \(N, 5, 2\) .* \(N, 2\)"),
    "other steps": ({"x": np.zeros((3, 6, 2), int)}, r"x has shape \(3, 6, 2\)"),
    "one number": ({"x": np.array(3)}, r"x has shape \(\)"),
    "floats": ({"x": np.zeros((3, 2))}, "x is float64; spikes and graded inputs are integers"),
    "negative": ({"x": np.full((3, 2), -1)}, "values from -1 to -1; .* takes 0 to 16"),
    "too large": ({"x": np.full((3, 2), 17)}, "values from 17 to 17"),
    "labels": ({"x": np.zeros((3, 2), int), "y": np.zeros(2, int)}, r"y has shape \(2,\), exp"),
    "one-hot": ({"x": np.zeros((3, 2), int), "y": np.eye(3, dtype=int)}, r"y has shape \(3, 3\)"),
    "names": ({"x": np.zeros((3, 2), int), "y": np.array(["a", "b", "c"])}, "y is <U1; class num"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    arrays, message = BAD_FILES[name]
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        choose_samples(network(shape=(2,)), data=path)
    assert str(caught.value).startswith(f"{path}: ")


def test_values_may_be_as_large_as_what_they_become(tmp_path: Path) -> None:
    """Levels for the rate encoder, which makes spikes of them; spikes over time are 0 or 1."""
    net = network("rate", shape=(2,))
    static = save(tmp_path / "a.npz", x=np.full((3, 2), 16))
    assert only_batch(choose_samples(net, data=static)).values.all()
    spikes = save(tmp_path / "b.npz", x=np.full((3, STEPS, 2), 2))
    with pytest.raises(InputError, match="values from 2 to 2; this network's input takes 0 to 1"):
        choose_samples(net, data=spikes)
    with pytest.raises(InputError, match="static, but the network takes events over time"):
        choose_samples(network("events", shape=(2,)), data=static)


def unreadable(folder: Path) -> list[Path]:
    (folder / "text.npz").write_text("x")
    (folder / "empty.npz").write_bytes(b"")
    np.save(folder / "single.npy", np.zeros((3, 2), int))
    whole = save(folder / "whole.npz", x=np.arange(6000).reshape(3000, 2) % 17)
    (folder / "half.npz").write_bytes(whole.read_bytes()[:9000])
    broken = bytearray(whole.read_bytes())
    broken[200:300] = bytes(100)
    (folder / "broken.npz").write_bytes(broken)
    objects = np.array([{}, {}], dtype=object)
    np.savez(folder / "objects.npz", x=objects)
    names = ("absent", "text", "empty", "half", "broken", "objects")
    return [folder / "single.npy", *(folder / f"{name}.npz" for name in names)]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path in unreadable(tmp_path):
        with pytest.raises(InputError, match=r"not a readable \.npz file") as caught:
            choose_samples(network(shape=(2,)), data=path)
        assert str(caught.value).startswith(f"{path}: ")


# --- random samples ---


def test_random_spikes_have_their_rate_and_no_labels() -> None:
    samples = choose_samples(network("events", 1, (100,)), random_count=200, rate=0.3, seed=4)
    values = together(samples, 64)
    assert values.shape == (200, STEPS, 100)
    assert set(np.unique(values)) == {0, 1}
    assert abs(values.mean() - 0.3) < 0.01  # 7 standard deviations
    assert samples.labels is None
    assert not samples.static
    assert samples.origin == "200 random samples, rate 0.3, seed 4"


def test_random_graded_values_cover_their_integers() -> None:
    samples = choose_samples(network("direct", 5, (50,)), random_count=50, rate=0.5)
    values = together(samples, 50)
    assert set(np.unique(values)) == set(range(6))
    assert abs((values > 0).mean() - 0.5) < 0.03


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_at_both_ends(rate: float) -> None:
    samples = choose_samples(network("events", 1, (4,)), random_count=3, rate=rate)
    assert (together(samples, 3) == rate).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_count": 0}, "--samples 0|--random 0"),
        ({"random_count": 3, "rate": 1.5}, r"--random 3 --rate 1\.5: needs N >= 1 and a rate"),
        ({"random_count": 3, "rate": -0.1}, "a rate from 0 to 1"),
        ({"random_count": 3, "rate": float("nan")}, "a rate from 0 to 1"),
        ({"random_count": 3, "seed": -1}, "--seed -1: needs a number from 0"),
        ({"random_count": 3, "data": Path("a.npz")}, "either --data or --random, not both"),
    ],
)
def test_random_options_out_of_range_are_refused(options: Any, message: str) -> None:
    with refused(InputError, message, by="simulate"):
        choose_samples(network("events", 1, (4,)), **options)


# --- seeds and batches ---


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 3), st.sampled_from(["random", "rate"]))
def test_draws_do_not_depend_on_the_batches(size: int, seed: int, kind: str) -> None:
    if kind == "random":
        samples = choose_samples(network("events", 1, (6,)), random_count=11, rate=0.5, seed=seed)
    else:
        net = network("rate", dataset="digits")
        samples = choose_samples(net, samples=11, seed=seed)
    np.testing.assert_array_equal(together(samples, size), together(samples, 11))


@pytest.mark.parametrize("encoder", ["rate", "events"])
def test_another_seed_draws_other_spikes_and_the_same_seed_the_same(encoder: Any) -> None:
    options: dict[str, Any] = {"random_count": 3} if encoder == "events" else {"samples": 3}
    net = network(encoder, 16, dataset="digits")
    first, again, other = (
        together(choose_samples(net, seed=seed, **options), 3) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any()


# --- encoding ---


def test_rate_coding_fires_with_the_share_of_the_levels() -> None:
    samples = np.tile(np.array([0, 4, 12, 16]), (1000, 1))
    spikes = encode(samples, InputCode("rate", 16), 20)
    assert spikes.shape == (1000, 20, 4)
    assert spikes.dtype == np.uint8
    rates = spikes.mean(axis=(0, 1))
    assert (rates[0], rates[3]) == (0, 1)
    np.testing.assert_allclose(rates[1:3], [0.25, 0.75], atol=0.02)


def test_direct_and_event_coding_pass_the_integers_on() -> None:
    samples = np.arange(6).reshape(2, 3)
    assert encode(samples, InputCode("direct", 16), 20) is samples
    assert encode(samples, InputCode("events", 16), 20) is samples


def test_draws_belong_to_the_sample_whatever_batch_it_is_in() -> None:
    samples = np.full((6, 4), 8)
    whole = encode(samples, InputCode("rate", 16), 10, seed=3)
    part = encode(samples[4:], InputCode("rate", 16), 10, seed=3, first=4)
    np.testing.assert_array_equal(part, whole[4:])
