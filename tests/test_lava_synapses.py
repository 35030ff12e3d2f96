"""Projections in the Lava engines: a kernel kept as a kernel equals Lava's own Conv and Sparse."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from neurodeploy.ir.convolution import Convolution, pool
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator
from neurodeploy.ir.quantized import QuantizedPopulation, QuantizedProjection
from neurodeploy.lava.compat import require_lava
from support.random_networks import OPERATORS, random_operator, random_projection

pytestmark = pytest.mark.lava

STEPS = 12


def conv(
    shape: tuple[int, ...], outputs: int, kernel: tuple[int, ...], **options: Any
) -> Convolution:
    """With weights still to be drawn; stride and dilation 1 and no padding unless given."""
    axes = len(kernel)
    groups = options.pop("groups", 1)
    settings: dict[str, Any] = {
        "stride": (1,) * axes,
        "padding": ((0, 0),) * axes,
        "dilation": (1,) * axes,
        **options,
    }
    weights = np.zeros((outputs, shape[0] // groups, *kernel))
    return Convolution(weights, shape, groups=groups, **settings)


CONVOLUTIONS: dict[str, Operator] = {
    "plain": conv((3, 6, 5), 4, (3, 3), padding=((1, 1), (1, 1))),
    "wide": conv((2, 7, 5), 3, (3, 2), padding=((2, 2), (1, 1)), stride=(2, 1)),
    "dilated": conv((2, 9, 8), 3, (3, 3), dilation=(2, 3), padding=((1, 1), (3, 3))),
    "grouped": conv((4, 6, 6), 6, (3, 3), groups=2, stride=(2, 2)),
    "depthwise": conv((3, 6, 6), 3, (3, 3), groups=3, padding=((1, 1), (1, 1))),
    "pooling": pool((3, 6, 6), (2, 2), (2, 2), (0, 0)),
    "one by one": conv((5, 4, 4), 2, (1, 1), stride=(2, 2)),
}
"""As Lava's Conv can have them: two axes, and as much padding before as after."""


def projection_of(operator: Operator, seed: int, payload: int = 1) -> QuantizedProjection:
    """With random weights, of a random format."""
    rng = np.random.default_rng(seed)
    source = QuantizedPopulation("input", operator.input_shape, None, 1.0)
    return random_projection(rng, "projection", source, "target", operator, payload)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("payload", [1, 255])
def test_a_batch_is_multiplied_as_by_the_matrix(kind: str, payload: int) -> None:
    """Of every kind of operator, with every shift, in 64-bit integers written down here."""
    require_lava()
    from neurodeploy.lava.synapses import batched_synapses

    for seed in range(25):
        rng = np.random.default_rng(seed)
        shape = (2, 16) if kind == "conv1d" and seed % 2 else (2, 5, 4)
        projection = projection_of(random_operator(rng, kind, shape), seed, payload)
        operator = projection.operator
        matrix: Any = operator.matrix().astype(np.int64)
        spikes = rng.integers(0, payload + 1, (3, matrix.shape[1]))
        expected = (matrix @ spikes.T).T
        shift = projection.exponent
        expected = expected << shift if shift > 0 else expected >> -shift
        np.testing.assert_array_equal(batched_synapses(projection)(spikes), expected)


def test_weights_outside_their_format_are_clipped_and_truncated_as_lava_does() -> None:
    require_lava()
    from neurodeploy.lava.synapses import as_lava_holds_it

    weights = np.array([-300, -256, -3, -1, 1, 3, 254, 255, 300])
    for bits, sign, expected in (
        (8, "mixed", [-256, -256, -4, -2, 0, 2, 254, 254, 254]),
        (4, "mixed", [-256, -256, -32, -32, 0, 0, 224, 224, 224]),
        (8, "excitatory", [0, 0, 0, 0, 1, 3, 254, 255, 255]),
    ):
        one_axis = Convolution(weights[:, None, None], (1, 4), (1,), ((0, 0),), (1,))
        for operator in (one_axis, Dense(weights[:, None], (1,), (9,))):
            projection = QuantizedProjection(
                "p", "a", "b", operator, WeightFormat(bits, sign), exponent=0, payload=1
            )
            held = as_lava_holds_it(projection).weights.ravel()
            np.testing.assert_array_equal(held, expected)


