"""Deployed integers as plain ONNX: integer operators alone, and the same integers as every engine.

``MatMulInteger`` and ``ConvInteger`` multiply weights and spikes of 8 bits; all else is arithmetic
of 64-bit integers that ONNX defines to the last bit. Steps are either written out one after the
other (``unrolled``), without control flow, or are the body of a ``Scan``.

    input    (N, *shape) uint8 where every step sees the same, else (N, T, *shape)
    scores   (N, outputs) int64: what the contract decodes; the class is its argmax
    with traces, POPULATION.s uint8 and POPULATION.u, POPULATION.v int64, each (N, T, *shape)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from neurodeploy.errors import MissingDependencyError, UnsupportedError
from neurodeploy.interchange.onnx.nodes import Nodes
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_ONE,
    INT32_EXACT,
    STATE_LIMIT,
)
from neurodeploy.ir.models import only_leaky
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedPopulation, QuantizedProjection
from neurodeploy.ir.schedule import step_order
from neurodeploy.support.system import version_of

Form = Literal["unrolled", "scan"]

OPSET, IR_VERSION = 17, 8
"""Of 2022, so that older readers take the file as well."""

MOST_STEPS = 64
"""Steps that are written out one after the other."""

MOST_WRITTEN_OUT = 2**24
"""Entries of a matrix that stands for sparse weights."""


def to_onnx(
    network: QuantizedNetwork,
    form: Form = "scan",
    *,
    each_step: bool | None = None,
    traces: bool = False,
) -> Any:
    """The network as an ``onnx.ModelProto``.

    Args:
        form: how steps are written.
        each_step: whether the input has values for every step; None as the encoder gives them.
        traces: also give u, v and spikes of every population at every step.

    Raises:
        UnsupportedError: it has what does not fit these operators; all of that is named.
        MissingDependencyError: ``onnx`` is not installed.
    """
    check_holds(network, form)
    if version_of("onnx") is None:
        raise MissingDependencyError("ONNX is not installed; install it with `pip install onnx`")
    if each_step is None:
        each_step = network.contract.input_code.encoder != "direct"
    return _Writer(network, each_step, traces).model(form)


def onnx_bytes(network: QuantizedNetwork, form: Form = "scan") -> bytes:
    """A file of what ``to_onnx`` gives."""
    return to_onnx(network, form).SerializeToString(deterministic=True)


def check_holds(network: QuantizedNetwork, form: Form) -> None:
    """Refuse what these operators cannot hold.

    Raises:
        UnsupportedError: with every reason in a line.
    """
    only_leaky(network, "ONNX")
    steps = network.contract.steps
    found = [reason for p in network.projections if (reason := _beyond(p))]
    if form == "unrolled" and steps > MOST_STEPS:
        found.append(f"{steps} steps are not written out, at most {MOST_STEPS} are; use scan")
    if found:
        raise UnsupportedError("\n  ".join([f"ONNX cannot hold {network.name}:", *found]))


def _beyond(projection: QuantizedProjection) -> str | None:
    """What ONNX's 8-bit products cannot hold of a projection."""
    name, operator = f"projection {projection.name!r}", projection.operator
    if projection.payload > 255:
        return f"{name}: messages of up to {projection.payload}, and those of 8 bits reach 255"
    stored, _, step = _stored(projection)
    if stored is None:
        low, high = operator.weights.min() // step, operator.weights.max() // step
        return f"{name}: weights from {low} to {high} times {step}, which do not fit into 8 bits"
    if operator.absolute_row_bound() * projection.payload >= INT32_EXACT:
        return f"{name}: sums may exceed 32 bits"
    entries = math.prod(operator.input_shape) * math.prod(operator.output_shape)
    if operator.kind == "sparse" and entries > MOST_WRITTEN_OUT:
        return f"{name}: as a matrix it has {entries:,} entries, at most {MOST_WRITTEN_OUT:,} go"
    return None


