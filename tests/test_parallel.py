"""Several processes, or several pieces of a batch, train what one process trains on all of it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
import torch
from click.testing import CliRunner

from neurodeploy import cli
from neurodeploy.data import load_dataset
from neurodeploy.errors import InputError, SimulationError, UnsupportedError
from neurodeploy.support import processes as launching
from neurodeploy.support.processes import Processes, connect
from neurodeploy.training import train
from neurodeploy.training.assembly import split_of
from neurodeploy.training.batches import own_pieces
from neurodeploy.training.loop import Recorder
from neurodeploy.training.optimization import average_statistics
from support.command import run_cli
from support.launched import launch
from support.parallel_runs import BATCH, CASES, COMMAND, RESUMED, make_recipe
from support.wording import refused


def batches() -> int:
    """Of one epoch."""
    samples = len(split_of(make_recipe(), load_dataset("digits")).y_train)
    return math.ceil(samples / BATCH)


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_training(run: Path, other: Path) -> None:
    """Equal but for the order in which numbers were added up."""
    for name in ("best.safetensors", "last.safetensors"):
        weights = safetensors.numpy.load_file(run / name)
        others = safetensors.numpy.load_file(other / name)
        assert weights.keys() == others.keys()
        for key, value in weights.items():
            assert value.dtype == np.float64
            np.testing.assert_allclose(value, others[key], rtol=0, atol=1e-12, err_msg=key)
    for row, expected in zip(rows_of(run), rows_of(other), strict=True):
        for key in ("train_accuracy", "validation_accuracy", "learning_rate"):
            assert row[key] == expected[key]
        for key in ("train_loss", "validation_loss"):
            assert row[key] == pytest.approx(expected[key], abs=1e-12)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small train faster on one thread, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each case as one process trains it, whole batches at a time."""
    folder = tmp_path_factory.mktemp("alone")
    for name, changes in CASES.items():
        recipe = make_recipe(**{k: v for k, v in changes.items() if k != "training"})
        train(recipe, folder / name, progress=False)
    return folder


