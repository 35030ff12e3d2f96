"""Write docs/json.md: what the commands print with ``--json``. Run with ``make docs``.

The table is the contract: a test holds what the commands print against it.
"""

from __future__ import annotations

from pathlib import Path

ENVELOPE = {
    "version": ("string", "version of neurodeploy"),
    "command": ("string", "the command, for example `bench train`"),
    "paths": ("object", "files and folders read or written, by the key that names each below"),
}

ERROR = {
    "error": (
        "object",
        "in place of the command's own keys when it fails: `kind`, the class of the error; "
        "`message`, as on stderr; `exit_code`, that of the process",
    ),
}

ROWS = {"rows": ("array", "one object for each thing measured")}
PICTURE = {"picture": ("string", "the picture written")}
WARNINGS = {"warnings": ("array", "what looks like a mistake, as text")}

COMPARED = {
    "kind": ("string", "`runs` or `deployments`"),
    "first": ("object", "`path` and figures of A"),
    "second": ("object", "`path` and figures of B"),
    "layers": ("array", "objects with `name` and the figures of both as `first` and `second`"),
    "settings": ("object", "settings that differ, each with `first` and `second`"),
    "remarks": ("array", "what makes the two hard to compare, in words"),
    "page": ("string or null", "the page, where one was written"),
}

COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "train": {
        "run": ("string", "run folder"),
        "network": ("string", "the trained network, a .nir file in it"),
        "log": ("string", "what the training said, with times"),
        "test_accuracy": ("number or null", "0 to 1; null where values are predicted"),
        "validation_accuracy": ("number or null", "likewise"),
        "task": ("string, if not classes", "`regression`"),
        "test_smape": ("number, of values", "symmetric mean absolute percentage error"),
        "validation_smape": ("number, of values", "likewise"),
        "test_mse": ("number, of values", "mean squared error"),
        "validation_mse": ("number, of values", "likewise"),
        "best_epoch": ("integer", "counted from 1"),
        "epochs": ("integer", "epochs trained"),
        "seconds": ("number", "time of all epochs"),
        "predictions": ("object", "by part of the data: counts by class, or errors of values"),
        **WARNINGS,
        "target": ("string", "target that the network was checked against"),
        "obstacles": ("array", "why it cannot be deployed there as it is; empty if it can"),
        "metrics": ("object or null", "the best epoch's line of metrics.jsonl"),
    },
    "export": {
        "deployment": ("string or null", "deployment folder; null with --dry-run"),
        "source": ("string", "run or file exported"),
        "target": ("string", "as given"),
        "report": ("string or null", "report.html in the deployment"),
        "mapping": ("object", "cores, their contents and what limits them"),
        "notes": ("object", "what was assumed or changed, by place"),
        **WARNINGS,
        "netx": ("object", "the .net for lava-dl, or why there is none"),
    },
    "simulate": {
        "deployment": ("string", "deployment folder"),
        "engine": ("string", "engine used"),
        "origin": ("string", "where the samples come from"),
        "samples": ("integer", "number of samples"),
        "steps": ("integer", "time steps per sample"),
        "seconds": ("number", "time of the simulation"),
        "samples_per_second": ("number", "speed"),
        "accuracy": ("number or null", "0 to 1; null without labels"),
        "smape": ("number, of values", "symmetric mean absolute percentage error"),
        "mse": ("number, of values", "mean squared error"),
        "predictions": ("object", "counts by class, or errors of values"),
        "forecast": ("object or null", "with --forecast"),
        "early_exit": ("object or null", "with --early-exit"),
        "metrics": ("object", "with --metrics, by name"),
        "spikes_per_sample": ("object", "events by population"),
        "values_per_sample": ("object", "sums of what the events carry, by population"),
        "total_spikes_per_sample": ("number", "events of all populations"),
        "firing_rates": ("object", "events per neuron and step, by population"),
        "wraps": ("object", "wraps of u beyond 24 bits, by population"),
        "saturations": ("object", "saturations of v at 24 bits, by population"),
        "clipped_weights": ("object", "weights clipped when quantised, by projection"),
        "estimate": ("object", "energy and time on the chip"),
        "digest": ("string or null", "hash of the deployment simulated"),
        "device": ("string", "device that the engine computed on, as cpu or cuda:0"),
        **WARNINGS,
        "raster": ("string or null", "picture of the first sample"),
        "summary": ("string", "this result as a file"),
        "report": ("string", "report.html of the deployment"),
    },
    "validate": {
        "deployment": ("string", "deployment folder"),
        "engines": ("array", "the two engines compared"),
        "exact": ("boolean", "whether both compute with integers"),
        "samples": ("integer", "number of samples"),
        "compared": ("integer", "values compared"),
        "mismatches": ("integer", "values that differ"),
        "silent": ("boolean", "whether a population never spiked"),
        "first_divergence": ("object or null", "where the engines differ first"),
        "agreeing_predictions": ("integer", "samples with the same class on both engines"),
        "first_disagreement": ("integer or null", "first sample with another class"),
        "accuracies": ("object", "accuracy by engine"),
        "predictions": ("object", "counts by class, by engine"),
        "populations": ("array", "what was compared of each population, and how much agrees"),
        "digest": ("string or null", "hash of the deployment"),
        "device": ("string", "device that engine reference computed on, as cpu or cuda:0"),
        **WARNINGS,
        **PICTURE,
        "summary": ("string", "this result as a file"),
        "report": ("string", "report.html of the deployment"),
    },
    "learn": {
        "deployment": ("string or null", "the new deployment; null if engines disagreed"),
        "source": ("string", "the deployment, or the recipe, that learning started from"),
        "task": ("string", "as given"),
        "description": ("string", "the samples learnt from"),
        "engine": ("string", "engine used"),
        "rule": ("string", "as given"),
        "rate": ("number", "learning rate, a power of two"),
        "update": ("string", "as given"),
        "feedback": ("string", "as given"),
        "seed": ("integer", "as given"),
        "halvings": ("array", "updates from which on the rate is half of before"),
        "samples": ("integer", "samples learnt from"),
        "kept_after": ("integer", "samples after which the weights kept were reached"),
        "judge": ("string", "held-out set by which weights are kept"),
        "judge_before": ("number", "accuracy on it before learning"),
        "judge_learnt": ("number", "best accuracy on it while learning"),
        "measure": ("string", "held-out set that measures success"),
        "accuracy_before": ("number", "accuracy on it before learning"),
        "accuracy_after": ("number", "accuracy on it with the weights kept"),
        "accuracies_before": ("object", "accuracy on every held-out set"),
        "accuracies_after": ("object", "likewise"),
        "accuracy_float": ("number or null", "of the network in floats, before quantisation"),
        "accuracy_ceiling": ("number or null", "of PyTorch after the same samples"),
        "recovered": ("number or null", "share of the lost accuracy that came back"),
        "updates": ("integer", "updates done"),
        "mismatches": ("integer or null", "weights that differ from the reference; null on it"),
        "layers": ("object", "counts by layer"),
        "overflow": ("object", "saturations by place"),
        "cost": ("object", "what learning takes on the chip"),
        "seconds": ("number", "time of learning alone"),
        "samples_per_second": ("number", "speed"),
        **WARNINGS,
    },
    "sweep": {
        "folder": ("string", "folder of the runs"),
        "rows": ("array", "one object for each run"),
        "summary": ("array", "one object for each combination, over its seeds"),
        "picture": ("string or null", "the picture written"),
    },
    "convert": {
        "file": ("string, of spikes", "the .nir file written"),
        "steps": ("integer, of spikes", "time steps per sample"),
        "method": ("string, of spikes", "as given"),
        "half": ("boolean, of spikes", "as given"),
        "thresholds": ("object, of spikes", "threshold by layer"),
        "deployment": ("string, of sigma-delta neurons", "deployment folder"),
        "target": ("string, of sigma-delta neurons", "as given"),
        "factor": ("number, of sigma-delta neurons", "factor on all thresholds"),
        "trades": ("array, of sigma-delta neurons", "deviation and messages by factor"),
        "ann_accuracy": ("number", "of the ReLU network"),
        "accuracy": ("number", "of the converted network"),
        "samples": ("integer", "test samples used"),
    },
    "inspect": {
        "file": ("string", "as given"),
        "text": ("string", "the description"),
    },
    "compare": COMPARED,
    "new": {"file": ("string", "the recipe written")},
    "targets": {"NAME": ("object", "the limits of each target, by its name")},
    "models": {"NAME": ("object", "all keys of each recipe, by its name")},
    "doctor": {
        "findings": (
            "array",
            "objects with `name`, `kind`, `works`, `detail`, `needed` and `advice`",
        ),
    },
    "runs list": {"runs": ("array", "one object for each run")},
    "runs compare": COMPARED,
    "runs remove": {"removed": ("array", "folders removed")},
    "deployments list": {"deployments": ("array", "one object for each deployment")},
    "deployments compare": COMPARED,
    "deployments remove": {"removed": ("array", "folders removed")},
    "bench busy": ROWS,
    "bench conversion": {**ROWS, **PICTURE},
    "bench gradients": {**ROWS, **PICTURE},
    "bench learn": ROWS,
    "bench mapping": {
        **ROWS,
        "growth": ("object", "with `--neurons`, exponents of time, memory and n log n, or null"),
    },
    "bench pareto": {**ROWS, **PICTURE},
    "bench quantization": {**ROWS, **PICTURE},
    "bench simulate": ROWS,
    "bench train": ROWS,
}
"""By command: each key with its JSON type and meaning."""


def json_page() -> str:
    """The page as Markdown."""
    parts = [
        "# JSON output\n\nWritten by `make docs`.\n\n"
        "With `--json` a command prints one JSON object on stdout; everything else it says is on "
        "stderr. Keys are added in later versions, and never removed or renamed. A key that holds "
        "a path has the same name in all commands.\n",
        _section("All commands", ENVELOPE | ERROR),
    ]
    parts += [_section(f"neurodeploy {name}", keys) for name, keys in sorted(COMMANDS.items())]
    return "\n".join(parts)


def _section(title: str, keys: dict[str, tuple[str, str]]) -> str:
    rows = [f"| `{key}` | {kind} | {meaning} |" for key, (kind, meaning) in keys.items()]
    return "\n".join([f"## {title}\n", "| key | type | meaning |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    Path(__file__).with_name("json.md").write_text(json_page(), encoding="utf-8")
