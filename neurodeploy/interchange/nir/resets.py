"""What spikes do to v in the layers of a framework's file, which does not say it."""

from __future__ import annotations

from collections.abc import Mapping

import nir

from neurodeploy.errors import Setting, Text
from neurodeploy.interchange.frameworks import Framework
from neurodeploy.interchange.frameworks.framework import AfterSpike, SpikingLayer
from neurodeploy.ir.contract import Semantics
from neurodeploy.ir.per_node import for_all, for_node
from neurodeploy.ir.stated import Stated


def after_spike(
    name: str, graph: nir.NIRGraph, framework: Framework, semantics: Semantics, stated: Stated
) -> AfterSpike:
    """What is stated of a layer, and the framework's default for what is not.

    Raises:
        UnsupportedError: the framework has no such layer.
    """
    kind = type(graph.nodes[name]).__name__
    reset, delay = for_node(stated.reset, name), for_node(stated.reset_delay, name)
    if framework.after_spike is not None:
        after = {target for source, target in graph.edges if source == name}
        recurrent = any(target == name and source in after for source, target in graph.edges)
        return framework.after_spike(SpikingLayer(name, kind, recurrent, reset, delay))
    late = reset is None and kind in framework.late_reset
    return AfterSpike(semantics.of(name).reset, late)


def reset_notes(
    resets: Mapping[str, AfterSpike], framework: Framework, stated: Stated
) -> list[str]:
    """How each layer was taken to be reset; its name where not all are alike."""
    layers: dict[str, list[str]] = {}
    for name, found in resets.items():
        said = for_node(stated.reset, name)
        words = found.words or (said and f"{said!r}, as stated")
        if words:
            layers.setdefault(words, []).append(name)
    title = f"{framework.title} does not write resets: "
    return [
        Text(title, f"{', '.join(map(repr, names))}: " if len(names) < len(resets) else "", words)
        for words, names in layers.items()
    ]


def unsettled(notes: tuple[str, ...], stated: Stated) -> list[str]:
    """The notes without those that name a setting whose value is stated of all nodes."""

    def settled(note: str) -> bool:
        settings = note.named if isinstance(note, Text) else ()
        return any(
            isinstance(part, Setting) and for_all(getattr(stated, part.name, None)) is not None
            for part in settings
        )

    return [note for note in notes if not settled(note)]
