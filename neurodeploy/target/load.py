"""Chips read from TOML.

A target is found by name among the built-in ones (``targets/*.toml``) or by path. A file that says
``extends = "NAME"`` gives only what differs from that target.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.errors import InputError
from neurodeploy.support.reading import read_toml
from neurodeploy.support.schema import build, builtin_names, find_toml
from neurodeploy.target.costs import Duration, Energy, Reading
from neurodeploy.target.limits import MOST_HELD, Chip, Core, NeuronLimits, SpikeLimits, Synapse

PACKAGE = "neurodeploy.targets"

SAME_CORES = {"name", "description", "chip", "readings"}
"""Keys of a target that leave what its cores do as it is: more chips, not other ones."""


@dataclass(frozen=True)
class Target:
    """A chip or a system of chips.

    Attributes:
        energy, duration: where figures of them exist.
        readings: what chips of this kind took for whole networks.
    """

    name: str
    description: str
    chip: Chip
    core: Core
    synapse: Synapse
    neuron: NeuronLimits
    spike: SpikeLimits
    energy: Energy | None = None
    duration: Duration | None = None
    readings: tuple[Reading, ...] = ()

    @property
    def relay_fan_in(self) -> int | None:
        """Synapses that a neuron may have in a core, each in a row of a word at least.

        None where neurons cannot pass sums of real numbers on, which takes programmable ones and
        graded spikes.
        """
        if not self.neuron.programmable.value or self.spike.payload_bits.value < 2:
            return None
        return MOST_HELD if self.core.synapse_words is None else self.core.synapse_words.value

    def __post_init__(self) -> None:
        names = [reading.network for reading in self.readings]
        if len(set(names)) < len(names):
            raise ValueError(f"readings name each network once, found {', '.join(names)}")
        for table in (self.energy, self.duration):
            for field in dataclasses.fields(table) if table else ():
                fitted_to = getattr(getattr(table, field.name), "fitted_to", None)
                if fitted_to is not None and fitted_to not in names:
                    raise ValueError(
                        f"{field.name} is fitted to {fitted_to!r}, which is no reading"
                    )


def builtin_targets() -> dict[str, Target]:
    """All targets that ship with the package, by name."""
    return {name: load_target(name) for name in builtin_names(PACKAGE)}


def load_target(source: str | Path) -> Target:
    """Read a target by built-in name or path.

    Raises:
        InputError: no such target, malformed TOML, unknown key or bad value.
    """
    path = find_toml(source, PACKAGE, "target")
    table = _read(path, ())
    table.setdefault("name", path.stem)
    return build(Target, table, path.name)


def _read(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """The table of a target, on top of that of the target it ``extends``.

    Raises:
        InputError: targets extend each other in a circle.
    """
    if path in extending:
        circle = " -> ".join(found.name for found in (*extending, path))
        raise InputError(f"{path.name}: targets extend each other in a circle ({circle})")
    table = read_toml(path)
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise InputError(f"{path.name}: extends names a target, found {base!r}")
    beside = path.parent / base
    found = find_toml(beside if base.endswith(".toml") else base, PACKAGE, "target")
    below = _read(found, (*extending, path))
    # A base's name and description are its own.
    below = {key: value for key, value in below.items() if key not in ("name", "description")}
    if not set(table) <= SAME_CORES and "readings" in below:
        below["readings"] = _unestimated(below["readings"])
    return _merged(below, table)


def _unestimated(readings: Any) -> Any:
    """Readings without what was estimated for them, with figures that are no longer the same."""
    if not isinstance(readings, list):
        return readings
    return [
        {key: value for key, value in reading.items() if not key.startswith("estimated_")}
        if isinstance(reading, dict)
        else reading
        for reading in readings
    ]


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables joined key by key, ``above`` winning; a figure is replaced whole, source and all."""
    result = dict(below)
    for key, value in above.items():
        base = below.get(key)
        if isinstance(base, dict) and isinstance(value, dict):
            figure = "value" in base or "values" in base
            result[key] = value if figure else _merged(base, value)
        else:
            result[key] = value
    return result
