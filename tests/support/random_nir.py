"""Random NIR graphs, and small ones by hand, for the tests of reading and writing NIR."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np

from neurodeploy.ir.contract import Contract, InputCode, Semantics

DT = 1e-3


def contract(steps: int = 6, **semantics: Any) -> Contract:
    chosen = {"dt": DT, "reset": "zero", "comparison": ">", "integrator": "euler", **semantics}
    return Contract(Semantics(**chosen), InputCode("events"), steps, "spike_count")


def neuron(kind: str, shape: tuple[int, ...], **changes: Any) -> Any:
    """A NIR neuron with harmless parameters of full shape; time constants of 4 steps."""
    defaults = {
        "tau": 4 * DT,
        "tau_mem": 4 * DT,
        "tau_syn": 2 * DT,
        "r": 1.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
        "v_reset": 0.0,
        "w_in": 1.0,
    }
    names = {
        "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        "IF": ("r", "v_threshold", "v_reset"),
        "LI": ("tau", "r", "v_leak"),
        "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
        "I": ("r",),
    }[kind]
    values = {name: np.full(shape, float(defaults[name])) for name in names}
    values |= {name: np.broadcast_to(np.asarray(v, float), shape) for name, v in changes.items()}
    return getattr(nir, kind)(**{name: np.array(value) for name, value in values.items()})


def untyped_output() -> nir.Output:
    """An output that does not say its shape, as files may have it."""
    return nir.Output({"output": None})  # pyright: ignore[reportArgumentType]


def chain(shape: tuple[int, ...], *nodes: tuple[str, Any], **metadata: Any) -> nir.NIRGraph:
    """Input, the named nodes one after the other, output."""
    named: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array(shape)}), **dict(nodes)}
    named["output"] = untyped_output()
    return nir.NIRGraph(named, list(itertools.pairwise(named)), metadata, type_check=False)


def joined(nodes: dict[str, Any], *edges: str, shape: tuple[int, ...] = (2,)) -> nir.NIRGraph:
    """Input, output and ``nodes``, with edges written ``a>b``."""
    named = {"input": nir.Input({"input": np.array(shape)}), **nodes}
    named["output"] = untyped_output()
    pairs = [(source, target) for source, _, target in (edge.partition(">") for edge in edges)]
    return nir.NIRGraph(named, pairs, {}, type_check=False)


SPIKING = ("LIF", "CubaLIF", "IF", "Threshold")
POTENTIAL = ("LI", "CubaLI", "I")
SHAPES: dict[int, tuple[int, ...]] = {0: (4,), 1: (2, 9), 2: (2, 6, 5)}


class RandomGraph:
    """A random NIR graph: a stack of linear nodes and neurons, perhaps with a skip and a loop.

    Args:
        axes: of the input beside its channels.
        resets: neurons return to a v_reset of their own.

    Attributes:
        layers: what takes a layer's input, what fires, and the nodes between them; the two are one
            but where a Threshold stands behind an integrator.
        cycle: neurons that feed back on each other.
    """

    def __init__(self, seed: int, axes: int, resets: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.resets = resets
        self.shape = self.input_shape = SHAPES[axes]
        self.nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(self.shape)})}
        self.edges: list[tuple[str, str]] = []
        self.layers: list[tuple[str, str, list[str]]] = []
        self.cycle: set[str] = set()
        self.last = "input"
        count = int(self.rng.integers(1, 4))
        for number in range(count):
            self._layer(number == count - 1)
        self._extras()
        self.nodes["output"] = nir.Output({"output": np.array(self.shape)})
        self.edges.append((self.last, "output"))

    @property
    def order(self) -> list[str]:
        """The populations, each after those before it."""
        return [fires for _, fires, _ in self.layers]

    def graph(self, metadata: dict[str, Any]) -> nir.NIRGraph:
        return nir.NIRGraph(self.nodes, self.edges, metadata, type_check=False)

    def nested(self, depth: int) -> nir.NIRGraph:
        """The same graph with every layer's neurons in a subgraph of a subgraph of ..."""
        nodes, edges = dict(self.nodes), list(self.edges)
        for number, (entry, fires, members) in enumerate(self.layers):
            name = f"layer{number}"
            inner = [edge for edge in edges if set(edge) <= set(members)]
            inside = {member: nodes.pop(member) for member in members}
            edges = [edge for edge in edges if edge not in inner]
            edges = [
                (name if a == fires else a, name if b == entry else b)
                for a, b in edges
                if (a, b) not in inner
            ]
            taken = inside[entry].input_type["input"]
            nodes[name] = _boxed(inside, inner, entry, fires, taken)
            for level in range(depth - 1):
                deeper = f"deep{level}"
                nodes[name] = _boxed({deeper: nodes[name]}, [], deeper, deeper, taken)
        return nir.NIRGraph(nodes, edges, {}, type_check=False)

    def _add(self, kind: str, node: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes[name] = node
        return name

    def _append(self, kind: str, node: Any, shape: tuple[int, ...]) -> None:
        name = self._add(kind, node)
        self.edges.append((self.last, name))
        self.last, self.shape = name, shape

    def _layer(self, readout: bool) -> None:
        axes = len(self.shape) - 1
        may = ["scale", "delay"]
        may += [["affine", "linear"], ["conv", "flatten"], ["conv", "pool", "flatten"]][axes]
        for kind in self.rng.choice(may, int(self.rng.integers(1, 3))):
            if kind in ("scale", "delay") or len(self.shape) - 1 == axes:
                getattr(self, f"_{kind}")()
        kind = str(self.rng.choice([*SPIKING, *POTENTIAL]))
        entry = self._add("n", self._neuron(kind))
        self.edges.append((self.last, entry))
        self.last = entry
        members = [entry]
        if kind in POTENTIAL and not (readout and self.rng.random() < 0.7):
            self.last = self._add("t", self._neuron("Threshold"))
            self.edges.append((entry, self.last))
            members.append(self.last)
        self.layers.append((entry, self.last, members))

    def _neuron(self, kind: str) -> Any:
        draw = self.rng.uniform
        if kind == "Threshold":
            return nir.Threshold(draw(0.2, 1, self.shape))
        changes = {
            "tau": draw(1.5, 9, self.shape) * DT,
            "tau_syn": draw(1.5, 9, self.shape) * DT,
            "tau_mem": draw(1.5, 9, self.shape) * DT,
            "r": draw(1, 4, self.shape) / (DT if kind in ("I", "IF") else 1),
            "v_leak": draw(-0.2, 0.2, self.shape),
            "v_threshold": draw(0.2, 1, self.shape),
            "v_reset": draw(-0.3, 0.1, self.shape) * self.resets,
            "w_in": draw(0.5, 2, self.shape),
        }
        known = getattr(nir, kind).__dataclass_fields__
        return neuron(kind, self.shape, **{k: v for k, v in changes.items() if k in known})

    def _scale(self) -> None:
        self._append("scale", nir.Scale(self.rng.uniform(-2, 2, self.shape)), self.shape)

    def _delay(self) -> None:
        shape = self.shape if self.rng.random() < 0.3 else ()
        steps = np.broadcast_to(self.rng.integers(0, 4, shape), self.shape)
        self._append("delay", nir.Delay(steps * DT), self.shape)

    def _weights(self, *shape: int) -> np.ndarray:
        return self.rng.normal(0, 1, shape)

    def _affine(self) -> None:
        out = int(self.rng.integers(1, 5))
        self._append("fc", nir.Affine(self._weights(out, *self.shape), self._weights(out)), (out,))

    def _linear(self) -> None:
        out = int(self.rng.integers(1, 5))
        self._append("fc", nir.Linear(self._weights(out, *self.shape)), (out,))

    def _flatten(self) -> None:
        size = int(np.prod(self.shape))
        self._append("flat", nir.Flatten({"input": np.array(self.shape)}, 0), (size,))

    def _conv(self) -> None:
        axes = len(self.shape) - 1
        groups = int(self.rng.choice([1, self.shape[0]]))
        out = groups * int(self.rng.integers(1, 3))
        kernel = tuple(min(int(self.rng.integers(1, 4)), n) for n in self.shape[1:])
        stride, padding = (
            tuple(int(n) for n in self.rng.integers(low, 2 + low, axes)) for low in (1, 0)
        )
        weight = self._weights(out, self.shape[0] // groups, *kernel)
        sizes: dict[str, Any] = {"input_shape": self.shape[1:], "stride": stride}
        sizes |= {"padding": padding, "dilation": (1,) * axes}
        if axes == 1:
            sizes = {name: value[0] for name, value in sizes.items()}
        make = nir.Conv2d if axes == 2 else nir.Conv1d
        node = make(**sizes, weight=weight, groups=groups, bias=self._weights(out))
        self._append("conv", node, (out, *self._size(kernel, stride, padding)))

    def _pool(self) -> None:
        kind = nir.SumPool2d if self.rng.random() < 0.5 else nir.AvgPool2d
        kernel = tuple(int(min(2, n)) for n in self.shape[1:])
        stride, padding = (int(self.rng.integers(1, 3)),) * 2, (0, 0)
        node = kind(np.array(kernel), np.array(stride), np.array(padding))
        self._append("pool", node, (self.shape[0], *self._size(kernel, stride, padding)))

    def _size(self, kernel: Any, stride: Any, padding: Any) -> list[int]:
        sizes = zip(self.shape[1:], kernel, stride, padding, strict=True)
        return [(n + 2 * p - k) // s + 1 for n, k, s, p in sizes]

    def _extras(self) -> None:
        """A loop through the last layer, if it fires, and a way from the input into it."""
        size = int(np.prod(self.shape))
        entry, fires, members = self.layers[-1]
        if len(self.shape) > 1:
            return
        if type(self.nodes[fires]).__name__ in SPIKING and self.rng.random() < 0.5:
            weights, bias = self._weights(size, size), self._weights(size)
            loop = self._add("loop", nir.Affine(weights, bias * (self.rng.random() < 0.5)))
            self.edges += [(fires, loop), (loop, entry)]
            members.append(loop)
            self.cycle = {fires, entry}
        if len(self.input_shape) == 1 and self.rng.random() < 0.5:
            skip = self._add("skip", nir.Linear(self._weights(size, *self.input_shape)))
            self.edges += [("input", skip), (skip, entry)]


def _boxed(
    nodes: dict[str, Any], edges: list[tuple[str, str]], entry: str, fires: str, shape: np.ndarray
) -> nir.NIRGraph:
    """A graph with one input and one output around these nodes."""
    ends = {"in": nir.Input({"input": shape}), "out": nir.Output({"output": shape})}
    edges = [("in", entry), *edges, (fires, "out")]
    return nir.NIRGraph(ends | nodes, edges, {}, type_check=False)
