"""What ``neurodeploy learn`` prints."""

from __future__ import annotations

from neurodeploy.learning.options import rate_text
from neurodeploy.reporting.text import table_text
from neurodeploy.workflow.learn import LearningResult


def learning_text(result: LearningResult) -> str:
    """A result for people to read."""
    before, after = result.accuracies_before, result.accuracies_after
    lines = [
        f"Engine {result.engine}: {result.rule} learnt from {result.description}",
        f"Rate {rate_text(result.rate)}, an update per {result.update}, {result.feedback} "
        f"feedback, {result.samples_per_second:,.1f} samples/s",
        table_text(
            ["held out", "before", "after"],
            [(name, f"{before[name]:.2%}", f"{after[name]:.2%}") for name in before],
        ),
    ]
    if result.accuracy_float is not None:
        lines.append(f"Float network, before quantisation: {result.accuracy_float:.2%}")
    if result.accuracy_ceiling is not None:
        lines.append(
            f"SLTT in PyTorch, in floats, after the same samples: {result.accuracy_ceiling:.2%} "
            f"({result.measure})"
        )
    if result.recovered is not None:
        lines.append(f"Recovered {result.recovered:.0%} of what was lost")
    lines += _events(result)
    if result.mismatches is None:
        lines.append(f"{result.updates:,} updates")
    elif result.mismatches:
        lines.append(
            f"MISMATCH: {result.mismatches:,} weights differ from the reference's over "
            f"{result.updates:,} updates; nothing was written"
        )
    else:
        lines.append(
            f"MATCH: 0 weights differ from the reference's over {result.updates:,} updates"
        )
    if result.deployment is not None:
        lines.append(f"Wrote {result.deployment}/ and {result.curve}\nNext: neurodeploy simulate")
    return "\n".join(lines)


def _events(result: LearningResult) -> list[str]:
    """What a user should know of, where it happened."""
    lines = []
    for name, counts in result.layers.items():
        found = {
            "saturated weights": counts.saturated,
            "clipped updates": counts.clipped_updates,
            "clipped errors": counts.clipped_errors,
        }
        text = ", ".join(f"{count:,} {what}" for what, count in found.items() if count)
        lines.append(
            f"  {name:<16} {counts.updates:12,} changes of synapses{'; ' if text else ''}{text}"
        )
    for name, (wraps, saturations) in result.overflow.items():
        if wraps or saturations:
            lines.append(f"  {name}: {wraps:,} wraps of u, {saturations:,} saturations of v")
    return lines
