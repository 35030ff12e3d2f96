"""Tables on training: before the network was deployed, and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neurodeploy.artifacts.deployment import TrainingRecord
from neurodeploy.onchip.learner import rate_text
from neurodeploy.recipe import (
    AugmentationRecipe,
    DataRecipe,
    NeuronRecipe,
    Recipe,
    TrainingRecipe,
)
from neurodeploy.reporting.cost_text import between
from neurodeploy.reporting.text import Table, by_class_text, facts

PARTS = ("validation", "test")


def trained(training: TrainingRecord) -> Table:
    """The recipe and what came out of it."""
    recipe = training.recipe
    return facts(
        [
            ("recipe", f"{recipe.name}, seed {recipe.seed}"),
            ("data", _data(recipe.data, recipe.encoder.name)),
            ("encoder", _options(asdict(recipe.encoder))),
            ("network", _options(recipe.network)),
            ("neuron", _neuron(recipe.neuron)),
            ("rule", _options(recipe.rule)),
            ("loop", _loop(recipe.training)),
            ("augmentation", _augmentation(recipe.augmentation)),
            ("integers", _integers(recipe)),
            (
                "best epoch",
                f"{training.best_epoch} of {training.epochs}, by {_judged(training)}",
            ),
            (
                "test" if training.test_accuracy is None else "test accuracy",
                f"{training.test_text} in {trained_in(recipe)}",
            ),
            *(
                (f"{part} samples", by_class_text(training.predictions[part]))
                for part in PARTS
                if part in training.predictions
            ),
            ("time", f"{training.seconds:,.1f} s"),
        ]
    )


def _judged(training: TrainingRecord) -> str:
    """The score that the epoch was chosen by."""
    if training.validation_accuracy is None:
        return f"validation sMAPE {training.scores['validation_smape']:.3f}"
    return f"validation accuracy {training.validation_accuracy:.2%}"


def _data(data: DataRecipe, encoder: str) -> str:
    """Which samples, without the folders above them."""
    found = {**asdict(data), "path": Path(data.path).name, "sha256": data.sha256[:12]}
    found["front_end"] = f"({_options(asdict(data.front_end))})"
    found["mackey_glass"] = f"({_options(asdict(data.mackey_glass))})"
    without = [] if encoder == "events" else ["bins"]
    if data.name != "mackey_glass":
        without.append("mackey_glass")
    if data.bins != "dt":
        without.append("longer")
    if data.name != "fsdd":
        without.append("front_end")  # of sound
    return _options(found, without)


def _augmentation(augmentation: AugmentationRecipe) -> str:
    """What is changed at random, of sound in brackets."""
    found = asdict(augmentation)
    found["sound"] = f"({sound})" if (sound := _options(found["sound"])) else ""
    return _options(found)


def _neuron(neuron: NeuronRecipe) -> str:
    """Its constants; a table of one says what of it plays a part."""
    table = asdict(neuron)
    for name in ("tau", "tau_syn"):
        if isinstance(table[name], dict):
            table[name] = f"({_options(table[name])})"
    return _options(table, ("tau_syn",) if neuron.tau_syn == 1 else ())


def _loop(training: TrainingRecipe) -> str:
    """The options of the training loop that play a part."""
    found = {**asdict(training), "start_from": Path(training.start_from).name}
    without = ["threads", "checkpoint_minutes", "time_chunk"]
    if training.optimizer != "sgd":
        without.append("momentum")
    if not training.mse_weight:
        without.append("mse_target")
    if training.accumulate == 1:
        without.append("accumulate")
    return _options(found, without)


def _integers(recipe: Recipe) -> str:
    """From when on the training computed in integers."""
    quantize = recipe.quantize
    if not quantize.bits:
        return ""
    first = recipe.first_integer_epoch
    return f"{quantize.bits}-bit weights of {quantize.target}, from epoch {first} on"


def trained_in(recipe: Recipe) -> str:
    """The numbers that a network was trained in."""
    bits, target = recipe.quantize.bits, recipe.quantize.target
    return f"{bits}-bit integers of {target}" if bits else "floating point"


def _options(table: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """Names, then keys and values; zeros and empty ones are defaults that play no part."""
    names = [str(table[key]) for key in ("name", "family") if key in table]
    for key, value in table.items():
        if value and key not in ("name", "family", *without):
            words = key.replace("_", " ")
            shown = list(value) if isinstance(value, tuple) else value
            names.append(words if value is True else f"{words} {shown}")
    return ", ".join(names)


def learnt_cards(learning: Mapping[str, Any]) -> list[dict[str, str]]:
    """The figures to see first: accuracy on what was to be learnt, and on the other held-out sets.

    The samples set aside to choose weights by are no result.
    """
    before, after = learning["accuracies_before"], learning["accuracies_after"]
    measure = learning.get("measure")
    names = sorted(before, key=lambda name: name != measure)
    shown = [name for name in names if name == measure or name != learning.get("judge")]
    return [
        {
            "label": "learnt" if name == measure else "also measured",
            "value": f"{before[name]:.1%} to {after[name]:.1%}",
            "detail": f"accuracy, {name}",
            "mood": ("good" if after[name] > before[name] else "") if name == measure else "",
        }
        for name in shown
    ]


def learnt_lead(learning: Mapping[str, Any]) -> str:
    """What came of learning, in a sentence or two."""
    before, after = learning["accuracies_before"], learning["accuracies_after"]
    sets = sorted(before, key=lambda name: name != learning.get("measure"))
    changes = [f"{name} from {before[name]:.2%} to {after[name]:.2%}" for name in sets]
    text = f"Accuracy on held-out samples: {changes[0]}"
    if changes[1:]:
        text += f" ({'; '.join(changes[1:])})"
    text += f". Learnt from {learning['description']}."
    return f"{text} The old weights were kept." if learning.get("kept_after") == 0 else text


def learnt(learning: Mapping[str, Any]) -> Table:
    """How a deployment went on learning, and what came of it."""
    before, after = learning["accuracies_before"], learning["accuracies_after"]

    def share(key: str) -> str:
        return "" if learning[key] is None else f"{learning[key]:.2%}"

    mismatches = learning["mismatches"]
    return facts(
        [
            (
                "rule",
                {
                    "delta": "delta, the output layer only",
                    "local": "local, all layers, each with its own errors",
                    "prototypes": "prototypes, one for each class, as output layer",
                }.get(learning["rule"], f"{learning['rule']}, {learning['feedback']} feedback"),
            ),
            ("rate", f"{rate_text(learning['rate'])}, an update per {learning['update']}"),
            ("engine", learning["engine"]),
            *((f"accuracy, {name}", f"{before[name]:.2%} to {after[name]:.2%}") for name in before),
            ("weights kept", _kept(learning) if learning.get("judge") else ""),
            ("float network", share("accuracy_float")),
            ("the rule in floats", share("accuracy_ceiling")),
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


def _kept(learning: Mapping[str, Any]) -> str:
    kept, judge = learning["kept_after"], learning["judge"]
    which = (
        f"those after {kept:,} samples, the best on the samples {judge}"
        if kept
        else f"the old ones; none were better on the samples {judge}"
    )
    if learning.get("judge_before") is None:
        return which
    before, learnt = learning["judge_before"], learning["judge_learnt"]
    return f"{which}: {before:.2%} before, {learnt:.2%} learnt"


def circuits(cost: Mapping[str, Any]) -> Table:
    """What learning adds to a chip, and by what means."""
    found = [(c["what"], f"{c['means']}: {c['detail']}") for c in cost["circuits"]]
    return facts(found)


def learning_cost(cost: Mapping[str, Any]) -> Table:
    """Cores, memory and energy of learning."""
    energy, pace = cost["update_nj"], cost.get("update_us")
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
                energy and between(energy, "nJ"),
            ),
            (
                "time of its steps",
                between(pace, "us") if pace else "",
            ),
            ("does not fit", "; ".join(cost["violations"])),
        ]
    )
