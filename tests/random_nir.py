"""Random NIR graphs, and small ones by hand, for the tests of reading and writing NIR."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np

from neurodeploy.contract import Contract, InputCode, Semantics

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


def chain(shape: tuple[int, ...], *nodes: tuple[str, Any], **metadata: Any) -> nir.NIRGraph:
    """Input, the named nodes one after the other, output."""
    named = {"input": nir.Input({"input": np.array(shape)}), **dict(nodes)}
    named["output"] = nir.Output({"output": None})
    return nir.NIRGraph(named, list(itertools.pairwise(named)), metadata, type_check=False)


def joined(nodes: dict[str, Any], *edges: str, shape: tuple[int, ...] = (2,)) -> nir.NIRGraph:
    """Input, output and ``nodes``, with edges written ``a>b``."""
    named = {"input": nir.Input({"input": np.array(shape)}), **nodes}
    named["output"] = nir.Output({"output": None})
    pairs = [tuple(edge.split(">")) for edge in edges]
    return nir.NIRGraph(named, pairs, {}, type_check=False)


class RandomGraph:
    """A random NIR graph: a stack of linear nodes and neurons, perhaps with a skip and a loop."""

    def __init__(self, seed: int, spatial: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape: tuple[int, ...] = (2, 6, 5) if spatial else (4,)
        self.input_shape = self.shape
        self.nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(self.shape)})}
        self.edges: list[tuple[str, str]] = []
        self.order: list[str] = []
        self.cycle: set[str] = set()
        self.last = "input"
        for _ in range(int(self.rng.integers(1, 4))):
            self._layer()
        self._extras()
        self.nodes["output"] = nir.Output({"output": np.array(self.shape)})
        self.edges.append((self.last, "output"))

    def graph(self, metadata: dict[str, Any]) -> nir.NIRGraph:
        return nir.NIRGraph(self.nodes, self.edges, metadata, type_check=False)

    def _add(self, kind: str, node: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes[name] = node
        return name

    def _append(self, kind: str, node: Any, shape: tuple[int, ...]) -> None:
        name = self._add(kind, node)
        self.edges.append((self.last, name))
        self.last, self.shape = name, shape

    def _layer(self) -> None:
        spatial = len(self.shape) == 3
        may = ["scale", "delay"]
        may += ["conv", "sum_pool", "avg_pool", "flatten"] if spatial else ["affine", "linear"]
        for kind in self.rng.choice(may, int(self.rng.integers(1, 3))):
            if (kind in ("conv", "sum_pool", "avg_pool")) == (len(self.shape) == 3) or kind in (
                "scale",
                "delay",
            ):
                getattr(self, f"_{kind}")()
            elif kind == "flatten":
                self._flatten()
        kind = str(self.rng.choice(["LIF", "CubaLIF", "IF", "LI", "CubaLI", "I"]))
        if kind.startswith("Cuba") and self._has_bias(self.last):
            kind = "LIF"
        name = self._add("n", self._neuron(kind))
        self.edges.append((self.last, name))
        self.order.append(name)
        self.last = name

    def _has_bias(self, name: str) -> bool:
        if hasattr(self.nodes[name], "bias"):
            return True
        sources = [a for a, b in self.edges if b == name]
        linear = not hasattr(self.nodes[name], "r") and name != "input"
        return linear and any(self._has_bias(source) for source in sources)

    def _neuron(self, kind: str) -> Any:
        draw = self.rng.uniform
        changes = {
            "tau": draw(1.5, 9, self.shape) * DT,
            "tau_syn": draw(1.5, 9, self.shape) * DT,
            "tau_mem": draw(1.5, 9, self.shape) * DT,
            "r": draw(1, 4, self.shape) / (DT if kind in ("I", "IF") else 1),
            "v_leak": draw(-0.2, 0.2, self.shape),
            "v_threshold": draw(0.2, 1, self.shape),
            "w_in": draw(0.5, 2, self.shape),
        }
        known = getattr(nir, kind).__dataclass_fields__
        return neuron(kind, self.shape, **{k: v for k, v in changes.items() if k in known})

    def _scale(self) -> None:
        self._append("scale", nir.Scale(self.rng.uniform(-2, 2, self.shape)), self.shape)

    def _delay(self) -> None:
        if not self._has_bias(self.last):
            steps = int(self.rng.integers(0, 4))
            self._append("delay", nir.Delay(np.full(self.shape, steps * DT)), self.shape)

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
        groups = int(self.rng.choice([1, self.shape[0]]))
        out = groups * int(self.rng.integers(1, 3))
        kernel = tuple(min(int(self.rng.integers(1, 4)), n) for n in self.shape[1:])
        stride, padding = (
            tuple(int(n) for n in self.rng.integers(low, 2 + low, 2)) for low in (1, 0)
        )
        weight = self._weights(out, self.shape[0] // groups, *kernel)
        options = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": groups}
        node = nir.Conv2d(self.shape[1:], weight, bias=self._weights(out), **options)
        self._append("conv", node, (out, *self._size(kernel, stride, padding)))

    def _sum_pool(self) -> None:
        self._pool(nir.SumPool2d)

    def _avg_pool(self) -> None:
        self._pool(nir.AvgPool2d)

    def _pool(self, kind: Any) -> None:
        kernel = tuple(int(min(2, n)) for n in self.shape[1:])
        stride, padding = (int(self.rng.integers(1, 3)),) * 2, (0, 0)
        node = kind(np.array(kernel), np.array(stride), np.array(padding))
        self._append("pool", node, (self.shape[0], *self._size(kernel, stride, padding)))

    def _size(self, kernel: Any, stride: Any, padding: Any) -> list[int]:
        sizes = zip(self.shape[1:], kernel, stride, padding, strict=True)
        return [(n + 2 * p - k) // s + 1 for n, k, s, p in sizes]

    def _extras(self) -> None:
        size = int(np.prod(self.shape))
        if len(self.shape) == 1 and self.rng.random() < 0.5:
            loop = self._add("loop", nir.Linear(self._weights(size, size)))
            self.edges += [(self.last, loop), (loop, self.last)]
            self.cycle = {self.last}
        if len(self.shape) == len(self.input_shape) == 1 and self.rng.random() < 0.5:
            skip = self._add("skip", nir.Linear(self._weights(size, *self.input_shape)))
            self.edges += [("input", skip), (skip, self.last)]
