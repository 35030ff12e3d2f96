"""Tables of the report: headings and rows of text."""

from __future__ import annotations

import math
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neurodeploy.contract import Contract
from neurodeploy.learning.options import rate_text
from neurodeploy.mapping import Mapping
from neurodeploy.mapping.mapping import RESOURCES
from neurodeploy.quantization.error import ProjectionError
from neurodeploy.quantized import QuantizedNetwork


@dataclass(frozen=True)
class Table:
    """What the template draws as a table."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Two columns without headings; pairs without a value are left out."""
    return Table((), [pair for pair in pairs if pair[1]])


def trained(training: AnyMapping[str, Any]) -> Table:
    """The recipe and what came out of it."""
    recipe = training["recipe"]
    options = recipe["training"]
    augmentation = {key: value for key, value in recipe["augmentation"].items() if value}
    return facts(
        [
            ("recipe", f"{recipe['name']}, seed {recipe['seed']}"),
            ("data", _options(recipe["data"])),
            ("rule", _options(recipe["rule"])),
            ("network", _options(recipe["network"])),
            ("neuron", _options(recipe["neuron"])),
            ("encoder", _options(recipe["encoder"])),
            ("augmentation", _options(augmentation)),
            ("training", _options(options)),
            (
                "best epoch",
                f"{training['best_epoch']} of {training['epochs']}, by validation accuracy "
                f"{training['validation_accuracy']:.2%}",
            ),
            ("test accuracy", f"{training['test_accuracy']:.2%} in {trained_in(recipe)}"),
            ("time", f"{training['seconds']:,.1f} s"),
        ]
    )


def trained_in(recipe: AnyMapping[str, Any]) -> str:
    """The numbers that a network was trained in."""
    quantize = recipe.get("quantize") or {}
    bits = quantize.get("bits", 0)
    return f"{bits}-bit integers of {quantize['target']}" if bits else "floating point"


def learnt(learning: AnyMapping[str, Any]) -> Table:
    """How a deployment went on learning, and what came of it."""
    before, after = learning["accuracies_before"], learning["accuracies_after"]

    def share(key: str) -> str:
        return "" if learning[key] is None else f"{learning[key]:.2%}"

    mismatches = learning["mismatches"]
    return facts(
        [
            (
                "rule",
                "delta, the output layer alone"
                if learning["rule"] == "delta"
                else f"sltt, {learning['feedback']} feedback",
            ),
            ("rate", f"{rate_text(learning['rate'])}, an update per {learning['update']}"),
            ("engine", learning["engine"]),
            *((f"accuracy, {name}", f"{before[name]:.2%} to {after[name]:.2%}") for name in before),
            ("weights kept", _kept(learning) if learning.get("judge") else ""),
            ("float network", share("accuracy_float")),
            ("SLTT in PyTorch", share("accuracy_ceiling")),
            ("recovered", share("recovered")),
            ("updates", f"{learning['updates']:,}"),
            (
                "against the reference",
                "" if mismatches is None else f"{mismatches:,} weights differ",
            ),
            (
                "out of range",
                ", ".join(
                    f"{name}: {counts[key]:,} {what}"
                    for name, counts in learning["layers"].items()
                    for key, what in (
                        ("saturated", "weights saturated"),
                        ("clipped_updates", "updates clipped"),
                        ("clipped_errors", "errors clipped"),
                    )
                    if counts[key]
                ),
            ),
        ]
    )


def _kept(learning: AnyMapping[str, Any]) -> str:
    if not learning["kept_after"]:
        return f"the old ones; none did better on the samples {learning['judge']}"
    return f"from after {learning['kept_after']:,} samples, best on those {learning['judge']}"


def circuits(cost: AnyMapping[str, Any]) -> Table:
    """What learning adds to a chip, and by what means."""
    found = [(c["what"], f"{c['means']}: {c['detail']}") for c in cost["circuits"]]
    return facts(found)


def learning_cost(cost: AnyMapping[str, Any]) -> Table:
    """Cores, memory and energy of learning."""
    energy = cost["update_nj"]
    return facts(
        [
            ("cores", f"{cost['learning_cores']:,} instead of {cost['cores']:,}"),
            (
                "synapse memory",
                f"{cost['learning_synapse_words']:,} words instead of {cost['synapse_words']:,}",
            ),
            ("history", f"{cost['history_bits']:,} bits" if cost["history_bits"] else ""),
            (
                "sent to the transposed copy",
                f"{cost['weights_sent']:,.0f} weights per update" if cost["weights_sent"] else "",
            ),
            (
                "energy of an update",
                energy and f"{energy['low']:,.0f} to {energy['high']:,.0f} nJ",
            ),
            ("does not fit", "; ".join(cost["violations"])),
        ]
    )


def _options(table: AnyMapping[str, Any]) -> str:
    """Names, then keys and values; zeros and empty ones are defaults that play no part."""
    names = [str(table[key]) for key in ("name", "family") if key in table]
    rest = {key: value for key, value in table.items() if key not in ("name", "family") and value}
    return ", ".join(names + [f"{key} {value}" for key, value in rest.items()])