class Together(NamedTuple):
    """What two processes did.

    Attributes:
        folder: where they ran.
        said: by each process, of each case.
        printed: by each process, in the end, by the command.
    """

    folder: Path
    said: list[dict[str, Any]]
    printed: list[list[str]]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    """The same cases by two processes, then the command."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 1)
        with refused(SimulationError, "--resume", by="train"):
            train(make_recipe(), folder / RESUMED, progress=False)
    ended = launch("-m", "support.launched_cases", folder=folder)
    assert [process.code for process in ended] == [0, 0], [process.err for process in ended]
    cases = len(CASES) + 4
    lines = [process.out.splitlines() for process in ended]
    said = [{line["case"]: line for line in map(json.loads, part[:cases])} for part in lines]
    return Together(folder, said, [part[cases:] for part in lines])


def interrupt_after(patch: pytest.MonkeyPatch, epochs: int) -> None:
    """As Ctrl-C after so many epochs."""
    end_epoch = Recorder.end_epoch

    def interrupt(recorder: Recorder, state: Any) -> None:
        end_epoch(recorder, state)
        if len(state.history) == epochs:
            raise KeyboardInterrupt

    patch.setattr(Recorder, "end_epoch", interrupt)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_does(name: str, alone: Path, together: Together) -> None:
    folder, said, _ = together
    assert [process[name]["error"] for process in said] == ["", ""]
    assert_same_training(folder / name, alone / name)
    assert json.loads((folder / name / "run.json").read_text())["processes"] == 2


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_exchanged_once_per_update(name: str, together: Together) -> None:
    parameters = 64 * 24 + 24 + 24 * 10 + 10
    updates = 2 * batches() * (3 if name == "online" else 1)
    for process in together.said:
        assert process[name]["exchanged"].count(parameters) == updates
        assert max(process[name]["exchanged"]) == parameters


def test_processes_resume_what_one_began(alone: Path, together: Together) -> None:
    folder, said, _ = together
    assert [process[RESUMED]["error"] for process in said] == ["", ""]
    assert_same_training(folder / RESUMED, alone / "sltt")


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("diverges", ["DivergedError: recipe small: the loss became"] * 2),
        ("too many pieces", ["InputError: recipe small: [training] batch_size = 3"] * 2),
        ("one cannot read", ["InputError: process 1: sample 17 cannot be read"] * 2),
    ],
)
def test_an_error_ends_all_processes(name: str, messages: list[str], together: Together) -> None:
    folder, said, _ = together
    for process, message in zip(said, messages, strict=True):
        assert process[name]["error"].startswith(message)
    assert not (folder / name / "run.json").exists()


def test_the_command_writes_one_run_and_prints_once(together: Together) -> None:
    (printed,), nothing = together.printed
    assert nothing == []
    result = json.loads(printed)
    runs = together.folder / "runs"
    assert [path.name for path in runs.iterdir()] == ["digits_mlp-001"]
    run = together.folder / result["run"]
    assert not list(run.glob(".*"))
    summary = json.loads((run / "run.json").read_text())
    assert (summary["processes"], summary["device"], summary["epochs"]) == (2, "cpu", 2)
    assert summary["test_accuracy"] == result["test_accuracy"] > 0.85
    assert [row["epoch"] for row in rows_of(run)] == [1, 2]


def test_what_several_processes_trained_is_deployed_like_any_other(together: Together) -> None:
    assert run_cli("export", "--target", "loihi1", folder=together.folder).exit_code == 0


@pytest.mark.slow
def test_accelerate_launch_starts_the_command(tmp_path: Path) -> None:
    options = ["--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no"]
    arguments = [*options, "--dynamo_backend=no", "-m", "neurodeploy", *COMMAND[:-1]]
    ended = launch("-m", "accelerate.commands.launch", *arguments, folder=tmp_path, count=1)
    assert ended[0].code == 0, ended[0].err
    assert ended[0].out.count("Test accuracy") == 1
    summary = json.loads((tmp_path / "runs" / "digits_mlp-001" / "run.json").read_text())
    assert summary["processes"] == 2


def test_pieces_cover_a_batch_once_and_lie_side_by_side() -> None:
    found = [piece for i in range(3) for piece in own_pieces(20, 2, Processes(i, 3))]
    assert [piece.number for piece in found] == list(range(6))
    assert [piece.size for piece in found] == [4, 4, 3, 3, 3, 3]
    assert [piece.first for piece in found] == [0, 4, 8, 11, 14, 17]
    assert [piece.share for piece in found] == [piece.size / 20 for piece in found]


def test_a_batch_in_pieces_gives_the_update_of_the_whole(alone: Path, tmp_path: Path) -> None:
    train(make_recipe(**CASES["in pieces"]), tmp_path / "run", progress=False)
    assert_same_training(tmp_path / "run", alone / "in pieces")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"batch_size": 2, "accumulate": 3}}, "a piece needs at least 1"),
        (
            {
                "training": {"batch_size": 3, "accumulate": 2},
                "network": {"family": "mlp", "hidden": [8], "batch_norm": True},
            },
            "batch_norm needs at least 2; raise batch_size or turn batch_norm off",
        ),
        (
            {"training": {"accumulate": 2}, "rule": {"name": "sltt", "update": "step"}},
            "training.accumulate = 2 would cut into pieces",
        ),
        (
            {"training": {"precision": "fp16"}, "rule": {"name": "ottt", "update": "step"}},
            "training.precision=bf16",
        ),
    ],
)
def test_batches_that_cannot_be_cut_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        train(make_recipe(**changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_running_statistics_become_the_mean_of_all_processes() -> None:
    norm = torch.nn.BatchNorm1d(2)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean += torch.tensor([1.0, 2.0])
    theirs = [torch.tensor([3.0, 6.0]), torch.tensor([5.0, 9.0])]

    def add(tensors: list[torch.Tensor]) -> None:
        assert len(tensors) == 2, "the mean and the variance, not the number of batches"
        for mine, their in zip(tensors, theirs, strict=True):
            mine += 0.75 * their

    average_statistics(norm, 0.25, SimpleNamespace(count=2, add=add))  # pyright: ignore[reportArgumentType]
    assert norm.running_mean.tolist() == [2.5, 5.0]
    assert norm.running_var.tolist() == [4.0, 7.0]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment to set a launcher's variables in."""
    for name in (*launching.RANKS, *launching.SIZES, "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    connect.cache_clear()
    yield monkeypatch
    connect.cache_clear()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "asks for FSDP"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "asks for DeepSpeed"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "dynamo"),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}, "torchrun --nproc_per_node"),
    ],
)
def test_settings_of_the_launcher_that_would_go_unheard_are_refused(
    variables: dict[str, str], message: str, launched: pytest.MonkeyPatch
) -> None:
    for name, value in {"ACCELERATE_MIXED_PRECISION": "no", **variables}.items():
        launched.setenv(name, value)
    with pytest.raises(UnsupportedError, match=message):
        connect()


def test_the_recipe_and_not_the_launcher_decides_on_the_precision(
    launched: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched.setattr("neurodeploy.training.run.connect", Processes)
    launched.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with refused(InputError, "--precision bf16", by="train"):
        train(make_recipe(), tmp_path / "run", progress=False)


def test_a_device_beside_the_launchers_is_refused(
    launched: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched.setattr("neurodeploy.training.run.connect", lambda: Processes(device="cpu"))
    with refused(InputError, "leave --device out", by="train"):
        train(make_recipe(), tmp_path / "run", device="cpu", progress=False)


@pytest.mark.parametrize("arguments", [["train", "--bogus"], ["train", "nosuch"]])
@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_main_process_says_what_is_wrong(
    arguments: list[str], rank: int, launched: pytest.MonkeyPatch
) -> None:
    launched.setattr(launching, "GRACE", 0)
    # By its name, neurodeploy.cli.train is the command and not the module.
    launched.setattr(sys.modules["neurodeploy.cli.train"], "connect", Processes)
    launched.setenv("RANK", str(rank))
    launched.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert bool(result.output) == (rank == 0)
