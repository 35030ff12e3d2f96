"""Integer weights in lava-dl's packing: compared with what lava-dl and Lava themselves compute."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neurodeploy.interchange.netx.layers import LARGEST_SHIFT, packing, refused_by_lava_dl
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.lava.compat import netx_without_slayer, require_lava

powers = st.sampled_from([sign * 2**power for power in range(9) for sign in (1, -1)])
values = st.one_of(st.integers(-260, 260), powers, st.integers(-4, 4), st.just(0))


def matrices(rows: int) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.just(rows), st.integers(1, 4))
    scaled = st.tuples(arrays.arrays(np.int64, shapes, elements=values), st.integers(0, 5))
    return scaled.map(lambda drawn: np.clip(drawn[0] << drawn[1], -300, 300))


def run_by_lava(parts: list[np.ndarray]) -> list[np.ndarray] | None:
    """What a spike through each synapse adds in Lava's Dense, built as netx builds it."""
    require_lava()
    with netx_without_slayer():
        from lava.lib.dl.netx.utils import optimize_weight_bits
    from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            joint, bits, exponent, _ = optimize_weight_bits(np.hstack(parts))
        except OverflowError:
            return None
    if bits > 8 or exponent > 0:
        return None
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    run = []
    for part in np.split(joint, ends, axis=1):
        sign = determine_sign_mode(part)
        held = truncate_weights(clip_weights(part, sign, num_bits=8), sign, bits)
        run.append(np.asarray(held) / 2.0**-exponent)
    return run


@pytest.mark.lava
@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.integers(1, 3).flatmap(lambda rows: st.lists(matrices(rows), min_size=1, max_size=2)))
@example([np.array([[-4, 0]])])  # half of it is lost
@example([np.array([[-1, -1]])])  # all of it is lost
@example([np.array([[-256, -2]])])
@example([np.array([[255, -2]])])
@example([np.array([[255, 1]])])
@example([np.array([[0, 0]])])
@example([np.array([[3, -5]]), np.array([[-256]])])
def test_weights_are_refused_exactly_when_lava_dl_changes_them(parts: list[np.ndarray]) -> None:
    run = run_by_lava(parts)
    kept = run is not None and all(np.array_equal(a, b) for a, b in zip(run, parts, strict=True))
    assert (refused_by_lava_dl(*parts) == "") == kept


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[0, 0]], "all weights are 0"),
        ([[256, 2]], "weights from 2 to 256 do not fit 8 bits"),
        ([[3, -200]], "weights from -200 to 3 do not fit 8 bits"),
        ([[-4, 0]], "lava-dl would run 1 of 2 weights as other numbers"),
    ],
)
def test_refusals_say_why(weights: list[list[int]], message: str) -> None:
    assert message in refused_by_lava_dl(np.array(weights))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(matrices(2), min_size=1, max_size=2))
def test_packing_holds_weights_in_the_fewest_bits(parts: list[np.ndarray]) -> None:
    joint = np.hstack(parts)

    def holding(bits: int, sign: str, left: int) -> bool:
        form, shifted = WeightFormat(bits, sign), joint << left
        inside = form.minimum <= shifted.min() and shifted.max() <= form.maximum
        return inside and not (shifted % form.step).any()

    signs = {WeightFormat.fitting(joint, 8).sign, "mixed"}
    possible = [
        (bits, sign)
        for bits in range(1, 9)
        for sign in signs
        for left in range(LARGEST_SHIFT + 1)
        if holding(bits, sign, left)
    ]
    found = packing(*parts)
    assert (found is None) == (not possible)
    if found is not None:
        left, form = found
        assert holding(form.bits, form.sign, left)
        assert form.bits == min(bits for bits, sign in possible if sign == form.sign)
