"""Lava's own answers to small networks, as they lie in ``tests/data/golden``.

A file holds the integers of a network as a deployment has them (``artifacts.integers``), what went
in, and what Lava gave: every variable of every neuron at every step, or every synapse after every
update. ``manifest.json`` says of each file its hash, which engines gave that answer, the models of
Lava's processes that computed it, and the versions of Lava, numpy and Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.artifacts.integers import arrays_of, network_from, structure_of
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.onchip.learner import LearningOptions, StreamChunk, Trajectory
from neurodeploy.onchip.novelty import Novelty
from neurodeploy.onchip.prototype_plan import FeaturePlan, PrototypePlan, check_prototypes
from neurodeploy.simulation.trace import PopulationTrace, Samples, SpikeTrace, WholeTrace
from neurodeploy.support.schema import build

FOLDER = Path(__file__).parent.parent / "data" / "golden"
MANIFEST = FOLDER / "manifest.json"


@dataclass(frozen=True, eq=False)
class Simulated:
    """A network that was simulated.

    Attributes:
        samples: what went in.
        batch: samples that went in at a time; one batch follows the other in the same processes.
        answer: of each population, by name.
    """

    network: QuantizedNetwork
    samples: Samples
    batch: int
    answer: Mapping[str, PopulationTrace]


@dataclass(frozen=True, eq=False)
class Learnt:
    """A network that learnt.

    Attributes:
        tags: what was below the weights in the beginning, by projection.
        chunks: what it learnt from, one after the other in the same processes.
        answers: to each.
        weights: of each projection in the end, as they are deployed.
        rows: the integers of ``PrototypePlan``, which eigenvectors were rounded to; empty with
            other rules.
    """

    network: QuantizedNetwork
    options: LearningOptions
    tags: Mapping[str, np.ndarray]
    chunks: tuple[StreamChunk, ...]
    answers: tuple[Trajectory, ...]
    weights: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]

    @property
    def prototypes(self) -> PrototypePlan:
        """The plan that ``rows`` are of."""
        found = dict(self.rows)
        names = ("direct", "shift", "length", "slowest")
        direct, shift, length, slowest = (int(found.pop(name)) for name in names)
        centre, down, up = (found[name] for name in ("centre", "down", "up"))
        features = FeaturePlan(centre, down, up, direct, shift, length)
        given = (self.network, self.options, check_prototypes(self.network), features)
        base = tuple(found["base"].tolist())
        novelty = Novelty(*found["novelty"].tolist()) if "novelty" in found else None
        return PrototypePlan(*given, found["rows"], base, slowest, novelty)


def rows_of(plan: PrototypePlan) -> dict[str, np.ndarray]:
    """The integers of a plan, by name."""
    found = {field.name: getattr(plan.features, field.name) for field in fields(FeaturePlan)}
    found |= {"rows": plan.rows, "base": plan.base, "slowest": plan.slowest}
    if plan.novelty is not None:
        found["novelty"] = (plan.novelty.rows, plan.novelty.factor)
    return {name: np.asarray(value, np.int64) for name, value in found.items()}


Golden = Simulated | Learnt


def over_time(network: QuantizedNetwork, values: np.ndarray, *, each_step: bool) -> Samples:
    """Integers for every step, or the same at all, as samples."""

    def take(first: int, last: int) -> np.ndarray:
        return values[first:last]

    return Samples(len(values), take, None, network.contract, "golden", each_step)


def whole(network: QuantizedNetwork, traces: list[SpikeTrace]) -> Mapping[str, PopulationTrace]:
    """What an engine gave batch after batch, by population; the input is left out."""
    from neurodeploy.simulation.trace import Overflow

    joined = WholeTrace.of(traces, network.contract.decode, Overflow())
    inputs = {population.name for population in network.inputs}
    return {name: record for name, record in joined.items() if name not in inputs}


def write(name: str, golden: Golden) -> str:
    """Write one file; returns its hash."""
    header: dict[str, Any] = {"format": 1, "structure": structure_of(golden.network)}
    arrays = {f"network/{key}": array for key, array in arrays_of(golden.network).items()}
    if isinstance(golden, Simulated):
        samples = golden.samples
        header |= {"batch": golden.batch, "each_step": samples.over_time}
        arrays["values"] = samples.take(0, samples.count).astype(np.int32)
        for population, record in golden.answer.items():
            arrays |= {f"answer/{population}/{what}": a for what, a in record.arrays.items()}
    else:
        header |= {"options": asdict(golden.options), "chunks": len(golden.chunks)}
        arrays |= {f"tags/{key}": array for key, array in golden.tags.items()}
        arrays |= {f"weights/{key}": array for key, array in golden.weights.items()}
        arrays |= {f"rows/{key}": array for key, array in golden.rows.items()}
        for number, (chunk, answer) in enumerate(zip(golden.chunks, golden.answers, strict=True)):
            arrays[f"{number}/values"], arrays[f"{number}/labels"] = chunk.values, chunk.labels
            arrays[f"{number}/scores"] = answer.scores
            arrays |= {f"{number}/states/{key}": array for key, array in answer.states.items()}
    assert not any(array.dtype.hasobject for array in arrays.values())
    path = FOLDER / f"{name}.npz"
    stored: dict[str, Any] = {"header": np.array(json.dumps(header)), **arrays}
    np.savez_compressed(path, **stored)
    return hash_of(name)


def hash_of(name: str) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256((FOLDER / f"{name}.npz").read_bytes()).hexdigest()


def read(name: str) -> Golden:
    """Read one file."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as found:
        arrays = {key: found[key] for key in found.files}
    header = json.loads(str(arrays.pop("header")))
    assert header["format"] == 1
    network = network_from(header["structure"], _below("network", arrays), name)
    if "options" not in header:
        samples = over_time(network, arrays["values"], each_step=header["each_step"])
        answer = {
            population: PopulationTrace.of(records.pop("s"), records)
            for population in (p.name for p in network.populations if p.neuron)
            if (records := _below(f"answer/{population}", arrays))
        }
        return Simulated(network, samples, header["batch"], answer)
    numbers = range(header["chunks"])
    return Learnt(
        network,
        build(LearningOptions, header["options"], name),
        _below("tags", arrays),
        tuple(StreamChunk(arrays[f"{n}/values"], arrays[f"{n}/labels"]) for n in numbers),
        tuple(Trajectory(_below(f"{n}/states", arrays), arrays[f"{n}/scores"]) for n in numbers),
        _below("weights", arrays),
        _below("rows", arrays),
    )


def manifest() -> dict[str, Any]:
    """What was recorded, by the name of the network."""
    return json.loads(MANIFEST.read_text(encoding="utf-8"))


def _below(key: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    start = f"{key}/"
    return {name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)}
