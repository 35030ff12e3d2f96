"""Operators: the fast form, the matrix and a naive computation agree; composing changes nothing."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch.nn import functional

from neurodeploy.ir.composition import add, compose, reading, reshaped
from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix, identity

quick = settings(max_examples=25, deadline=None)


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small integers with zeros among them, so that every sum is exact."""
    return rng.integers(-3, 4, shape).astype(np.float64)


@st.composite
def convolutions(draw: st.DrawFn, axes: int | None = None, inputs: tuple[int, ...] | None = None):
    """A convolution with stride, padding (often uneven), dilation and groups."""
    if inputs is None:
        axes = axes or draw(st.sampled_from([1, 2]))
        groups = draw(st.sampled_from([1, 1, 2, 3]))
        channels = groups * draw(st.integers(1, 2))
        sizes = tuple(draw(st.integers(3, 7)) for _ in range(axes))
        inputs = (channels, *sizes)
    else:
        channels, sizes = inputs[0], inputs[1:]
        groups = draw(st.sampled_from([n for n in (1, 2, channels) if channels % n == 0]))
    kernel, dilation, padding, stride = [], [], [], []
    for size in sizes:
        pads = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        spread = draw(st.integers(1, 2))
        longest = (size + sum(pads) - 1) // spread + 1
        kernel.append(draw(st.integers(1, min(3, longest))))
        dilation.append(spread)
        padding.append(pads)
        stride.append(draw(st.integers(1, 3)))
    outputs = groups * draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = integers(rng, (outputs, channels // groups, *kernel))
    return Convolution(weights, inputs, tuple(stride), tuple(padding), tuple(dilation), groups)


def naive_convolution(conv: Convolution, x: np.ndarray) -> np.ndarray:
    """One sum per output element, straight from the definition, with plain loops."""
    result = np.zeros(conv.output_shape)
    per_group = conv.weights.shape[0] // conv.groups
    for place in np.ndindex(*conv.output_shape):
        group = place[0] // per_group
        for within, *offset in itertools.product(*map(range, conv.weights.shape[1:])):
            at = [
                out * stride + k * dilation - before
                for out, stride, k, dilation, (before, _) in zip(
                    place[1:], conv.stride, offset, conv.dilation, conv.padding, strict=True
                )
            ]
            if all(0 <= i < n for i, n in zip(at, conv.input_shape[1:], strict=True)):
                channel = group * conv.weights.shape[1] + within
                weight = conv.weights[(place[0], within, *offset)]
                result[place] += weight * x[(channel, *at)]
    return result


def batch_for(operator: Operator, seed: int = 0, count: int = 3) -> np.ndarray:
    return integers(np.random.default_rng(seed), (count, *operator.input_shape))


def by_matrix(operator: Operator, batch: np.ndarray) -> np.ndarray:
    product = (operator.matrix() @ batch.reshape(len(batch), -1).T).T
    return product.reshape(len(batch), *operator.output_shape)


def fast(operator: Operator, batch: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    return operator.compile(dtype)(torch.from_numpy(batch).to(dtype)).double().numpy()


def assert_all_forms_give(operator: Operator, batch: np.ndarray, expected: np.ndarray) -> None:
    assert expected.shape[1:] == operator.output_shape
    np.testing.assert_array_equal(by_matrix(operator, batch), expected)
    for dtype in (torch.float32, torch.float64):
        np.testing.assert_array_equal(fast(operator, batch, dtype), expected)
    np.testing.assert_array_equal(operator(batch), expected)


def some_operators() -> list[Operator]:
    """One of each kind, with zeros among the weights."""
    rng = np.random.default_rng(3)
    conv = Convolution(
        integers(rng, (4, 1, 2, 3)), (2, 5, 4), (2, 1), ((1, 0), (0, 2)), (1, 1), groups=2
    )
    return [
        Dense(integers(rng, (5, 6)), (2, 3), (5,)),
        Convolution(integers(rng, (3, 2, 2)), (2, 6), (2,), ((1, 0),), (2,)),
        conv,
        SparseMatrix.of(conv),
        pool((2, 4, 5), (2, 2), (1, 2), (1, 0)),
        identity((2, 3)),
    ]


# --- every form computes the same ---


@quick
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_convolution_equals_its_definition(conv: Convolution, seed: int) -> None:
    batch = batch_for(conv, seed, count=2)
    expected = np.stack([naive_convolution(conv, x) for x in batch])
    assert_all_forms_give(conv, batch, expected)
    assert_all_forms_give(SparseMatrix.of(conv), batch, expected)


@quick
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_dense_and_sparse_equal_the_sum_over_inputs(outputs: int, inputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = integers(rng, (outputs, inputs))
    batch = integers(rng, (4, inputs))
    expected = np.array(
        [[sum(w * v for w, v in zip(row, x, strict=True)) for row in weights] for x in batch]
    )
    assert_all_forms_give(Dense(weights, (inputs,), (outputs,)), batch, expected)
    written = SparseMatrix.from_matrix(weights, (inputs,), (outputs,))
    assert np.count_nonzero(weights) == written.weights.size
    assert_all_forms_give(written, batch, expected)


@quick
@given(
    st.tuples(st.integers(1, 3), st.integers(3, 6), st.integers(3, 6)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.integers(0, 2**32 - 1),
)
def test_pool_sums_each_window(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    seed: int,
) -> None:
    operator = pool(shape, kernel, stride, padding)
    batch = batch_for(operator, seed)
    padded = np.pad(batch, ((0, 0), (0, 0), *((pad, pad) for pad in padding)))
    rows, columns = operator.output_shape[1:]
    expected = np.zeros((len(batch), *operator.output_shape))
    for i, j in itertools.product(range(rows), range(columns)):
        top, left = i * stride[0], j * stride[1]
        window = padded[:, :, top : top + kernel[0], left : left + kernel[1]]
        expected[:, :, i, j] = window.sum(axis=(2, 3))
    assert_all_forms_give(operator, batch, expected)


def test_a_sparse_matrix_adds_up_entries_of_the_same_place() -> None:
    repeated = sparse.coo_matrix(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    operator = SparseMatrix.from_matrix(repeated, (2,), (2,))
    np.testing.assert_array_equal(operator(np.array([[10.0, 100.0]])), [[300.0, 40.0]])


def test_identity_returns_its_input() -> None:
    batch = batch_for(identity((2, 3)))
    assert_all_forms_give(identity((2, 3)), batch, batch)


def test_integer_weights_give_the_same_as_their_floats() -> None:
    for operator in some_operators():
        whole = operator.with_weights(operator.weights.astype(np.int64))
        batch = batch_for(operator)
        np.testing.assert_array_equal(fast(whole, batch, torch.float32), operator(batch))
        assert whole.matrix().dtype == np.int64


# --- composing ---


@quick
@given(st.data())
def test_composing_equals_applying_one_after_the_other(data: st.DataObject) -> None:
    first = data.draw(convolutions())
    second: Operator = data.draw(convolutions(inputs=first.output_shape))
    if data.draw(st.booleans()):
        second = SparseMatrix.of(second)
    if data.draw(st.booleans()):
        first = SparseMatrix.of(first)
    batch = batch_for(first, data.draw(st.integers(0, 99)))
    combined = compose(first, second)
    assert combined.input_shape == first.input_shape
    assert_all_forms_give(combined, batch, second(first(batch)))


@quick
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_anything_before_a_dense_layer_becomes_dense(first: Convolution, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = integers(rng, (2, math.prod(first.output_shape)))
    combined = compose(first, Dense(weights, first.output_shape, (2,)))
    assert isinstance(combined, Dense)
    batch = batch_for(first, seed)
    flat = np.stack([naive_convolution(first, x) for x in batch]).reshape(len(batch), -1)
    assert_all_forms_give(combined, batch, flat @ weights.T)


@quick
@given(st.data())
def test_pooling_before_a_convolution_stays_one_convolution(data: st.DataObject) -> None:
    window = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    channels = data.draw(st.integers(1, 3))
    pooled = data.draw(st.tuples(st.integers(2, 3), st.integers(2, 3)))
    shape = (channels, pooled[0] * window[0], pooled[1] * window[1])
    average = pool(shape, window, window, (0, 0))
    average = average.with_weights(average.weights / 4)
    conv = data.draw(convolutions(inputs=average.output_shape))
    combined = compose(average, conv)
    batch = batch_for(average, data.draw(st.integers(0, 99)))
    expected = np.stack([naive_convolution(conv, x) for x in average(batch)])
    assert_all_forms_give(combined, batch, expected)
    if set(conv.dilation) == {1}:
        assert isinstance(combined, Convolution)
        assert combined.weights.size == conv.weights.size * math.prod(window)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (pool((1, 5, 4), (2, 2), (2, 2), (0, 0)), "a row is left over"),
        (pool((1, 4, 4), (3, 3), (2, 2), (0, 0)), "windows overlap"),
        (pool((1, 4, 4), (3, 3), (1, 1), (1, 1)), "the padding reaches too little"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_pooling_that_no_convolution_can_absorb_is_written_out(
    first: Convolution, reason: str
) -> None:
    rng = np.random.default_rng(0)
    padding = ((1, 1), (1, 1))
    second = Convolution(integers(rng, (2, 1, 2, 2)), first.output_shape, (1, 1), padding, (1, 1))
    combined = compose(first, second)
    assert isinstance(combined, SparseMatrix), reason
    batch = batch_for(first)
    assert_all_forms_give(combined, batch, second(first(batch)))


def conv_of(
    inputs: tuple[int, ...], outputs: int, kernel: tuple[int, ...], seed: int = 0, **options: Any
) -> Convolution:
    """A convolution with random weights; options as torch has them, one for all axes."""
    axes, groups = len(kernel), options.get("groups", 1)
    stride, padding, dilation = (
        (options.get(name, default),) * axes
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    weights = np.random.default_rng(seed).normal(size=(outputs, inputs[0] // groups, *kernel))
    pads = tuple((pad, pad) for pad in padding)
    return Convolution(weights, inputs, stride, pads, dilation, groups)


def by_torch(conv: Convolution, x: torch.Tensor) -> torch.Tensor:
    """torch's own convolution in float64."""
    convolve: Any = functional.conv1d if len(conv.kernel) == 1 else functional.conv2d
    padding = tuple(before for before, _ in conv.padding)
    weights = torch.from_numpy(conv.weights)
    return convolve(x, weights, None, conv.stride, padding, conv.dilation, conv.groups)


MERGED: dict[str, tuple[tuple[int, ...], list[tuple[int, tuple[int, ...], dict[str, int]]]]] = {
    "tutorial": ((1, 28, 28), [(12, (5, 5), {}), (12, (2, 2), {"stride": 2, "groups": 12})]),
    "padded before": (
        (3, 12, 12),
        [(4, (5, 5), {"padding": 2}), (4, (2, 2), {"stride": 2, "groups": 4})],
    ),
    "remainder": (
        (2, 11, 10),
        [(4, (3, 3), {}), (4, (2, 2), {"stride": 2, "groups": 4})],
    ),
    "overlapping": (
        (2, 11, 11),
        [(4, (3, 3), {"padding": 1}), (4, (3, 3), {"stride": 2, "groups": 4})],
    ),
    "two poolings": (
        (3, 12, 12),
        [(3, (2, 2), {"stride": 2, "groups": 3}), (3, (3, 3), {"stride": 3, "groups": 3})],
    ),
    "three": (
        (2, 16, 16),
        [
            (4, (3, 3), {}),
            (4, (2, 2), {"stride": 2, "groups": 4}),
            (3, (3, 3), {}),
        ],
    ),
    "two convolutions": ((3, 9, 9), [(4, (3, 3), {"padding": 1}), (5, (3, 3), {"stride": 2})]),
    "one by one": ((3, 7, 7), [(6, (1, 1), {}), (4, (3, 3), {"padding": 1})]),
    "strided one by one": (
        (3, 8, 8),
        [(6, (1, 1), {"stride": 2}), (4, (3, 3), {"padding": 1})],
    ),
    "padded pooling": (
        (2, 8, 8),
        [(2, (2, 2), {"stride": 2, "padding": 1, "groups": 2}), (3, (3, 3), {"padding": 1})],
    ),
    "dilated": ((2, 12, 12), [(4, (3, 3), {"dilation": 2}), (3, (2, 2), {"dilation": 3})]),
    "dilated behind a pooling": (
        (2, 12, 12),
        [(2, (2, 2), {"stride": 2, "groups": 2}), (3, (2, 2), {"dilation": 2, "padding": 1})],
    ),
    "groups": (
        (4, 8, 8),
        [(8, (3, 3), {"groups": 2}), (8, (2, 2), {"stride": 2, "groups": 8})],
    ),
    "same groups": ((4, 8, 8), [(6, (3, 3), {"groups": 2}), (4, (2, 2), {"groups": 2})]),
    "groups in groups": ((8, 8, 8), [(8, (3, 3), {"groups": 4}), (6, (2, 2), {"groups": 2})]),
    "other groups": ((6, 6, 6), [(6, (2, 2), {"groups": 2}), (6, (2, 2), {"groups": 3})]),
    "more channels each": (
        (3, 8, 8),
        [(6, (3, 3), {"groups": 3}), (12, (2, 2), {"stride": 2, "groups": 6})],
    ),
    "one axis": ((2, 20), [(4, (5,), {"padding": 2}), (4, (2,), {"stride": 2, "groups": 4})]),
}


@pytest.mark.parametrize("name", MERGED)
def test_convolutions_in_a_row_are_one_where_that_is_exact(name: str) -> None:
    """Against torch's convolutions, one after the other, in float64."""
    shape, layers = MERGED[name]
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(3, *shape)))
    expected, combined = x, None
    for seed, (outputs, kernel, options) in enumerate(layers):
        conv = conv_of(shape, outputs, kernel, seed, **options)
        expected, shape = by_torch(conv, expected), conv.output_shape
        combined = conv if combined is None else compose(combined, conv)
    assert isinstance(combined, Convolution)
    np.testing.assert_allclose(combined(x.numpy()), expected.numpy(), rtol=1e-9, atol=1e-9)
    product = by_matrix(combined, x.numpy())
    np.testing.assert_allclose(product, expected.numpy(), rtol=1e-9, atol=1e-9)
    assert [part.weights.shape[0] for part in combined.parts] == [out for out, _, _ in layers]


def test_conv5_and_pool2_are_conv6_of_stride_2() -> None:
    conv = conv_of((16, 64, 64), 32, (5, 5), padding=2)
    combined = compose(conv, pool(conv.output_shape, (2, 2), (2, 2), (0, 0)))
    assert isinstance(combined, Convolution)
    assert (combined.kernel, combined.stride) == ((6, 6), (2, 2))
    assert combined.padding == ((2, 2), (2, 2))


MARGIN = 4
"""Outputs of the first before its own first one that are looked at."""


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_two_convolutions_are_one_exactly_where_nothing_is_cut_off_between(
    data: st.DataObject,
) -> None:
    axes = data.draw(st.integers(1, 2))
    size = data.draw(st.tuples(*[st.integers(9, 12)] * axes))
    options = st.fixed_dictionaries(
        {"stride": st.integers(1, 3), "padding": st.integers(0, 2), "dilation": st.integers(1, 2)}
    )
    kernels = st.tuples(*[st.integers(1, 2)] * axes)
    first = conv_of((2, *size), 3, data.draw(kernels), 0, **data.draw(options))
    second = conv_of(first.output_shape, 2, data.draw(kernels), 1, **data.draw(options))
    combined = compose(first, second)
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(2, *first.input_shape)))
    expected = by_torch(second, by_torch(first, x)).numpy()
    np.testing.assert_allclose(combined(x.numpy()), expected, rtol=1e-9, atol=1e-9)
    # The same with what the first gives beyond its ends, which the second has zeros for.
    around = [
        (first.stride[axis] * MARGIN + first.padding[axis][0], 99) for axis in reversed(range(axes))
    ]
    plain: Any = {"padding": ((0, 0),) * axes}
    padded = functional.pad(x, [end for ends in around for end in ends])
    middle = by_torch(replace(first, input_shape=tuple(padded.shape[1:]), **plain), padded)
    for axis in range(axes):
        reach = (second.output_shape[axis + 1] - 1) * second.stride[axis]
        reach += (second.kernel[axis] - 1) * second.dilation[axis] + 1
        middle = middle.narrow(axis + 2, MARGIN - second.padding[axis][0], reach)
    uncut = by_torch(replace(second, input_shape=tuple(middle.shape[1:]), **plain), middle).numpy()
    assert isinstance(combined, Convolution) == np.allclose(uncut, expected, rtol=1e-9, atol=1e-9)


def test_composing_operators_that_do_not_meet_is_refused() -> None:
    with pytest.raises(ValueError, match=r"first gives \(2, 3\), the second takes \(6,\)"):
        compose(identity((2, 3)), identity((6,)))


@quick
@given(st.data())
def test_factors_beside_a_convolution_stay_out_of_a_matrix(data: st.DataObject) -> None:
    conv = data.draw(convolutions())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    batch = batch_for(conv, 0)
    axes = len(conv.input_shape) - 1

    def factors(shape: tuple[int, ...]) -> tuple[SparseMatrix, np.ndarray]:
        by_channel = rng.integers(1, 5, (shape[0], *(1,) * axes)).astype(np.float64)
        scaled = identity(shape).scaled(by_channel)
        assert isinstance(scaled, SparseMatrix)
        return scaled, by_channel

    after, gain = factors(conv.output_shape)
    combined = compose(conv, after)
    assert isinstance(combined, Convolution)
    assert_all_forms_give(combined, batch, conv(batch) * gain)
    before, gain = factors(conv.input_shape)
    combined = compose(before, conv)
    assert isinstance(combined, Convolution) == (conv.groups == 1)
    assert_all_forms_give(combined, batch, conv(batch * gain))
    uneven = identity(conv.input_shape).scaled(
        1.0 + np.arange(batch[0].size).reshape(batch[0].shape)
    )
    assert_all_forms_give(
        compose(uneven, conv), batch, conv(batch * uneven.weights.reshape(1, *batch[0].shape))
    )


@quick
@given(st.data())
def test_adding_equals_applying_both(data: st.DataObject) -> None:
    first = data.draw(convolutions())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    second: Operator = first.with_weights(integers(rng, first.weights.shape))
    kind = data.draw(st.sampled_from(["conv", "sparse", "dense"]))
    if kind == "sparse":
        second = SparseMatrix.of(second)
    elif kind == "dense":
        second = Dense(second.matrix().toarray(), first.input_shape, first.output_shape)
    batch = batch_for(first, 0)
    for one, other in ((first, second), (second, first)):
        combined = add(one, other)
        assert combined.kind == kind
        assert_all_forms_give(combined, batch, first(batch) + second(batch))


def test_adding_convolutions_of_different_strides_is_written_out() -> None:
    """1 x 1 with stride 2 beside 3 x 3 with stride 2: what a shortcut adds to a block."""
    rng = np.random.default_rng(0)
    wide = Convolution(integers(rng, (2, 1, 3, 3)), (1, 4, 4), (2, 2), ((1, 1), (1, 1)), (1, 1))
    narrow = Convolution(integers(rng, (2, 1, 1, 1)), (1, 4, 4), (2, 2), ((0, 0), (0, 0)), (1, 1))
    combined = add(wide, narrow)
    assert isinstance(combined, SparseMatrix)
    batch = batch_for(wide)
    assert_all_forms_give(combined, batch, wide(batch) + narrow(batch))


def test_adding_operators_of_different_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot add: \(2, 3\) to \(2, 3\) and \(6,\) to \(6,\)"):
        add(identity((2, 3)), identity((6,)))


# --- scaling ---


@pytest.mark.parametrize("operator", some_operators(), ids=lambda operator: operator.kind)
def test_scaling_multiplies_every_output_by_its_own_factor(operator: Operator) -> None:
    batch = batch_for(operator)
    gains = np.random.default_rng(1).integers(-4, 5, operator.output_shape).astype(np.float64)
    assert_all_forms_give(operator.scaled(gains), batch, operator(batch) * gains)
    assert_all_forms_give(operator.scaled(np.array(2.5)), batch, operator(batch) * 2.5)


def test_a_factor_per_channel_keeps_a_convolution() -> None:
    conv = next(
        op for op in some_operators() if isinstance(op, Convolution) and len(op.kernel) == 2
    )
    gain = np.arange(1.0, 1 + conv.output_shape[0]).reshape(-1, 1, 1)
    per_channel, per_output = conv.scaled(gain), conv.scaled(np.ones(conv.output_shape) * gain)
    batch = batch_for(conv)
    for scaled in (per_channel, per_output):
        assert isinstance(scaled, Convolution)
        assert_all_forms_give(scaled, batch, conv(batch) * gain)
    uneven = np.ones(conv.output_shape)
    uneven[0, 0, 0] = 2
    assert isinstance(conv.scaled(uneven), SparseMatrix)


# --- shapes ---


@pytest.mark.parametrize("operator", some_operators(), ids=lambda operator: operator.kind)
def test_reshaping_and_reading_keep_the_numbers_in_c_order(operator: Operator) -> None:
    batch = batch_for(operator)
    flat_out = (math.prod(operator.output_shape),)
    assert_all_forms_give(
        reshaped(operator, flat_out), batch, operator(batch).reshape(len(batch), -1)
    )
    flat_in = (math.prod(operator.input_shape),)
    assert_all_forms_give(
        reading(operator, flat_in), batch.reshape(len(batch), -1), operator(batch)
    )
    assert reading(operator, operator.input_shape) is operator


def test_reshaping_to_another_number_of_elements_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) to \(5,\)"):
        reshaped(identity((2, 3)), (5,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(np.ones((2, 3)), (4,), (2,)), r"\(2, 3\), expected \(2, 4\)"),
        (
            lambda: Convolution(np.ones((2, 3, 3)), (2, 8), (1,), ((0, 0),), (1,)),
            "3 input channels",
        ),
        (lambda: Convolution(np.ones((2, 1, 3)), (2, 8), (1,), ((0, 0),), (1,), 3), "3 groups"),
        (
            lambda: Convolution(np.ones((2, 2, 9)), (2, 8), (1,), ((0, 0),), (1,)),
            "larger than its input",
        ),
        (lambda: Convolution(np.ones((2, 2, 3)), (2, 8), (0,), ((0, 0),), (1,)), "stride"),
        (lambda: Convolution(np.ones((2, 2, 3)), (2, 8), (1,), ((-1, 0),), (1,)), "padding"),
        (lambda: Convolution(np.ones((2, 2)), (2,), (), (), ()), "1 or 2 axes"),
    ],
)
def test_weights_that_do_not_fit_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- bounds ---


@quick
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_no_input_within_one_exceeds_the_row_bound(conv: Convolution, seed: int) -> None:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (8, *conv.input_shape))
    for operator in (conv, SparseMatrix.of(conv)):
        assert np.abs(operator(signs)).max() <= operator.absolute_row_bound()


def test_the_row_bound_is_reached() -> None:
    for operator in some_operators():
        rows = np.asarray(abs(operator.matrix()).sum(axis=1)).ravel()
        assert operator.absolute_row_bound() == rows.max()
        worst = operator.matrix()[int(rows.argmax())].toarray().reshape(1, *operator.input_shape)
        assert operator(np.sign(worst)).max() == operator.absolute_row_bound()


def test_the_row_bound_of_narrow_integers_does_not_overflow() -> None:
    weights = np.full((1, 4000), 255, np.int16)
    assert Dense(weights, (4000,), (1,)).absolute_row_bound() == 4000 * 255


def test_an_operator_without_entries_has_bound_zero() -> None:
    empty = SparseMatrix.from_matrix(np.zeros((2, 3)), (3,), (2,))
    assert empty.absolute_row_bound() == 0
    assert_all_forms_give(empty, np.ones((2, 3)), np.zeros((2, 2)))


# --- writing out leaves the operator alone ---


@pytest.mark.parametrize("operator", some_operators(), ids=lambda operator: operator.kind)
def test_the_matrix_leaves_zeros_out_and_the_operator_alone(operator: Operator) -> None:
    weights = operator.weights.copy()
    weights.flat[::2] = 0
    operator = operator.with_weights(weights)
    arrays = {
        name: (value, value.copy())
        for name, value in vars(operator).items()
        if isinstance(value, np.ndarray)
    }
    batch = batch_for(operator)
    before = operator(batch)
    matrix = operator.matrix()
    assert (matrix.data != 0).all()
    assert matrix.nnz == np.count_nonzero(matrix.toarray())
    matrix.data[:] = 77
    for value, copy in arrays.values():
        np.testing.assert_array_equal(value, copy)
    np.testing.assert_array_equal(operator(batch), before)
    for form in (operator.scaled(np.array(3.0)), SparseMatrix.of(operator)):
        form.weights[...] = 55
    for value, copy in arrays.values():
        np.testing.assert_array_equal(value, copy)


def test_a_sparse_operator_does_not_share_the_matrix_it_was_made_from() -> None:
    matrix = sparse.csr_matrix(np.eye(3))
    operator = SparseMatrix.from_matrix(matrix, (3,), (3,))
    matrix.data[:] = 9
    np.testing.assert_array_equal(operator.weights, [1, 1, 1])
