"""A quantised network as arrays and a plain structure that names them, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.ir.contract import Comparison, Contract, Reset
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.operators import Dense, Operator, Shape, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.support.schema import build
from neurodeploy.support.tensors import checked

NEURON_ARRAYS = ("u_decay", "v_decay", "bias_mantissa", "bias_exponent", "threshold")


def arrays_of(network: QuantizedNetwork) -> dict[str, np.ndarray]:
    """Weights, their places, biases, thresholds and decays, as POPULATION/NAME or PROJECTION/NAME.

    All are int32 but for the places of sparse weights, which are int64.
    """
    arrays = {}
    for population in network.populations:
        for name, value in _parameters(population).items():
            full = np.broadcast_to(value, population.shape)
            arrays[f"{population.name}/{name}"] = np.ascontiguousarray(full, np.int32)
    for projection in network.projections:
        operator = projection.operator
        arrays[f"{projection.name}/weights"] = np.ascontiguousarray(operator.weights, np.int32)
        if isinstance(operator, SparseMatrix):
            for name in ("indices", "indptr"):
                values = np.ascontiguousarray(getattr(operator, name), np.int64)
                arrays[f"{projection.name}/{name}"] = values
    return arrays


def structure_of(network: QuantizedNetwork) -> dict[str, Any]:
    """All else of a network, as JSON can hold it."""
    return {
        "name": network.name,
        "output": network.output,
        "contract": network.contract.to_table(),
        "notes": network.notes,
        "populations": [
            {
                "name": p.name,
                "shape": list(p.shape),
                "scale": p.scale,
                "neuron": _neuron_structure(p),
            }
            for p in network.populations
        ],
        "projections": [
            {
                "name": p.name,
                "source": p.source,
                "target": p.target,
                "operator": _operator_structure(p.operator),
                "weight_format": asdict(p.weight_format),
                "exponent": p.exponent,
                "payload": p.payload,
                "delay": p.delay,
                "clipped": p.clipped,
            }
            for p in network.projections
        ],
    }


def _parameters(population: QuantizedPopulation) -> dict[str, np.ndarray]:
    """Parameters of the neurons of a population, as arrays by name; none of an input."""
    if population.neuron is None:
        return {}
    if isinstance(population.neuron, IntegerModel):
        return population.neuron.arrays()
    found = {name: getattr(population.neuron, name) for name in NEURON_ARRAYS}
    return {name: value for name, value in found.items() if value is not None}


def _neuron_structure(population: QuantizedPopulation) -> dict[str, Any] | None:
    neuron = population.neuron
    if neuron is None:
        return None
    if isinstance(neuron, IntegerModel):
        return {
            "model": neuron.kind,
            "parameters": neuron.table(),
            "arrays": sorted(neuron.arrays()),
        }
    return {
        "kind": neuron.kind,
        "reset": neuron.reset,
        "comparison": neuron.comparison,
        "spikes": neuron.threshold is not None,
        "refractory_period": neuron.refractory_period,
    }


def _operator_structure(operator: Operator) -> dict[str, Any]:
    structure: dict[str, Any] = {
        "kind": operator.kind,
        "input_shape": list(operator.input_shape),
        "output_shape": list(operator.output_shape),
    }
    if isinstance(operator, Convolution):
        for name in ("stride", "padding", "dilation", "groups"):
            structure[name] = getattr(operator, name)
    return structure


MOST_NEURONS = 2**31
"""Of a population."""

RANGES = {
    "u_decay": (1, 4096),
    "v_decay": (0, 4095),
    "bias_mantissa": (-(2**31), 2**31 - 1),
    "bias_exponent": (0, 31),
    "threshold": (0, 2**31 - 1),
}
"""Least and greatest integer of each of ``NEURON_ARRAYS``, as ``QuantizedNeuron`` has them; of
biases and thresholds, what a file holds."""


@dataclass(frozen=True)
class _NeuronTable:
    """The structure of a population's neurons, as JSON holds it."""

    kind: str
    reset: Reset
    comparison: Comparison
    spikes: bool
    refractory_period: int = 0  # Deployments had no such key before neurons could rest.

    def __post_init__(self) -> None:
        if self.refractory_period < 0:
            raise ValueError(f"refractory_period is at least 0, found {self.refractory_period}")


@dataclass(frozen=True)
class _ModelTable:
    """Neurons of another model: its name, its parameters, and the names of its arrays."""

    model: str
    parameters: dict[str, Any]
    arrays: tuple[str, ...]


@dataclass(frozen=True)
class _PopulationTable:
    name: str
    shape: tuple[int, ...]
    scale: float
    neuron: _NeuronTable | _ModelTable | None

    def __post_init__(self) -> None:
        if min(self.shape, default=1) < 1 or math.prod(self.shape) > MOST_NEURONS:
            raise ValueError(f"shape {self.shape} is of no population")
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, found {self.scale}")


@dataclass(frozen=True)
class _OperatorTable:
    kind: Literal["dense", "conv", "sparse"]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, ...], ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1


