"""Tables on a deployed network: its integers, its cores, and what came of simulating it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neurodeploy.artifacts.deployment import Deployment
from neurodeploy.artifacts.names import NIR_FILE
from neurodeploy.ir.contract import Contract, NodeReset, own_semantics
from neurodeploy.ir.models import IntegerModel
from neurodeploy.ir.quantized import QuantizedNetwork, QuantizedNeuron
from neurodeploy.mapping import CoreMapping
from neurodeploy.mapping.mapping import RESOURCES
from neurodeploy.mapping.placement import Flow
from neurodeploy.quantization.weights import ProjectionError, halves, projection_errors
from neurodeploy.reporting.cost_text import input_events
from neurodeploy.reporting.text import Table, facts

SIGNS = {"mixed": "\u00b1", "excitatory": "+", "inhibitory": "\u2212"}


def populations(network: QuantizedNetwork) -> Table:
    """Every population with its integers' meaning."""
    rows = []
    for p in network.populations:
        size, shape = math.prod(p.shape), " x ".join(map(str, p.shape))
        if p.neuron is None:
            rows.append((p.name, "input", shape, f"{size:,}", "", "", "", "", _number(p.scale)))
            continue
        what = (p.name, p.neuron.kind, shape, f"{size:,}")
        if isinstance(p.neuron, IntegerModel):
            rows.append((*what, "", _sends(p.neuron), "", _bias(p.neuron), _number(p.scale)))
            continue
        threshold = "" if p.neuron.threshold is None else _span(p.neuron.threshold)
        rows.append(
            (
                *what,
                threshold,
                "" if p.neuron.threshold is None else _fires(p.neuron),
                _span(p.neuron.v_decay),
                _span(p.neuron.bias_mantissa << p.neuron.bias_exponent),
                _number(p.scale),
            )
        )
    return Table(
        (
            *("population", "neuron", "shape", "neurons", "threshold", "fires, resets"),
            *("leak, 1/4096", "bias", "one unit"),
        ),
        rows,
    )


def _fires(neuron: QuantizedNeuron) -> str:
    """When a population fires, and what that does to v."""
    rest = f", rests {neuron.refractory_period}" if neuron.refractory_period else ""
    return f"{neuron.comparison}, {neuron.reset}{rest}"


def _sends(neuron: IntegerModel) -> str:
    """What neurons of another model send."""
    message = neuron.message
    if not message.graded:
        return "spikes"
    return f"{message.bits} bits" + (" with sign" if message.signed else "")


def _bias(neuron: IntegerModel) -> str:
    bias = neuron.arrays().get("bias")
    return "" if bias is None else _span(bias)


def _span(values: Any) -> str:
    """One number, or the smallest and the largest."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def layers(network: QuantizedNetwork, errors: Sequence[ProjectionError]) -> Table:
    """Every projection: its weights, their integers, and what rounding changed.

    Args:
        errors: by float projection, of which a one-bit one is two here; empty where there are none.
    """
    found = {
        name: error
        for error in errors
        for name in (error.projection, *halves(error.projection))
    }  # fmt: skip
    rows = []
    for p in network.projections:
        scale, source = network.population(p.target).scale, network.population(p.source)
        row = (
            p.name,
            f"{p.source} to {p.target}" + (f", delay {p.delay}" if p.delay else ""),
            f"{p.operator.kind} {_shape(p.operator.weights.shape)}",
            f"{p.weight_format.bits} {SIGNS[p.weight_format.sign]}",
            f"{p.exponent}",
            _number(scale / (2.0**p.exponent * source.message_unit)),
            f"{p.clipped:,}",
        )
        rows.append((*row, *_error(found.get(p.name))) if errors else row)
    columns = ("projection", "from, to", "weights", "bits", "exponent", "scale", "clipped")
    return Table((*columns, "rms error", "SQNR, dB") if errors else columns, rows)


def _number(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _shape(shape: Sequence[int]) -> str:
    """Lengths of the axes, and their product where there are several."""
    size = f"{math.prod(shape):,}"
    return size if len(shape) == 1 else f"{' x '.join(map(str, shape))} = {size}"


def _error(error: ProjectionError | None) -> tuple[str, str]:
    """Of a projection that stands for weights in floats, how far they are off."""
    if error is None:
        return "", ""
    ratio = "nothing lost" if error.sqnr_db is None else f"{error.sqnr_db:.1f}"
    return f"{error.rms_error:.3g}", ratio


def core_use(mapping: CoreMapping) -> Table:
    """Every population with the most that one of its cores holds."""
    rows = []
    for name, uses in mapping.by_population().items():
        scarcest, share = mapping.fullest(uses)
        rows.append(
            (
                name,
                f"{len(uses):,}",
                *(f"{max(getattr(use, resource) for use in uses):,}" for resource in RESOURCES),
                f"{share:.1%} of {RESOURCES[scarcest]}",
            )
        )
    return Table(
        ("population", "cores", *RESOURCES.values(), "fullest"),
        rows,
    )


def flows(found: Sequence[Flow]) -> Table:
    """Messages from each population to each."""
    return Table(
        ("from", "to", "messages", "between chips", "hops each"),
        [
            (
                flow.source,
                flow.target,
                f"{flow.messages:,.0f}",
                f"{flow.between_chips:,.0f}",
                "" if flow.hops is None else f"{flow.hops:.1f}",
            )
            for flow in found
        ],
    )


def simulated(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Accuracy, events per sample, overflow and speed of each engine."""
    return Table(
        (
            "engine",
            "samples",
            "accuracy",
            "spikes per sample",
            "u wrapped",
            "v saturated",
            "samples/s",
        ),
        [
            (
                run["engine"],
                f"{run['samples']:,}",
                _accuracy(run),
                _spikes(run),
                _counts(run["wraps"]),
                _counts(run["saturations"]),
                f"{run['samples_per_second']:,.1f}",
            )
            for run in runs
        ],
    )


