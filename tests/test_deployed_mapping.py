"""The mapping as a user meets it: what the written files say, recounted without the mapper."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from support.command import run_cli, run_json


def convolution(weights: np.ndarray, table: dict) -> np.ndarray:
    """A convolution as a matrix (outputs, inputs), one product at a time."""
    (_, height, width), (outputs, rows, columns) = table["input_shape"], table["output_shape"]
    (sy, sx), (dy, dx) = table["stride"], table["dilation"]
    (top, _), (left, _) = table["padding"]
    channels, group = weights.shape[1], outputs // table["groups"]
    matrix = np.zeros((outputs, rows, columns, *table["input_shape"]))
    for (o, i, k, m), value in np.ndenumerate(weights):
        for y in range(rows):
            for x in range(columns):
                at = y * sy + k * dy - top, x * sx + m * dx - left
                if 0 <= at[0] < height and 0 <= at[1] < width:
                    matrix[o, y, x, o // group * channels + i, at[0], at[1]] = value
    return matrix.reshape(outputs * rows * columns, -1)


def recount(folder: Path) -> list[dict[str, int]]:
    """Resources of every core from the JSON and the integers of a deployment alone."""
    manifest = json.loads((folder / "manifest.json").read_text())
    mapping = json.loads((folder / "mapping.json").read_text())
    integers = load_file(folder / "integers.safetensors")
    memory = manifest["target"]["synapse"]["memory"]
    shapes = {p["name"]: p["shape"] for p in manifest["network"]["populations"]}
    figure = {k: v["value"] for k, v in memory.items() if v is not None and "value" in v}

    def words(entries: int, bits: int) -> int:
        block = figure.get("row_entries", entries)
        full, rest = divmod(entries, block)
        parts = [block] * full + ([rest] if rest else [])
        return sum(math.ceil((figure["row_header_bits"] + n * bits) / 64) for n in parts)

    members = []
    for placement in mapping["placements"]:
        grid = np.arange(math.prod(shapes[placement["population"]]))
        grid = grid.reshape(shapes[placement["population"]])
        members.append(grid[tuple(slice(*r) for r in placement["ranges"])].ravel())
    found = [{"neurons": len(m), "input_axons": 0, "synapse_words": 0} for m in members]
    reached: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for p in manifest["network"]["projections"]:
        weights, table = integers[p["name"] + "/weights"], p["operator"]
        assert p["delay"] == 0 and table["kind"] in ("conv", "dense")
        conv = table["kind"] == "conv"
        matrix = convolution(weights, table) if conv else weights
        # A weight format of b bits with mixed sign has the step 2^(9 - b).
        step = 2 ** (9 - p["weight_format"]["bits"]) if p["weight_format"]["sign"] == "mixed" else 1
        assert p["weight_format"]["sign"] == "mixed" and not (weights % step).any()
        units = weights // step
        needed = next(
            b for b in range(1, 9) if -(2 ** (b - 1)) <= units.min() and units.max() < 2 ** (b - 1)
        )
        bits = min(b for b in memory["weight_widths"]["values"] if b >= needed)
        for core, placement in enumerate(mapping["placements"]):
            if placement["population"] != p["target"]:
                continue
            rows = matrix[members[core]] != 0
            sources = np.flatnonzero(rows.any(axis=0))
            reached[p["source"]] |= {(int(s), core) for s in sources}
            use = found[core]
            if conv and figure["shared_convolution"]:
                start, stop = placement["ranges"][0]
                kernel = weights[start:stop]
                used = int((kernel != 0).any(axis=0).sum())
                assert table["groups"] == 1
                use["input_axons"] += int(used > 0)
                use["synapse_words"] += used * words(stop - start, bits)
            elif conv:
                use["input_axons"] += len(sources)
                extra = figure["sparse_entry_bits"]
                counts = rows.sum(axis=0)[sources]
                use["synapse_words"] += sum(words(int(n), bits + extra) for n in counts)
            else:
                use["input_axons"] += len(sources)
                row = words(len(members[core]), bits + figure["dense_entry_bits"])
                use["synapse_words"] += len(sources) * row
    for core, placement in enumerate(mapping["placements"]):
        inside = set(members[core].tolist())
        found[core]["output_axons"] = sum(s in inside for s, _ in reached[placement["population"]])
    return found


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_the_files_of_a_deployment_add_up(tmp_path: Path, target: str) -> None:
    options = [
        "--set", "training.epochs=1",
        "--set", "neuron.reset=zero",
        "--set", 'neuron.comparison=">"',
        "--set", "encoder.name=rate",
    ]  # fmt: skip
    run_json("train", "digits_conv", *options, folder=tmp_path)
    exported = run_json("export", "--target", target, folder=tmp_path)
    folder = tmp_path / exported["deployment"]
    mapping = json.loads((folder / "mapping.json").read_text())
    expected = recount(folder)
    assert len(expected) > (2 if target == "loihi2" else 6)
    resources = ("neurons", "input_axons", "output_axons", "synapse_words")
    for use, again in zip(mapping["uses"], expected, strict=True):
        assert {name: use[name] for name in resources} == {name: again[name] for name in resources}


def test_simulate_estimates_what_a_sample_costs(workspace: Path) -> None:
    choice = ("--engine", "reference", "--samples", "20")
    found = run_json("simulate", *choice, folder=workspace)["estimate"]
    assert found["synaptic_ops"] > found["spikes"] > 0
    assert found["traffic"]["measured"] and found["traffic"]["between_cores"] > 0
    assert 0 < found["energy_nj"]["low"] < found["energy_nj"]["high"]
    text = run_cli("simulate", *choice, folder=workspace).stdout
    assert f"{found['synaptic_ops']:,.0f} synaptic operations" in text
    assert "energy: Loihi 1: Davies et al. 2018" in text and "at least" in text
    assert found["ann_8bit_nj"] == pytest.approx(found["ann_nj"] * 0.23 / 4.6)
    assert f"32-bit arithmetic {found['ann_nj']:,.1f} nJ" in text
    assert f"8-bit arithmetic {found['ann_8bit_nj']:,.1f} nJ" in text
    assert text.count("against the chip: within") == 2
    limit = found["limit"]
    assert limit["what"] in ("synapses", "neurons", "messages", "barrier")
    assert f"a step waits for {limit['what']} on core {limit['core']}" in text


def test_spikes_of_a_simulation_place_the_next_export(workspace: Path, tmp_path: Path) -> None:
    measured = run_json("simulate", "--engine", "reference", "--samples", "9", folder=workspace)
    deployment = measured["deployment"]
    options = ("--target", "loihi2", "--out", str(tmp_path / "placed"), "--activity", deployment)
    exported = run_json("export", *options, folder=workspace)
    found = exported["mapping"]["traffic"]
    assert found["measured"] and found == measured["estimate"]["traffic"]


def test_spikes_of_a_simulation_balance_the_next_export(workspace: Path, tmp_path: Path) -> None:
    simulate = ("simulate", "--engine", "reference", "--samples", "9")
    measured = run_json(*simulate, folder=workspace)
    options = ("--target", "loihi2", "--out", str(tmp_path / "spread"), "--balance")
    refused = run_cli("export", *options, folder=workspace)
    assert refused.exit_code == 2 and not (tmp_path / "spread").exists()
    assert "Error: --balance needs the spikes of a simulation; " in refused.stderr
    activity = ("--activity", measured["deployment"])
    exported = run_json("export", *options, *activity, folder=workspace)
    again = run_json(*simulate, str(tmp_path / "spread"), folder=workspace)
    one, many = measured["estimate"], again["estimate"]
    assert again["predictions"] == measured["predictions"]
    assert many["step_ns"]["high"] < one["step_ns"]["high"]
    assert len(exported["mapping"]["uses"]) <= 128


def test_activity_needs_a_simulated_deployment_of_the_same_network(
    workspace: Path, tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "fresh"))
    fresh = run_json("export", "--target", "loihi2", *out, folder=workspace)["deployment"]
    again = ("--target", "loihi2", "--out", str(tmp_path / "other"), "--activity", fresh)
    refused = run_cli("export", *again, folder=workspace)
    assert refused.exit_code == 2
    assert "no simulation has counted spikes here; run neurodeploy simulate" in refused.stderr
    run_json("simulate", fresh, "--engine", "reference", "--samples", "2", folder=workspace)
    small = ("--set", "training.epochs=1", "--set", "network.channels=[8, 8]")
    run = run_json("train", "digits_conv", *small, "--out", str(tmp_path / "run"), folder=workspace)
    refused = run_cli("export", run["run"], *again, folder=workspace)
    assert refused.exit_code == 2
    assert "--activity needs a deployment of the same network" in refused.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_resnet18_fits_kapoho_point(tmp_path: Path) -> None:
    rows = run_json("bench", "mapping", folder=tmp_path)["rows"]
    by_strategy = {row["strategy"]: row for row in rows}
    ours = by_strategy["traffic"]
    assert all(row["violations"] == 0 and row["cores"] == ours["cores"] for row in rows)
    for other in ("first-fit", "round-robin"):
        assert ours["between_chips"] < 0.5 * by_strategy[other]["between_chips"]
    assert ours["peak_mb"] < 4096