def _stored(projection: QuantizedProjection) -> tuple[np.ndarray | None, int, int]:
    """Weights as uint8, what stands for 0 among them, and the factor; None where 8 bits are few."""
    weights = projection.operator.weights.astype(np.int64)
    # The largest power of two that all of them are multiples of.
    bits = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    step = bits & -bits or 1
    reduced = weights // step
    zero = max(0, -int(reduced.min(initial=0)))
    if int(reduced.max(initial=0)) + zero > 255:
        return None, zero, step
    return (reduced + zero).astype(np.uint8), zero, step


class _Writer:
    """Writes one network; ``state`` is by name such as ``a.v``, what of it the last step left."""

    def __init__(self, network: QuantizedNetwork, each_step: bool, traces: bool) -> None:
        self.network, self.each_step, self.traces = network, each_step, traces
        (self.source,) = network.inputs
        self.outer = Nodes()
        self.unchanging: dict[str, str] = {}
        self.bounds = {p.name: 0.0 for p in network.populations}
        for p in network.projections:
            bound = p.operator.absolute_row_bound() * p.payload * 2.0 ** max(p.exponent, 0)
            self.bounds[p.target] += bound

    def model(self, form: Form) -> Any:
        """The whole file."""
        import onnx
        from onnx import helper

        steps, shape = self.network.contract.steps, self.source.shape
        values = helper.make_tensor_value_info(
            "input", onnx.TensorProto.UINT8, ["N", *([steps] if self.each_step else []), *shape]
        )
        begin = {
            name: self.outer.zeros("input", shape, dtype)
            for name, (shape, dtype) in self._states().items()
        }
        final, records = (self._unrolled if form == "unrolled" else self._scan)(begin)
        self.outer.add("Identity", final["scores"], gives="scores")
        outputs = [_value("scores", (self.network.classes,), np.int64)]
        for name, (shape, dtype) in self._recorded().items():
            self.outer.add("Identity", records[name], gives=name)
            outputs.append(_value(name, (steps, *shape), dtype))
        graph = helper.make_graph(
            self.outer.nodes, self.network.name, [values], outputs, self.outer.constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="neurodeploy",
        )
        contract = json.dumps(self.network.contract.to_table(), sort_keys=True)
        helper.set_model_props(model, {"neurodeploy_contract": contract})
        onnx.checker.check_model(model, full_check=True)
        return model

    def _unrolled(self, state: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Step after step; the state after the last, and what was recorded of each."""
        nodes, records = self.outer, {name: [] for name in self._recorded()}
        for t in range(self.network.contract.steps):
            drive = "input"
            if self.each_step:
                drive = nodes.add("Gather", "input", nodes.constant(t), axis=1)
            state, found = self._step(nodes, state, drive)
            for name, at in records.items():
                at.append(nodes.add("Unsqueeze", found[name], nodes.constant([1])))
        return state, {name: nodes.add("Concat", *at, axis=1) for name, at in records.items()}

    def _scan(self, state: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """One step as the body of a Scan."""
        from onnx import helper

        body, states = Nodes(self.outer), self._states()
        before = {name: f"{name}.before" for name in states}
        drive, over, axis = "input", self.outer.constant(np.zeros(self.network.contract.steps)), 0
        if self.each_step:
            drive, over, axis = "drive", "input", 1
        after, found = self._step(body, dict(before), drive)
        inputs = [_value(before[name], *kind) for name, kind in states.items()]
        shape = (self.source.shape, np.uint8) if self.each_step else (None, np.int64)
        inputs.append(_value("drive" if self.each_step else "clock", *shape))
        outputs = []
        for name, kind in {**states, **{f"{n}.at": k for n, k in self._recorded().items()}}.items():
            made = after[name] if name in states else found[name.removesuffix(".at")]
            body.add("Identity", made, gives=f"{name}.after")
            outputs.append(_value(f"{name}.after", *kind))
        final = {name: f"{name}.end" for name in states}
        records = {name: f"{name}.all" for name in self._recorded()}
        # An attribute is never empty.
        along: dict[str, Any] = {"scan_output_axes": [1] * len(records)} if records else {}
        self.outer.nodes.append(
            helper.make_node(
                "Scan",
                [*state.values(), over],
                [*final.values(), *records.values()],
                "steps",
                body=helper.make_graph(body.nodes, "step", inputs, outputs),
                num_scan_inputs=1,
                scan_input_axes=[axis],
                **along,
            )
        )
        return final, records

    @property
    def _neurons(self) -> list[QuantizedPopulation]:
        return [p for p in self.network.populations if p.neuron is not None]

    def _states(self) -> dict[str, tuple[Shape, type]]:
        """What a step leaves to the next: its shape and type."""
        found: dict[str, tuple[Shape, type]] = {"scores": ((self.network.classes,), np.int64)}
        for population in self._neurons:
            names = ["v"]
            names += ["u"] * bool((population.leaky.u_decay != DECAY_ONE).any())
            names += ["rest"] * bool(population.leaky.refractory_period)
            found |= {f"{population.name}.{name}": (population.shape, np.int64) for name in names}
        for population in self.network.populations:
            for delay in range(1, self._longest(population.name) + 1):
                found[f"{population.name}.past{delay}"] = (population.shape, np.uint8)
        return found

    def _longest(self, source: str) -> int:
        """Longest delay of what a population sends."""
        return max((p.delay for p in self.network.projections if p.source == source), default=0)

    def _recorded(self) -> dict[str, tuple[Shape, type]]:
        """What every step gives beside its state."""
        kinds = {"u": np.int64, "v": np.int64, "s": np.uint8}
        return {
            f"{population.name}.{what}": (population.shape, dtype)
            for population in self._neurons * self.traces
            for what, dtype in kinds.items()
        }

    def _step(
        self, nodes: Nodes, state: Mapping[str, str], drive: str
    ) -> tuple[dict[str, str], dict[str, str]]:
        """One step of everything: the state behind it, and u, v and s by name."""
        after: dict[str, str] = {}
        found: dict[str, str] = {f"{self.source.name}.s": drive}
        for name in step_order(self.network):
            population = self.network.population(name)
            if population.neuron is None:
                continue
            arrived = [
                self._through(nodes, p, state, found)
                for p in self.network.projections
                if p.target == name
            ]
            total = arrived[0] if arrived else nodes.zeros(drive, population.shape, np.int64)
            for other in arrived[1:]:
                total = nodes.add("Add", total, other)
            self._neuron(nodes, population, total, state, after, found)
        for population in self.network.populations:
            sent = found[f"{population.name}.s"]
            for delay in range(1, self._longest(population.name) + 1):
                after[f"{population.name}.past{delay}"] = sent
                sent = state[f"{population.name}.past{delay}"]
        after["scores"] = self._scores(nodes, state["scores"], found)
        return after, found

    def _scores(self, nodes: Nodes, before: str, found: Mapping[str, str]) -> str:
        decode, output = self.network.contract.decode, self.network.output
        read = found[f"{output}.{'s' if decode == 'spike_count' else 'v'}"]
        flat = nodes.reshaped(nodes.cast(read, np.int64), (self.network.classes,))
        return flat if decode == "last_v" else nodes.add("Add", before, flat)

    def _through(
        self,
        nodes: Nodes,
        projection: QuantizedProjection,
        state: Mapping[str, str],
        found: Mapping[str, str],
    ) -> str:
        """(N, *target) int64: what a projection brings in this step."""
        source, delay = projection.source, projection.delay
        if delay:
            return self._multiplied(nodes, projection, state[f"{source}.past{delay}"])
        if source != self.source.name or self.each_step:
            return self._multiplied(nodes, projection, found[f"{source}.s"])
        if projection.name not in self.unchanging:  # once, before all steps
            made = self._multiplied(self.outer, projection, "input")
            self.unchanging[projection.name] = made
        return self.unchanging[projection.name]

    def _multiplied(self, nodes: Nodes, projection: QuantizedProjection, spikes: str) -> str:
        operator = projection.operator
        stored, zero, step = _stored(projection)
        assert stored is not None
        none, point = nodes.constant(0, np.uint8), nodes.constant(zero, np.uint8)
        if isinstance(operator, Convolution):
            before, behind = zip(*operator.padding, strict=True)
            total = nodes.add(
                "ConvInteger",
                nodes.reshaped(spikes, operator.input_shape),
                nodes.constant(stored, np.uint8),
                none,
                point,
                kernel_shape=operator.kernel,
                pads=[*before, *behind],
                strides=operator.stride,
                dilations=operator.dilation,
                group=operator.groups,
            )
        else:
            matrix = operator.with_weights(stored.astype(np.int64) - zero).matrix()
            dense = (matrix.toarray().T + zero).astype(np.uint8)
            flat = nodes.reshaped(spikes, (len(dense),))
            weights = nodes.constant(dense, np.uint8)
            total = nodes.add("MatMulInteger", flat, weights, none, point)
        whole = nodes.cast(total, np.int64)
        shifted = nodes.times_power(whole, step, projection.exponent)
        return nodes.reshaped(shifted, self.network.population(projection.target).shape)

    def _neuron(
        self,
        nodes: Nodes,
        population: QuantizedPopulation,
        total: str,
        state: Mapping[str, str],
        after: dict[str, str],
        found: dict[str, str],
    ) -> None:
        """One step of leaky neurons (``ir.quantized``)."""
        name, shape, neuron = population.name, population.shape, population.leaky
        bias = neuron.bias_mantissa << neuron.bias_exponent
        u = nodes.times_power(total, 1, ACTIVATION_SHIFT)
        largest = self.bounds[name] * 2**ACTIVATION_SHIFT
        if f"{name}.u" in state:
            kept = nodes.per_neuron(DECAY_ONE - neuron.u_decay, shape)
            u = nodes.add("Add", u, nodes.decayed(state[f"{name}.u"], kept))
            largest += max(STATE_LIMIT, largest)
        if largest >= INT32_EXACT:
            u = nodes.within_32_bits(u)
        if largest >= STATE_LIMIT:
            u = nodes.wrapped(u)
        kept = nodes.per_neuron(DECAY_ONE - neuron.v_decay, shape)
        v = nodes.add("Add", nodes.decayed(state[f"{name}.v"], kept), u)
        if bias.any():
            v = nodes.add("Add", v, nodes.per_neuron(bias, shape))
        rests = None
        if neuron.refractory_period:
            rests = nodes.add("Greater", state[f"{name}.rest"], nodes.constant(0))
            v = nodes.add("Where", rests, state[f"{name}.v"], v)
        if largest + STATE_LIMIT + float(np.abs(bias).max()) >= INT32_EXACT:
            v = nodes.within_32_bits(v)
        v = nodes.saturated(v)
        sent = nodes.zeros(v, shape, np.uint8) if neuron.threshold is None else None
        if neuron.threshold is not None:
            threshold = nodes.per_neuron(neuron.threshold << ACTIVATION_SHIFT, shape)
            kind = "Greater" if neuron.comparison == ">" else "GreaterOrEqual"
            fires = nodes.add(kind, v, threshold)
            if rests is not None:
                fires = nodes.add("And", fires, nodes.add("Not", rests))
                one, period = nodes.constant(1), nodes.constant(neuron.refractory_period)
                left = nodes.add("Sub", state[f"{name}.rest"], one)
                left = nodes.add("Max", left, nodes.constant(0))
                after[f"{name}.rest"] = nodes.add("Where", fires, period, left)
            back = nodes.constant(0) if neuron.reset == "zero" else nodes.add("Sub", v, threshold)
            v = nodes.add("Where", fires, back, v)
            sent = nodes.cast(fires, np.uint8)
        elif rests is not None:
            after[f"{name}.rest"] = state[f"{name}.rest"]
        assert sent is not None
        found |= {f"{name}.u": u, f"{name}.v": v, f"{name}.s": sent}
        after[f"{name}.v"] = v
        if f"{name}.u" in state:
            after[f"{name}.u"] = u


def _value(name: str, shape: Shape | None, dtype: type) -> Any:
    """An array (N, *shape), or a single number where there is no shape, in a graph's interface."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, [] if shape is None else ["N", *shape])
