"""Samples become the same input over time for training, its evaluation and every engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurodeploy.data import Dataset, check_encoder, load_dataset
from neurodeploy.data.dataset import encode, spike_step
from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Contract, Encoder, InputCode, Semantics
from neurodeploy.simulation.trace import Samples
from neurodeploy.training.encoding import evaluation_frames, training_frames

LEVELS, STEPS = 16, 5
CPU = torch.device("cpu")


def samples(encoder: Encoder, count: int = 7) -> np.ndarray:
    shape = (count, STEPS, 2, 3) if encoder == "events" else (count, 2, 3)
    return np.random.default_rng(3).integers(0, LEVELS + 1, shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("levels", "steps", "expected"),
    [
        # floor(T (L - x)/L) for x = 0, 1, ..., L.
        (4, 4, [4, 3, 2, 1, 0]),
        (4, 2, [2, 1, 1, 0, 0]),
        (3, 10, [10, 6, 3, 0]),
        (1, 5, [5, 0]),
    ],
)
def test_latency_fires_once_and_earlier_the_larger(
    levels: int, steps: int, expected: list[int]
) -> None:
    x = np.arange(levels + 1, dtype=np.uint8)[None]
    spikes = encode(x, InputCode("latency", levels), steps)
    assert spikes.dtype == np.uint8
    assert spikes.shape == (1, steps, levels + 1)
    for value, step in enumerate(expected):
        when = np.flatnonzero(spikes[0, :, value]).tolist()
        assert when == ([] if value == 0 else [step])


def test_latency_does_not_overflow_its_integers() -> None:
    x = torch.tensor([0, 1, 255], dtype=torch.uint8)
    assert spike_step(x.to(torch.int32), 255, 1000).tolist() == [1000, 996, 0]
    spikes = encode(np.array([[1, 255]], np.uint8), InputCode("latency", 255), 1000)
    assert np.argmax(spikes[0], axis=0).tolist() == [996, 0]


def test_direct_and_events_pass_integers_through() -> None:
    for encoder in ("direct", "events"):
        x = samples(encoder)
        assert encode(x, InputCode(encoder, LEVELS), STEPS) is x


def test_rate_draws_with_the_value_as_probability() -> None:
    x = np.full((400, 3), 4, np.uint8)
    x[:, 0], x[:, 2] = 0, LEVELS
    spikes = encode(x, InputCode("rate", LEVELS), 50)
    mean = spikes.mean(axis=(0, 1))
    assert mean[0] == 0 and mean[2] == 1
    # 20,000 draws of probability 1/4: five standard deviations are 0.015.
    assert mean[1] == pytest.approx(0.25, abs=0.015)
    whole = encode(x[:10], InputCode("rate", LEVELS), 50, seed=2)
    parts = [encode(x[i : i + 1], InputCode("rate", LEVELS), 50, 2, i) for i in range(10)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("encoder", ["direct", "rate", "latency", "events"])
def test_evaluation_and_simulation_see_the_same_integers(encoder: Encoder) -> None:
    code, x = InputCode(encoder, LEVELS), samples(encoder)
    contract = Contract(Semantics(1e-4, "zero", ">"), code, STEPS, "sum_v")
    over_time = encoder == "events"
    made = Samples(len(x), lambda first, last: x[first:last], None, contract, "", over_time)
    for batch in made.batches(3):
        part = x[batch.first : batch.first + len(batch)]
        frames = list(evaluation_frames(part, code, STEPS, batch.first, CPU))
        assert len(frames) == STEPS
        for t, frame in enumerate(frames):
            integers = batch.values if batch.static else batch.values[:, t]
            assert frame.dtype == torch.float32
            np.testing.assert_array_equal(
                frame.numpy(), integers.astype(np.float32) / np.float32(code.payload)
            )


@pytest.mark.parametrize("encoder", ["direct", "latency", "events"])
def test_training_sees_what_evaluation_sees(encoder: Encoder) -> None:
    code, x = InputCode(encoder, LEVELS), samples(encoder)
    trained = training_frames(torch.from_numpy(x), code, STEPS, torch.Generator())
    evaluated = evaluation_frames(x, code, STEPS, 0, CPU)
    for seen, expected in zip(trained, evaluated, strict=True):
        torch.testing.assert_close(seen, expected, rtol=0, atol=0)


def test_binary_encoders_carry_spikes_of_one() -> None:
    payloads = {"direct": 16, "events": 16, "rate": 1, "latency": 1}
    for encoder, payload in payloads.items():
        code = InputCode(encoder, LEVELS)  # pyright: ignore[reportArgumentType]
        assert (code.payload, code.graded) == (payload, payload > 1)


def test_encoder_and_data_set_must_go_together() -> None:
    digits = load_dataset("digits")
    for encoder in ("direct", "rate", "latency"):
        check_encoder(digits, encoder)
    with pytest.raises(InputError, match="'digits' are static"):
        check_encoder(digits, "events")
    x, y = np.zeros((2, 3, 4), np.uint8), np.arange(2)
    events = Dataset("made_up", 1, x, y, x, y, over_time=True)
    assert events.sample_shape == (4,)
    check_encoder(events, "events")
    with pytest.raises(InputError, match=r'encoder\.name = "events"'):
        check_encoder(events, "direct")
