"""Checkpoints, recipes and results of runs are used as they were written, or refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import safetensors
import safetensors.torch
import torch

from neurodeploy.artifacts.folders import open_run, read_recipe, read_run, read_training
from neurodeploy.errors import InputError
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.training.checkpoint import (
    TrainingState,
    load_start,
    load_state,
    save_best,
    save_state,
)
from neurodeploy.training.metrics import EpochMetrics
from neurodeploy.training.run import resume_run, train
from neurodeploy.workflow.inspection import describe
from support.manifests import edited
from support.small_runs import make_recipe

HISTORY = tuple(EpochMetrics(e, 0.5, 0.9, 0.6, 0.8, 1e-3, 1 / 3) for e in (1, 2))
MODEL = {"bias": torch.tensor([0.25, -1.0]), "weight": torch.arange(6.0).reshape(2, 3)}
STATE = TrainingState(MODEL, {"0.step": torch.tensor(5)}, MODEL, HISTORY, 2)


def same(left: TrainingState, right: TrainingState) -> bool:
    return (
        (left.history, left.best_epoch, left.partial, left.initial_loss)
        == (right.history, right.best_epoch, right.partial, right.initial_loss)
    ) and all(
        ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
        for ours, theirs in (
            (left.model, right.model),
            (left.optimizer, right.optimizer),
            (left.best, right.best),
        )
    )


def flipped(content: bytes, index: int) -> bytes:
    """One bit of a byte turned round, another one from byte to byte."""
    changed = bytearray(content)
    changed[index] ^= 1 << index % 8
    return bytes(changed)


def test_no_flipped_bit_leads_to_another_state(tmp_path: Path) -> None:
    save_state(tmp_path, STATE)
    file = tmp_path / "last.safetensors"
    content, refused = file.read_bytes(), 0
    for index in range(len(content)):
        file.write_bytes(flipped(content, index))
        try:
            found = load_state(tmp_path)
        except InputError as error:
            assert str(error).startswith(f"{file}: not a readable checkpoint: ")
            refused += 1
        else:
            assert found is not None and same(found, STATE), index
    assert refused > 0.9 * len(content)


def test_no_flipped_bit_leads_to_other_weights(tmp_path: Path) -> None:
    save_best(tmp_path, STATE)
    file = tmp_path / "best.safetensors"
    content = file.read_bytes()
    for index in range(len(content)):
        model = torch.nn.Linear(3, 2)
        file.write_bytes(flipped(content, index))
        try:
            load_start(cast(SpikingNetwork, model), tmp_path)
        except InputError as error:
            assert str(error).startswith(f"{file}: ")
        else:
            assert all(torch.equal(value, MODEL[name]) for name, value in model.named_parameters())


def test_no_edited_header_or_tensor_is_accepted(tmp_path: Path) -> None:
    """Every entry once: changed, left out, one added; and one number of every tensor."""
    save_state(tmp_path, replace(STATE, best={"weight": MODEL["weight"] + 1}, best_epoch=1))
    file = tmp_path / "last.safetensors"
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    tensors = safetensors.torch.load_file(file)
    headers = [{**metadata, "state": json.dumps(e)} for e in edited(json.loads(metadata["state"]))]
    headers += list(edited(metadata))
    variants = [(tensors, {k: str(v) for k, v in header.items()}) for header in headers]
    for name, value in tensors.items():
        bits = value.contiguous().reshape(-1).view(torch.uint8).clone()
        bits[0] ^= 1
        variants.append(({**tensors, name: bits.view(value.dtype).view(value.shape)}, metadata))
        rest = {other: tensor for other, tensor in tensors.items() if other != name}
        variants += [(rest, metadata), ({**rest, f"{name}a": value}, metadata)]
    assert len(variants) > 60
    for changed, header in variants:
        file.write_bytes(safetensors.torch.save(changed, header))
        with pytest.raises(InputError, match="not a readable checkpoint"):
            load_state(tmp_path)


def test_files_without_a_hash_load(tmp_path: Path) -> None:
    """As older versions wrote them, of format 2; no file of format 3 does without."""
    save_state(tmp_path, STATE)
    file = tmp_path / "last.safetensors"
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata.keys() == {"format", "state", "sha256"}
    del metadata["sha256"]
    tensors = safetensors.torch.load_file(file)
    file.write_bytes(safetensors.torch.save(tensors, {**metadata, "format": "2"}))
    found = load_state(tmp_path)
    assert found is not None and same(found, STATE)
    file.write_bytes(safetensors.torch.save(tensors, metadata))
    with pytest.raises(InputError, match=r"changed since it was written \(its hash differs\)"):
        load_state(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    train(make_recipe(training={"epochs": 1, "warmup_epochs": 0}), run, progress=False)
    return run


@pytest.fixture
def unfinished(whole: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(whole, tmp_path / "run"))
    (copy / "run.json").unlink()
    return copy


def test_no_edited_recipe_is_resumed(unfinished: Path) -> None:
    file = unfinished / "recipe.json"
    table = json.loads(file.read_text())
    for changed in edited({key: value for key, value in table.items() if key != "seal"}):
        file.write_text(json.dumps({**changed, "seal": table["seal"]}))
        with pytest.raises(InputError, match="changed since the run began"):
            read_recipe(unfinished)
        # The checkpoint knows it too, should somebody take the seal away.
        file.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"not the recipe that last\.safetensors was trained"):
            load_state(unfinished)
    with pytest.raises(InputError):
        resume_run(unfinished, progress=False)
    del table["seal"]
    file.write_text(json.dumps(table))
    assert read_recipe(unfinished).name == "small", "older recipes have none"
    assert load_state(unfinished) is not None


def test_data_may_have_moved_where_their_hash_is_known(tmp_path: Path) -> None:
    recipe = make_recipe()
    for name, digest in (("folder", ""), ("file", "ab" * 32)):
        data = replace(recipe.data, path="/once/here", sha256=digest)
        with open_run(replace(recipe, data=data), tmp_path / name) as run:
            pass
        text = (run / "recipe.json").read_text()
        (run / "recipe.json").write_text(text.replace("/once/here", "/now/there"))
        if digest:
            assert read_recipe(run).data.path == "/now/there"
        else:
            with pytest.raises(InputError, match="changed since the run began"):
                read_recipe(run)


def test_no_edited_result_of_a_run_is_read(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "run"))
    file = copy / "run.json"
    table = json.loads(file.read_text())
    for changed in edited(table):
        file.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"run\.json: changed since the training"):
            read_run(copy)
    file.write_text(json.dumps(table))
    assert "Warning" not in describe(copy)
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    for changed in edited(lines):
        (copy / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in changed))
        with pytest.raises(InputError, match=r"metrics\.jsonl: missing or changed"):
            read_training(copy)
    old = {key: value for key, value in table.items() if key != "seal"}
    del old["sha256"]["metrics.jsonl"]
    file.write_text(json.dumps({**old, "format": 1}))
    assert "Warning: run.json has no seal, as in older versions" in describe(copy)
