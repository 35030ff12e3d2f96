"""A quantised network as arrays and a plain structure that names them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from neurodeploy.ir.contract import Contract
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.fixed_point import WeightFormat
from neurodeploy.ir.operators import Dense, Operator, SparseMatrix
from neurodeploy.ir.quantized import (
    QuantizedNetwork,
    QuantizedNeuron,
    QuantizedPopulation,
    QuantizedProjection,
)
from neurodeploy.support.schema import build

NEURON_ARRAYS = ("u_decay", "v_decay", "bias_mantissa", "bias_exponent", "threshold")


def arrays_of(network: QuantizedNetwork) -> dict[str, np.ndarray]:
    """Weights, their places, biases, thresholds and decays, as POPULATION/NAME or PROJECTION/NAME.

    All are int32 but for the places of sparse weights, which are int64.
    """
    arrays = {}
    for population in network.populations:
        for name in NEURON_ARRAYS if population.neuron else ():
            value = getattr(population.neuron, name)
            if value is not None:
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
        "contract": asdict(network.contract),
        "notes": network.notes,
        "populations": [
            {
                "name": p.name,
                "shape": list(p.shape),
                "scale": p.scale,
                "neuron": p.neuron
                and {
                    "kind": p.neuron.kind,
                    "reset": p.neuron.reset,
                    "comparison": p.neuron.comparison,
                    "spikes": p.neuron.threshold is not None,
                    "refractory_period": p.neuron.refractory_period,
                },
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


def network_from(
    table: Mapping[str, Any], arrays: Mapping[str, np.ndarray], where: str
) -> QuantizedNetwork:
    """The network of which these are the structure and the arrays.

    Raises:
        InputError: the contract is not one; named with ``where``.
        AttributeError, KeyError, TypeError, ValueError: anything else is missing or wrong.
    """
    populations = tuple(
        QuantizedPopulation(
            p["name"],
            tuple(p["shape"]),
            p["neuron"] and _neuron(p["name"], p["neuron"], arrays),
            p["scale"],
        )
        for p in table["populations"]
    )
    projections = tuple(
        QuantizedProjection(
            name=p["name"],
            source=p["source"],
            target=p["target"],
            operator=_operator(p["name"], p["operator"], arrays),
            weight_format=WeightFormat(**p["weight_format"]),
            exponent=p["exponent"],
            payload=p["payload"],
            delay=p["delay"],
            clipped=p["clipped"],
        )
        for p in table["projections"]
    )
    contract = build(Contract, table["contract"], where)
    return QuantizedNetwork(
        table["name"], populations, projections, table["output"], contract, table["notes"]
    )


def _neuron(
    name: str, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> QuantizedNeuron:
    values: dict[str, Any] = {
        field: None
        if field == "threshold" and not table["spikes"]
        else arrays[f"{name}/{field}"].astype(np.int64)
        for field in NEURON_ARRAYS
    }
    return QuantizedNeuron(
        kind=table["kind"],
        reset=table["reset"],
        comparison=table["comparison"],
        # Deployments had no such key before neurons could rest.
        refractory_period=table.get("refractory_period", 0),
        **values,
    )


def _operator(name: str, table: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Operator:
    weights = arrays[f"{name}/weights"].astype(np.int64)
    input_shape, output_shape = tuple(table["input_shape"]), tuple(table["output_shape"])
    if table["kind"] == "dense":
        return Dense(weights, input_shape, output_shape)
    if table["kind"] == "conv":
        return Convolution(
            weights,
            input_shape,
            tuple(table["stride"]),
            tuple((before, after) for before, after in table["padding"]),
            tuple(table["dilation"]),
            table["groups"],
        )
    if table["kind"] == "sparse":
        indices, indptr = arrays[f"{name}/indices"], arrays[f"{name}/indptr"]
        return SparseMatrix(weights, indices, indptr, input_shape, output_shape)
    raise ValueError(f"operator kind {table['kind']!r}")
