"""Names of the folders and files that commands leave behind for the next one.

They are part of the file formats: old folders are read by these names.
"""

from __future__ import annotations

from pathlib import Path

# Where runs and deployments go when nobody says.

RUNS = Path("runs")
DEPLOYMENTS = Path("deployments")
SWEEPS = Path("sweeps")

# In a run folder and in a deployment.

NIR_FILE = "network.nir"
"""The network in floats."""

LEARNING_CURVE = "learning_curve.png"

# In a run folder.

RUN_FORMAT = 2
"""Version of the layout of ``run.json``; 1 had no seal."""

RECIPE = "recipe.json"
START = "start.nir"
"""The file that the network came from, of a run that trains one from elsewhere."""
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
TRACKERS = "trackers.json"
"""What services that are told of the epochs know the run by."""

LOG_FILE = "train.log"
"""What a training said, with times; nothing reads it."""
BEST = "best.safetensors"
LAST = "last.safetensors"

COMPLETE = "run.json"
"""Written last: a run folder that holds it is whole."""

# In a deployment.

DEPLOYMENT_FORMAT = 2
"""Version of the layout of ``manifest.json`` and what it names; 1 had no digest."""

MANIFEST = "manifest.json"
"""Written last: a deployment that holds it is whole."""

INTEGERS = "integers.safetensors"
MAPPING = "mapping.json"
QUANTIZED_NIR = "quantized.nir"
NET_FILE = "network.net"
NETX_SCRIPT = "run_netx.py"
ONNX_FILE = "network.onnx"
"""The integers as plain ONNX, where it was asked for."""

LEARNING = "learning.json"
TAGS = "tags.safetensors"
REPORT = "report.html"
RESULTS = "results"

# In a folder of a deployment's results.

SUMMARY = "summary.json"
ACTIVITY = "activity.safetensors"
SHOWN = "samples.safetensors"
"""Spikes and states of some samples, for the report."""
PARITY = "parity.json"
PREDICTIONS = "predictions.csv"
"""The class of every sample, also of the test samples in a run folder."""

VALIDATION_PREDICTIONS = "validation_predictions.csv"
"""In a run folder, the class of every validation sample."""

UNFINISHED = "unfinished"
"""A folder with what was counted before a simulation was cut short."""

RASTER = "raster.png"
PARITY_MAP = "parity.png"
"""Pictures, each with the same as ``.svg`` beside it."""

# In the folder of a sweep.

SWEEP_PICTURE = "sweep.png"
