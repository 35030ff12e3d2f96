"""What a simulation has counted, kept on disk so that it can go on after it was cut short."""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import UNFINISHED
from neurodeploy.artifacts.simulations import ActivityCount
from neurodeploy.errors import InputError, NeurodeployError, Setting, Text
from neurodeploy.simulation.early_exit import Exits
from neurodeploy.simulation.trace import (
    Counters,
    PopulationTrace,
    SampleBatch,
    Samples,
    SpikeTrace,
)
from neurodeploy.support.files import make_folder, sha256, write_json, written_whole
from neurodeploy.support.reading import read_json
from neurodeploy.support.seals import digest_of, is_intact, sealed
from neurodeploy.support.system import version_of
from neurodeploy.support.tensors import read_arrays
from neurodeploy.workflow.shown import Kept
from neurodeploy.workflow.tally import Tally

STATE = "state.json"

EVERY = 20.0
"""Seconds after which counts are kept anew."""

LOOKED_AT = 32
"""Samples, evenly spaced, by whose values the others are known again."""


class Unfinished:
    """The counts of one engine's simulation of a deployment, in its results.

    Args:
        folder: of the engine's results.
        what: is simulated and how, as ``identity`` gives it.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._folder = folder / UNFINISHED
        self._what = what
        self._kept = time.monotonic()
        self._samples = 0

    def resumed(self, tally: Tally) -> float:
        """Have a tally count on from what was kept; the seconds that this had taken.

        Raises:
            InputError: nothing was kept, it is damaged, or it is of another simulation.
        """
        file = self._folder / STATE
        again = Text("simulate without ", Setting("resume"))
        if not file.is_file():
            raise InputError(
                f"{self._folder.parent}: there is no interrupted simulation here", fix=again
            )
        table = read_json(file)
        if not is_intact(table):
            raise InputError(f"{file}: changed after it was written", fix=again)
        if table["what"] != self._what:
            raise InputError(
                f"{file}: belongs to other samples, another deployment or other options", fix=again
            )
        arrays = self._folder / table["arrays"]
        if not arrays.is_file() or sha256(arrays) != table["sha256"]:
            raise InputError(f"{arrays}: missing or changed after it was written", fix=again)
        _restore(tally, table["counts"], read_arrays(arrays))
        self._samples = tally.activity.samples
        return table["seconds"]

    def keep_now_and_then(self, tally: Tally, seconds: float) -> None:
        """Keep the counts if that was long ago."""
        if time.monotonic() - self._kept >= EVERY:
            self.keep(tally, seconds)

    def keep(self, tally: Tally, seconds: float) -> bool:
        """Keep the counts; whether there are any and they are on disk."""
        samples = tally.activity.samples
        if samples == self._samples:
            return samples > 0
        counts, arrays = _state(tally)
        name = f"counts-{samples}.safetensors"
        try:
            make_folder(self._folder)
            with written_whole(self._folder / name) as temporary:
                temporary.write_bytes(save(arrays))
            found = {
                "what": self._what,
                "seconds": seconds,
                "arrays": name,
                "sha256": sha256(self._folder / name),
                "counts": counts,
            }
            write_json(self._folder / STATE, sealed(found))
        except NeurodeployError:
            return False  # a full disk: the simulation itself may still come to its end
        for older in self._folder.glob("counts-*.safetensors"):
            if older.name != name:
                with suppress(OSError):
                    older.unlink()
        self._kept, self._samples = time.monotonic(), samples
        return True

    def discard(self) -> None:
        """Remove what was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)


def identity(deployment: Deployment, samples: Samples, engine: str, options: dict[str, Any]) -> str:
    """A hash of what is simulated and how.

    Args:
        options: everything else that counts depend on.
    """
    content = hashlib.sha256()
    for known in (samples.labels, samples.lengths):
        content.update(b"" if known is None else np.ascontiguousarray(known).tobytes())
    for number in sorted({*np.linspace(0, samples.count - 1, LOOKED_AT).astype(int).tolist()}):
        content.update(np.ascontiguousarray(samples.take(number, number + 1)).tobytes())
    return digest_of(
        {
            "deployment": deployment.digest,
            "engine": engine,
            "origin": samples.origin,
            "count": samples.count,
            "seed": samples.seed,
            "over_time": samples.over_time,
            "content": content.hexdigest(),
            "version": version_of("neurodeploy"),
            **options,
        }
    )


def _state(tally: Tally) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Counts as JSON, and as arrays."""
    arrays = {"found": np.concatenate(tally.found)}
    for name, spikes in tally.activity.spikes.items():
        arrays[f"activity/{name}"] = spikes
    for name, spikes in tally.until_exit.spikes.items():
        arrays[f"until_exit/{name}"] = spikes
    if tally.exits:
        exits = Exits.joined(tally.exits)
        arrays |= {"exits/classes": exits.classes, "exits/steps": exits.steps}
    if tally.first is not None:
        for name, record in tally.first.populations.items():
            for what, values in record.arrays.items():
                arrays[f"first/{what}/{name}"] = values
    for name, neurons in tally.shown.neurons.items():
        arrays[f"neurons/{name}"] = neurons
    for place, kept in enumerate(tally.shown.kept):
        arrays[f"shown{place}/values"] = kept.batch.values
        if kept.batch.lengths is not None:
            arrays[f"shown{place}/lengths"] = kept.batch.lengths
        arrays |= {f"shown{place}/spikes/{name}": s for name, s in kept.spikes.items()}
    counts = {
        "shown": [[kept.number, kept.right, kept.batch.static] for kept in tally.shown.kept],
        "samples": tally.activity.samples,
        "events": tally.events,
        "values": tally.values,
        "overflow": {
            name: [c.wraps, c.saturations] for name, c in tally.overflow.populations.items()
        },
        "neurobench": tally.neurobench and tally.neurobench.counts(),
        "output": None if tally.first is None else tally.first.output,
        "populations": [] if tally.first is None else list(tally.first.populations),
    }
    return counts, {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _restore(tally: Tally, counts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    samples = counts["samples"]
    tally.events, tally.values = dict(counts["events"]), dict(counts["values"])
    tally.found = [arrays["found"]]
    tally.activity = ActivityCount.of(samples, _part(arrays, "activity"))
    until_exit = _part(arrays, "until_exit")
    tally.until_exit = ActivityCount.of(samples if until_exit else 0, until_exit)
    if "exits/classes" in arrays:
        tally.exits = [Exits(arrays["exits/classes"], arrays["exits/steps"])]
    for name, (wraps, saturations) in counts["overflow"].items():
        tally.overflow.populations[name] = Counters(wraps, saturations)
    if tally.neurobench and counts["neurobench"]:
        tally.neurobench.count_on(counts["neurobench"])
    tally.shown.neurons = _part(arrays, "neurons")
    for place, (number, right, static) in enumerate(counts["shown"]):
        found = _part(arrays, f"shown{place}")
        batch = SampleBatch(number, found["values"], static, lengths=found.get("lengths"))
        tally.shown.kept.append(Kept(number, right, batch, _part(found, "spikes")))
    if counts["output"] is not None:
        records = _part(arrays, "first")
        populations: dict[str, dict[str, np.ndarray]] = {n: {} for n in counts["populations"]}
        for key, values in records.items():
            what, _, name = key.partition("/")
            populations[name][what] = values
        traces = {name: PopulationTrace.of(r.pop("s"), r) for name, r in populations.items()}
        tally.first = SpikeTrace(0, traces, counts["output"])


def _part(arrays: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    start = f"{part}/"
    return {key[len(start) :]: a for key, a in arrays.items() if key.startswith(start)}
