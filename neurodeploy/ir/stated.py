"""What a caller states of a file that does not say it, and the contract that comes of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from neurodeploy.errors import Setting, Text, UnsupportedError, Value, in_lines
from neurodeploy.ir.contract import (
    Comparison,
    Contract,
    Decode,
    Encoder,
    Gain,
    InputCode,
    Integrator,
    NodeReset,
    Origin,
    Semantics,
)
from neurodeploy.ir.per_node import covers


@dataclass(frozen=True)
class StatedReading:
    """How a file is read that does not say it; None where nothing is stated.

    Attributes:
        framework: whose discretisation the file has; the other fields override it.
        dt to integrator: as in ``Semantics``; reset and comparison of all nodes, or by name, with
            ``*`` for those that are not named.
        gain: ``one`` takes the input of every neuron as it is, whatever r and tau make of it.
        decode: as in ``Contract``.
        reset_delay: whether snnTorch's neurons are reset at the step after a spike; likewise by
            name.
    """

    framework: Origin | None = None
    dt: float | None = None
    reset: NodeReset | dict[str, NodeReset] | None = None
    comparison: Comparison | dict[str, Comparison] | None = None
    integrator: Integrator | None = None
    gain: Gain | None = None
    decode: Decode | None = None
    reset_delay: bool | dict[str, bool] | None = None


@dataclass(frozen=True)
class Stated(StatedReading):
    """All that the caller states of a file that does not say it; None where nothing is stated.

    Attributes:
        steps, encoder, levels: as in ``Contract``.
    """

    steps: int | None = None
    encoder: Encoder | None = None
    levels: int | None = None

    def applied_to(
        self,
        contract: Contract | None,
        where: str,
        spiking_output: bool,
        defaults: Semantics | None = None,
        likely: Sequence[str] = (),
        nodes: Mapping[str, str] | None = None,
    ) -> Contract:
        """The contract in force: what the file carries, overridden by what is stated.

        Args:
            spiking_output: whether the output fires; without a contract its spikes are counted
                then, and its potential summed otherwise.
            defaults: the semantics of ``framework``.
            likely: frameworks that the file could come from, for the advice in the message.
            nodes: that fire, by name; what is stated of each of them is stated of all.

        Raises:
            UnsupportedError: neither says everything; the message lists what is missing.
        """
        if contract is None:
            missing = self.missing(defaults, nodes or {})
            if missing:
                raise UnsupportedError(
                    f"{where}: NIR does not say how it is stepped and the file carries no "
                    "neurodeploy metadata",
                    fix=Text("state\n", listed(missing, likely)),
                )
            contract = Contract(
                defaults or Semantics(self.dt or 0.0, "zero", ">", "euler"),
                InputCode("events"),
                self.steps or 0,
                "spike_count" if spiking_output else "sum_v",
            )
        elif self.framework is not None:
            framework = Setting("framework", self.framework)
            raise UnsupportedError(
                Text(
                    f"{where}: carries its contract as neurodeploy metadata, which says more than ",
                    framework,
                ),
                fix=Text("leave ", Setting("framework"), " out"),
            )
        try:
            return self._overriding(contract)
        except ValueError as error:
            raise UnsupportedError(f"{where}: {error}") from None

    def missing(self, defaults: Semantics | None, nodes: Mapping[str, str]) -> list[str]:
        """What a file without metadata needs and is not stated, by the names of the fields."""
        wanted = ["steps"] if defaults else list(HINTS)
        return [name for name in wanted if not covers(getattr(self, name), nodes)]

    def _overriding(self, contract: Contract) -> Contract:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        parts: list[dict[str, Any]] = [
            {name: given[name] for name in names if name in given}
            for names in (("dt", "integrator"), ("encoder", "levels"), ("steps", "decode"))
        ]
        semantics, code, rest = parts
        changed = replace(contract.semantics, **semantics)
        return replace(
            contract,
            semantics=changed.stating(self.reset, self.comparison),
            input_code=replace(contract.input_code, **code),
            **rest,
        )


ABOVE, AT = Value("comparison", ">"), Value("comparison", ">=")

HINTS: dict[str, str] = {
    "dt": "seconds per step, often 1e-4 or 1e-3",
    "reset": "zero, subtract or none; NIR's v_reset means zero",
    "comparison": Text(ABOVE, " or ", AT, "; NIR's equations say ", ABOVE),
    "integrator": "euler or exponential; most exporters mean euler",
    "steps": "time steps per sample",
}
"""What a file without metadata needs to be run."""


def listed(missing: list[str], likely: Sequence[str]) -> Text:
    """What is missing, a line each, and which frameworks would say most of it."""
    lines = [Text("  ", Setting(name), ": ", HINTS[name]) for name in missing]
    if missing != ["steps"]:
        all_but = ("or, in place of all but ", Setting("steps"), ", the framework that wrote it")
        named = [part for name in likely for part in (", ", Setting("framework", name))][1:]
        meant = ("; this file is consistent with ", *named) if named else ()
        lines.append(Text(*all_but, *meant))
    return in_lines(lines)