def in_lava(*branches: tuple[Any, np.ndarray]) -> list[np.ndarray]:
    """What synapses send at each step, (STEPS, *outputs), each in a Lava network of its own.

    Args:
        branches: a process, and what reaches it, (STEPS, *inputs).
    """
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    from neurodeploy.lava.runtime import GuardedRuntime

    found = []
    for synapses, values in branches:
        source = Source(data=np.moveaxis(values, 0, -1))
        sink = Sink(shape=synapses.a_out.shape, buffer=STEPS)
        source.s_out.connect(synapses.s_in)
        synapses.a_out.connect(sink.a_in)
        with GuardedRuntime(sink, Loihi2SimCfg(select_tag="fixed_pt"), timeout=60) as runtime:
            runtime.run(STEPS)
            found.append(np.moveaxis(sink.data.get(), -1, 0))
    return found


def channels_last(values: np.ndarray) -> np.ndarray:
    """(..., C, H, W) as Lava's Conv wants it: (..., W, H, C)."""
    return np.moveaxis(values, (-3, -2, -1), (-1, -2, -3))


KEPT = {("dilated", 1), ("grouped", 15), ("wide", 15), ("pooling", 1)}
"""Stride, dilation, groups and more padding on one side: each once, with and without a payload."""


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        pytest.param(payload, name, marks=[] if (name, payload) in KEPT else pytest.mark.slow)
        for payload, name in product((1, 15), CONVOLUTIONS)
    ],
)
def test_a_kernel_is_lavas_own_conv_and_sparse_at_every_step(name: str, payload: int) -> None:
    require_lava()
    from lava.proc.conv.process import Conv
    from lava.proc.sparse.process import Sparse
    from lava.utils.weightutils import SignMode

    from neurodeploy.lava.processes.process import DeployedSynapses

    drawn = projection_of(CONVOLUTIONS[name], 3, payload)
    form = drawn.weight_format
    # Lava's Conv shifts nothing.
    projection = QuantizedProjection("p", "a", "b", drawn.operator, form, 0, payload)
    operator: Any = projection.operator
    rng = np.random.default_rng(1)
    values = rng.integers(0, payload + 1, (STEPS, *operator.input_shape)).astype(np.int32)
    bits = 0 if payload == 1 else payload.bit_length()
    own = Conv(
        # Lava convolves, where torch and we correlate.
        weight=np.moveaxis(operator.weights[..., ::-1, ::-1], (1, 2, 3), (3, 2, 1)),
        input_shape=operator.input_shape[::-1],
        padding=tuple(before for before, _ in operator.padding)[::-1],
        stride=operator.stride[::-1],
        dilation=operator.dilation[::-1],
        groups=operator.groups,
        num_message_bits=bits,
    )
    written_out = Sparse(
        weights=operator.matrix().astype(np.int32),
        num_weight_bits=form.bits,
        sign_mode=SignMode[form.sign.upper()],
        num_message_bits=bits,
    )
    kept = DeployedSynapses(projection=projection, delay=0, name="kept")
    flat = values.reshape(STEPS, -1)
    by_conv, by_sparse, by_kernel = in_lava(
        (own, channels_last(values)), (written_out, flat), (kept, flat)
    )
    assert np.unique(by_kernel).size > 3 and not by_kernel[0].any()
    np.testing.assert_array_equal(by_kernel, by_sparse)
    conv_flat = np.moveaxis(by_conv, (1, 2, 3), (3, 2, 1)).reshape(STEPS, -1)
    np.testing.assert_array_equal(by_kernel, conv_flat)


@pytest.mark.parametrize(
    ("delay", "exponent"),
    [
        pytest.param(*pair, marks=[] if pair in {(0, 3), (3, -2)} else pytest.mark.slow)
        for pair in product((0, 1, 3), (-2, 3))
    ],
)
def test_delays_and_shifts_are_those_of_lavas_delayed_sparse(delay: int, exponent: int) -> None:
    require_lava()
    from lava.proc.sparse.process import Sparse

    from neurodeploy.lava.processes.process import DeployedSynapses
    from neurodeploy.lava.stock import synapses_of

    drawn = projection_of(CONVOLUTIONS["plain"], 5)
    form = drawn.weight_format
    projection = QuantizedProjection("p", "a", "b", drawn.operator, form, exponent, 1)
    own = synapses_of(projection, delay)
    assert isinstance(own, Sparse)
    kept = DeployedSynapses(projection=projection, delay=delay, name="kept")
    inputs = int(np.prod(drawn.operator.input_shape))
    values = np.random.default_rng(2).integers(0, 2, (STEPS, inputs)).astype(np.int32)
    by_sparse, by_kernel = in_lava((own, values), (kept, values))
    assert not by_kernel[: delay + 1].any() and by_kernel[delay + 1 :].any()
    np.testing.assert_array_equal(by_kernel, by_sparse)