@dataclass(frozen=True)
class _ProjectionTable:
    name: str
    source: str
    target: str
    operator: _OperatorTable
    weight_format: WeightFormat
    exponent: int
    payload: int
    delay: int
    clipped: int

    def __post_init__(self) -> None:
        for name, low, high in (
            *(("exponent", -31, 31), ("payload", 1, 2**31)),
            *(("delay", 0, 2**31), ("clipped", 0, 2**63)),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is from {low} to {high}, found {getattr(self, name)}")


@dataclass(frozen=True)
class _NetworkTable:
    """What ``structure_of`` makes."""

    name: str
    output: str
    populations: tuple[_PopulationTable, ...]
    projections: tuple[_ProjectionTable, ...]
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [p.name for p in self.populations]
        if len(set(names)) < len(names):
            raise ValueError("two populations have the same name")
        for name in (self.output, *(end for p in self.projections for end in (p.source, p.target))):
            if name not in names:
                raise ValueError(f"there is no population {name!r}")


def network_from(
    table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
) -> QuantizedNetwork:
    """The network of which these are the structure and the arrays.

    Raises:
        InputError: anything is missing, of another type or out of range; named with ``where``.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: damaged deployment (network is not a table); export it again")
    contract = build(Contract, table.get("contract", {}), where)
    try:
        known = build(_NetworkTable, {k: v for k, v in table.items() if k != "contract"}, "network")
        shapes = {p.name: p.shape for p in known.populations}
        populations = tuple(
            QuantizedPopulation(
                p.name, p.shape, p.neuron and _neuron(p.name, p.shape, p.neuron, arrays), p.scale
            )
            for p in known.populations
        )
        projections = tuple(
            QuantizedProjection(
                name=p.name,
                source=p.source,
                target=p.target,
                operator=_operator(p, arrays, shapes),
                weight_format=p.weight_format,
                exponent=p.exponent,
                payload=p.payload,
                delay=p.delay,
                clipped=p.clipped,
            )
            for p in known.projections
        )
    except (InputError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"{where}: damaged deployment ({error}); export it again") from None
    return QuantizedNetwork(
        known.name, populations, projections, known.output, contract, known.notes
    )


def _neuron(
    name: str, shape: Shape, table: _NeuronTable | _ModelTable, arrays: Mapping[str, np.ndarray]
) -> QuantizedNeuron | IntegerModel:
    if isinstance(table, _ModelTable):
        return _of_model(name, shape, table, arrays)
    values: dict[str, Any] = {}
    for field_name in NEURON_ARRAYS:
        if field_name == "threshold" and not table.spikes:
            values[field_name] = None
            continue
        found = checked(arrays, f"{name}/{field_name}", "i", shape).astype(np.int64)
        low, high = RANGES[field_name]
        if found.size and not (low <= int(found.min()) and int(found.max()) <= high):
            raise ValueError(
                f"{name}/{field_name} goes from {found.min()} to {found.max()}, expected {low} to "
                f"{high}"
            )
        values[field_name] = found
    return QuantizedNeuron(
        kind=table.kind,
        reset=table.reset,
        comparison=table.comparison,
        refractory_period=table.refractory_period,
        **values,
    )


def _of_model(
    name: str, shape: Shape, table: _ModelTable, arrays: Mapping[str, np.ndarray]
) -> IntegerModel:
    from neurodeploy.neurons.registry import MODELS

    if table.model not in MODELS:
        raise ValueError(
            f"population {name!r} has neurons of a model {table.model!r}, this version knows "
            f"{', '.join(sorted(MODELS))}"
        )
    own = {
        key: checked(arrays, f"{name}/{key}", "i", shape).astype(np.int64) for key in table.arrays
    }
    return MODELS[table.model].restored(table.parameters, own, f"population {name!r}")


def _operator(
    projection: _ProjectionTable,
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
) -> Operator:
    name, table = projection.name, projection.operator
    weights = checked(arrays, f"{name}/weights", "i").astype(np.int64)
    input_shape, output_shape = table.input_shape, table.output_shape
    for end, shape in ((projection.source, input_shape), (projection.target, output_shape)):
        if math.prod(shape) != math.prod(shapes[end]):
            raise ValueError(f"projection {name!r} has {shape} at {end!r}, which is {shapes[end]}")
    if table.kind == "dense":
        return Dense(weights, input_shape, output_shape)
    if table.kind == "conv":
        if any(len(pair) != 2 for pair in table.padding):
            raise ValueError(f"projection {name!r}: padding is a pair on every axis")
        found = Convolution(
            weights,
            input_shape,
            table.stride,
            tuple((before, after) for before, after in table.padding),
            table.dilation,
            table.groups,
        )
        if found.output_shape != output_shape:
            raise ValueError(
                f"projection {name!r} gives {found.output_shape}, and is to give {output_shape}"
            )
        return found
    size = math.prod(output_shape)
    indices = checked(arrays, f"{name}/indices", "i", weights.shape)
    indptr = checked(arrays, f"{name}/indptr", "i", (size + 1,))
    within = indices.size == 0 or (indices.min() >= 0 and indices.max() < math.prod(input_shape))
    rising = indptr[0] == 0 and indptr[-1] == indices.size and (np.diff(indptr) >= 0).all()
    if not within or not rising:
        raise ValueError(f"projection {name!r}: its indices are of no matrix")
    return SparseMatrix(weights, indices, indptr, input_shape, output_shape)
