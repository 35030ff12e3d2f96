"""A graph of plain ONNX operators under construction, and integer arithmetic in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.ir.fixed_point import DECAY_ONE, INT32_EXACT, STATE_LIMIT
from neurodeploy.ir.operators import Shape


class Nodes:
    """Operators and constants; each method adds some and returns the name of what they give.

    Args:
        outer: the graph that this one is the body of, whose constants it shares.
    """

    def __init__(self, outer: Nodes | None = None) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = [] if outer is None else outer.constants
        self._known: dict[tuple[str, Shape, bytes], str] = {} if outer is None else outer._known
        self._prefix = "at" if outer is None else "step"

    def add(self, kind: str, *inputs: str, gives: str = "", **attributes: Any) -> str:
        """An operator with one output."""
        from onnx import helper

        name = gives or f"{self._prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, values: Any, dtype: type = np.int64) -> str:
        """An array, or a single number; stored once however often it is asked for."""
        from onnx import numpy_helper

        array = np.array(values, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def per_neuron(self, values: Any, shape: Shape) -> str:
        """A parameter of a population, as a single number where all neurons have the same."""
        array = np.broadcast_to(np.asarray(values, np.int64), shape)
        return self.constant(array.flat[0] if (array == array.flat[0]).all() else array)

    def cast(self, name: str, dtype: type) -> str:
        """The same in another type."""
        from onnx import helper

        return self.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshaped(self, name: str, shape: Shape) -> str:
        """(N, ...) as (N, *shape)."""
        return self.add("Reshape", name, self.constant([-1, *shape]))

    def zeros(self, like: str, shape: Shape, dtype: type) -> str:
        """(N, *shape), N being that of another array."""
        samples = self.add("Shape", like, start=0, end=1)
        whole = self.add("Concat", samples, self.constant(shape), axis=0) if shape else samples
        return self.add("Expand", self.constant(0, dtype), whole)

    def decayed(self, state: str, kept: str) -> str:
        """sign(x) (|x| kept >> 12): integers divide towards zero in ONNX."""
        return self.add("Div", self.add("Mul", state, kept), self.constant(DECAY_ONE))

    def times_power(self, values: str, factor: int, exponent: int) -> str:
        """Times factor 2^exponent, rounded down."""
        while exponent < 0 and factor % 2 == 0:
            factor, exponent = factor // 2, exponent + 1
        factor <<= max(exponent, 0)
        found = values if factor == 1 else self.add("Mul", values, self.constant(factor))
        if exponent >= 0:
            return found
        power = self.constant(1 << -exponent)
        # What Mod leaves has the sign of the divisor, so that the difference lies below.
        below = self.add("Sub", found, self.add("Mod", found, power))
        return self.add("Div", below, power)

    def within_32_bits(self, values: str) -> str:
        """What 32-bit integers keep."""
        half, whole = self.constant(INT32_EXACT), self.constant(2 * INT32_EXACT)
        return self.add("Sub", self.add("Mod", self.add("Add", values, half), whole), half)

    def wrapped(self, u: str) -> str:
        """Wrapped once into 24 bits."""
        limit, width = self.constant(STATE_LIMIT), self.constant(2 * STATE_LIMIT)
        above, below = (
            self.add("Greater", u, limit),
            self.add("LessOrEqual", u, self.constant(-STATE_LIMIT)),
        )
        raised = self.add("Where", below, self.add("Add", u, width), u)
        return self.add("Where", above, self.add("Sub", u, width), raised)

    def saturated(self, v: str) -> str:
        """Clipped to 24 bits."""
        high = self.add("Min", v, self.constant(STATE_LIMIT - 1))
        return self.add("Max", high, self.constant(1 - STATE_LIMIT))