def _accuracy(run: Mapping[str, Any]) -> str:
    """Share of right answers, and beside it the mean of the classes' where it is another."""
    if run.get("smape") is not None:
        return f"sMAPE {run['smape']:.3f}"
    if run["accuracy"] is None:
        return ""
    text = f"{run['accuracy']:.2%}"
    balanced = run.get("predictions", {}).get("balanced_accuracy")
    other = "" if balanced is None else f"{balanced:.2%}"
    return text if other in ("", text) else f"{text} (balanced {other})"


def _spikes(run: Mapping[str, Any]) -> str:
    """Spikes, and the events of the input."""
    found = run.get("estimate")
    if not found:
        return f"{run['total_spikes_per_sample']:,.1f}"
    return f"{found['spikes']:,.1f}, and {input_events(run)}"


def potentials(report: Mapping[str, Any]) -> str:
    """How far apart neurons that never spike are, in a comparison with floats, in sentences."""
    found = f" Same class on {report['agreeing_predictions']:,} of {report['samples']:,} samples"
    first, apart = report.get("first_disagreement"), report.get("max_value_difference")
    if apart is not None:
        found = f" Predicted values are at most {apart:.3g} apart"
    elif first:
        found += f", the first other one is sample {first['sample']}"
        found += f" ({first['first']} against {first['second']})"
    found += "."
    for p in report["populations"]:
        if p.get("quantity") == "potentials" and p["v_range"]:
            low, high = p["v_range"]
            found += f" v of {p['name']} is at most {p['max_v_difference']:.3g} apart, from "
            found += f"{low:.3g} to {high:.3g}."
    return found


def _counts(counts: Mapping[str, int]) -> str:
    """All of them together, and the population with most."""
    total = sum(counts.values())
    if not total:
        return "0"
    worst = max(counts, key=lambda name: counts[name])
    return f"{total:,} ({worst})" if counts[worst] == total else f"{total:,} (most in {worst})"


RESETS: dict[NodeReset, str] = {
    "zero": "to zero",
    "subtract": "by subtracting the threshold",
    "none": "none",
}


def contract(contract: Contract) -> Table:
    """What NIR leaves open, as it was understood."""
    semantics, code = contract.semantics, contract.input_code
    return facts(
        [
            ("time step", f"{semantics.dt:g} s, {semantics.integrator}"),
            ("fires", f"at v {semantics.comparison} threshold"),
            ("reset", RESETS[semantics.reset]),
            *own_semantics(semantics).items(),
            ("input", f"{code.encoder}, integers 0 to {code.levels}"),
            ("steps", f"{contract.steps} per sample"),
            ("class", "" if contract.predicts_values else f"argmax of {contract.decode}"),
            (
                "value",
                f"{contract.value_offset:g} + {contract.value_scale:g} times {contract.decode} / T"
                if contract.predicts_values
                else "",
            ),
            ("data", contract.dataset),
        ]
    )


def in_nano(found: Mapping[str, float], unit: str) -> str:
    """From ``low`` to ``high``, given in nano units, with three digits."""
    factor, prefix = next(
        ((1000.0**power, prefix) for power, prefix in ((3, ""), (2, "m"), (1, "\u00b5"))
         if found["high"] >= 1000.0**power),
        (1.0, "n"),
    )  # fmt: skip
    low, high = (_digits(found[end] / factor) for end in ("low", "high"))
    return f"{low} {prefix}{unit}" if low == high else f"{low} to {high} {prefix}{unit}"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    value = float(f"{value:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{min(decimals, 6)}f}"


def rounding_errors(deployment: Deployment) -> tuple[ProjectionError, ...]:
    """What rounding did to the weights of every projection, from the two networks in the folder.

    Nothing for a network that came as integers or went on learning.
    """
    if deployment.learned or not (deployment.path / NIR_FILE).is_file():
        return ()
    from neurodeploy.artifacts.deployment import float_network

    return projection_errors(float_network(deployment), deployment.network)