def populations(network: QuantizedNetwork) -> Table:
    """Every population with its integers' meaning."""
    rows = []
    for p in network.populations:
        size, shape = math.prod(p.shape), " x ".join(map(str, p.shape))
        if p.neuron is None:
            rows.append((p.name, "input", shape, f"{size:,}", "", "", "", "", f"{p.scale:g}"))
            continue
        threshold = "" if p.neuron.threshold is None else _span(p.neuron.threshold)
        rows.append(
            (
                p.name,
                p.neuron.kind,
                shape,
                f"{size:,}",
                threshold,
                "" if p.neuron.threshold is None else f"{p.neuron.comparison}, {p.neuron.reset}",
                _span(p.neuron.v_decay),
                _span(p.neuron.bias_mantissa << p.neuron.bias_exponent),
                f"{p.scale:,.4g}",
            )
        )
    return Table(
        (
            *("population", "neuron", "shape", "neurons", "threshold", "fires, resets"),
            *("leak, 1/4096", "bias", "scale"),
        ),
        rows,
    )


def _span(values: Any) -> str:
    """One number, or the smallest and the largest."""
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def projections(network: QuantizedNetwork) -> Table:
    """Every projection with its weights."""
    return Table(
        (
            *("projection", "from", "to", "operator", "weights", "non-zero", "bits", "exponent"),
            *("delay", "clipped"),
        ),
        [
            (
                p.name,
                p.source,
                p.target,
                p.operator.kind,
                f"{p.operator.weights.size:,}",
                f"{(p.operator.weights != 0).mean():.1%}",
                f"{p.weight_format.bits} {p.weight_format.sign}",
                f"{p.exponent}",
                f"{p.delay}",
                f"{p.clipped:,}",
            )
            for p in network.projections
        ],
    )


def rounding(errors: Sequence[ProjectionError]) -> Table:
    """What became of every projection's weights."""
    return Table(
        ("projection", "bits", "integers per unit", "rms error", "signal to noise, dB", "clipped"),
        [
            (
                e.projection,
                f"{e.bits}",
                f"{e.scale / 2.0**e.exponent:,.4g}",
                f"{e.rms_error:.3g}",
                "nothing lost" if e.sqnr_db is None else f"{e.sqnr_db:.1f}",
                f"{e.clipped / e.weights:.2%}" if e.weights else "",
            )
            for e in errors
        ],
    )


def core_use(mapping: Mapping) -> Table:
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


def simulated(runs: Sequence[AnyMapping[str, Any]]) -> Table:
    """Accuracy, speed and overflow of each engine."""
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
                "" if run["accuracy"] is None else f"{run['accuracy']:.2%}",
                f"{run['total_spikes_per_sample']:,.1f}",
                f"{sum(run['wraps'].values()):,}",
                f"{sum(run['saturations'].values()):,}",
                f"{run['samples_per_second']:,.1f}",
            )
            for run in runs
        ],
    )


def costs(estimate: AnyMapping[str, Any]) -> Table:
    """Events of a sample, its energy and its time."""
    traffic, energy = estimate["traffic"], estimate.get("energy_nj")
    parts = estimate.get("energy")
    rows = [
        ("synaptic operations", f"{estimate['synaptic_ops']:,.0f}"),
        ("neuron updates", f"{estimate['neuron_updates']:,.0f} in {estimate['steps']} steps"),
        ("spikes", f"{estimate['spikes']:,.0f}, and {estimate['input_spikes']:,.0f} of input"),
        (
            "messages",
            f"{traffic['between_cores']:,.0f} between cores, {traffic['between_chips']:,.0f} of "
            "them between chips",
        ),
    ]
    if parts and energy:
        rows += [
            ("energy of synapses", f"{parts['synapses']:,.1f} nJ"),
            ("energy of updates", f"{_range(parts['updates'])} nJ, inactive to active"),
            ("energy of messages", f"{parts['spikes']:,.1f} nJ on the chips' meshes"),
            ("energy", f"at least {_range(energy)} nJ"),
        ]
    rows.append(
        (
            "the same as an ANN",
            f"{estimate['macs']:,} multiply-accumulates, {estimate['ann_nj']:,.1f} nJ",
        )
    )
    if estimate.get("sample_us"):
        rows += [
            ("time", f"at least {_range(estimate['sample_us'])} us a sample"),
            ("latency", f"at least {_range(estimate['latency_us'])} us"),
        ]
    return facts(rows)


def _range(found: AnyMapping[str, float]) -> str:
    return f"{found['low']:,.1f} to {found['high']:,.1f}"


def contract(contract: Contract) -> Table:
    """What NIR leaves open, as it was understood."""
    semantics, code = contract.semantics, contract.input_code
    return facts(
        [
            ("time step", f"{semantics.dt:g} s, {semantics.integrator}"),
            ("fires", f"at v {semantics.comparison} threshold"),
            ("reset", "to zero" if semantics.reset == "zero" else "by subtracting the threshold"),
            ("input", f"{code.encoder}, integers 0 to {code.levels}"),
            ("steps", f"{contract.steps} per sample"),
            ("class", f"argmax of {contract.decode}"),
            ("data", contract.dataset),
        ]
    )
