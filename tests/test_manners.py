"""The command line beside other programs: help, completion, defaults, JSON, and what it logs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from neurodeploy import __version__
from neurodeploy.cli import main, values
from neurodeploy.cli.commands import Commands, summary
from neurodeploy.data import DATASETS
from neurodeploy.interchange.frameworks import FRAMEWORKS
from neurodeploy.rules import RULES
from neurodeploy.workflow.engines import ENGINES
from neurodeploy.workflow.learning.origin import learned_stem
from support.command import run_cli, run_json

DOCS = Path(__file__).resolve().parents[1] / "docs"


def commands(group: click.Group = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its path."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option)]


# --- help


def test_the_version_has_a_short_option(tmp_path: Path) -> None:
    assert __version__ in run_cli("-V", folder=tmp_path).output


@pytest.mark.parametrize("group", [(), ("bench",), ("runs",), ("deployments",)])
def test_lists_of_commands_are_not_cut_off(group: tuple[str, ...], tmp_path: Path) -> None:
    text = " ".join(run_cli(*group, "--help", folder=tmp_path).output.split())
    assert "..." not in text.partition("Commands:")[2]
    here: Any = main
    for name in group:
        here = here.commands[name]
    assert isinstance(here, Commands)
    for command in here.commands.values():
        assert summary(command) in text and len(summary(command)) < 90


def test_the_same_thing_is_called_the_same_in_help() -> None:
    """Choices are spelt out; what is another thing under the same name has its reason here."""
    several = {
        "--out": {"PATH", "FILE", "FOLDER"},
        "--engines": {"A,B,...", "A,B"},
        "--data": {"PATH", "DATA", "[RECIPE=]PATH"},
        "--T": {"N", "A,B,..."},
        "--rate": {"X", "2^-K"},
        "--set": {"KEY=VALUE", "KEY=A,B,..."},
        "--precision": {"PRECISION", "A,B,..."},
    }
    found: dict[str, set[str]] = {}
    for _, command in commands():
        for option in options(command):
            if option.is_flag or isinstance(option.type, click.Choice):
                continue
            metavar = option.make_metavar(click.Context(command))
            found.setdefault(option.opts[0], set()).add(metavar)
    assert {name: kinds for name, kinds in found.items() if len(kinds) > 1} == several
    assert not {"TEXT", "INTEGER", "FLOAT"} & set().union(*found.values())


def test_every_option_says_what_it_does() -> None:
    silent = [(path, o.opts[0]) for path, command in commands() for o in options(command)]
    assert [pair for pair in silent if not pair[1]] == []
    assert [
        (path, option.opts[0])
        for path, command in commands()
        for option in options(command)
        if not option.help
    ] == []


# --- completion


def completed(*words: str, incomplete: str) -> set[str]:
    complete = ShellComplete(main, {}, "neurodeploy", "_NEURODEPLOY_COMPLETE")
    return {item.value for item in complete.get_completions(list(words), incomplete)}


def test_a_shell_completes_values() -> None:
    assert completed("export", "--target", incomplete="loihi") == {"loihi1", "loihi2"}
    assert completed("export", "--from", incomplete="s") >= {"snntorch", "sinabs", "spikingjelly"}
    assert completed("simulate", "--engine", incomplete="lava") == {"lava", "lava-fused"}
    assert completed("validate", "--engines", incomplete="reference,l") == {
        "reference,lava",
        "reference,lava-fused",
    }
    assert "digits_conv" in completed("train", incomplete="digits")
    assert completed("train", "--rule", incomplete="sltt") == {"sltt", "sltt-k"}


def test_names_for_completion_are_those_of_the_registries() -> None:
    assert set(values.ENGINES) == set(ENGINES)
    assert set(values.RULES) == set(RULES)
    assert set(values.FRAMEWORKS) == set(FRAMEWORKS)
    assert set(values.DATA_SETS) == set(DATASETS)


# --- defaults


def targets_seen(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """The ``--target`` that export gets."""
    seen: list[Any] = []
    command = main.commands["export"]
    monkeypatch.setattr(command, "callback", lambda **given: seen.append(given["target"]))
    done = run_cli("export", *arguments, folder=folder)
    return seen[0] if seen else done.output


def test_defaults_come_from_the_project_the_environment_and_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Missing option '--target'" in targets_seen(tmp_path, monkeypatch)
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.neurodeploy]\ntarget = 'a'\n")
    assert targets_seen(tmp_path, monkeypatch) == "a"
    project.write_text("[tool.neurodeploy]\ntarget = 'a'\nexport.target = 'b'\n")
    assert targets_seen(tmp_path, monkeypatch) == "b"
    monkeypatch.setenv("NEURODEPLOY_TARGET", "c")
    assert targets_seen(tmp_path, monkeypatch) == "c"
    monkeypatch.setenv("NEURODEPLOY_EXPORT_TARGET", "d")
    assert targets_seen(tmp_path, monkeypatch) == "d"
    assert targets_seen(tmp_path, monkeypatch, "--target", "e") == "e"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tarqet = 'loihi2'", "[tool.neurodeploy] tarqet: no option has this name; did you mean"),
        ("exprt.target = 'loihi2'", "[tool.neurodeploy.exprt]: no such command; did you mean"),
        ("export.rule = 'x'", "[tool.neurodeploy.export] rule: no option of export"),
        ("export.weight-bits = 9", "[tool.neurodeploy.export] weight-bits: 9 is not in the range"),
        ("[unclosed", "pyproject.toml: not valid TOML"),
    ],
)
def test_a_project_file_is_read_strictly(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.neurodeploy]\n{text}\n")
    done = run_cli("targets", folder=tmp_path)
    assert done.exit_code == 2 and message in done.output, done.output


def test_somebody_elses_project_file_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[unclosed\n")
    assert run_cli("targets", folder=tmp_path).exit_code == 0
    monkeypatch.setenv("NEURODEPLOY_DEVCE", "cuda")
    assert "did you mean NEURODEPLOY_DEVICE?" in run_cli("targets", folder=tmp_path).stderr


# --- JSON


KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def contract() -> Any:
    sys.path.insert(0, str(DOCS))
    try:
        import make_json
    finally:
        sys.path.remove(str(DOCS))
    return make_json


def check_contract(found: dict[str, Any], command: str) -> None:
    """Keys and types are those of the table."""
    table = contract().ENVELOPE | contract().COMMANDS[command]
    assert found["command"] == command and found["version"]
    named = table if "NAME" not in table else {**table, **dict.fromkeys(found, table["NAME"])}
    for key, value in found.items():
        kind = contract().ENVELOPE.get(key, named.get(key))
        assert kind, f"{command}: {key} is not in docs/make_json.py"
        allowed = kind[0].partition(",")[0].split(" or ")
        assert isinstance(value, tuple(KINDS[name] for name in allowed)), (command, key, value)
    needed = {key for key, (kind, _) in table.items() if "," not in kind} - {"NAME"}
    assert needed <= found.keys(), command
    for key, path in found["paths"].items():
        assert found[key] == path


def test_the_page_about_json_is_current() -> None:
    assert (DOCS / "json.md").read_text(encoding="utf-8") == contract().json_page(), "make docs"
    described = set(contract().COMMANDS)
    printing = {path for path, c in commands() if any(o.name == "as_json" for o in options(c))}
    assert described <= printing


def test_what_commands_print_is_what_the_page_says(workspace: Path) -> None:
    deployment = "deployments/digits_conv-loihi2-001"
    for command, arguments in {
        "export": ("--target", "loihi2", "--dry-run"),
        "simulate": (deployment, "--engine", "reference", "--samples", "4"),
        "validate": (deployment, "--engines", "float,reference", "--samples", "4"),
        "inspect": (deployment,),
        "runs list": (),
        "deployments list": (),
        "deployments compare": (deployment, deployment),
        "targets": (),
        "models": (),
        "doctor": ("torch", "reference"),
    }.items():
        found = run_json(*command.split(), *arguments, folder=workspace)
        check_contract(found, command)


def test_errors_are_json_too(tmp_path: Path) -> None:
    done = run_cli("export", "--target", "loihi3", "none.nir", "--json", folder=tmp_path)
    found = json.loads(done.stdout)
    assert (done.exit_code, found["command"], found["paths"]) == (2, "export", {})
    assert found["error"]["kind"] == "InputError" and found["error"]["exit_code"] == 2
    assert done.stderr.strip().endswith(found["error"]["message"])
    for arguments in (("export", "--json"), ("bench", "train", "--json", "--rounds", "0")):
        done = run_cli(*arguments, folder=tmp_path)
        error = json.loads(done.stdout)["error"]
        assert (done.exit_code, error["kind"]) == (2, "UsageError")
        assert error["message"] in done.stderr


# --- what is logged


def test_stages_are_told_where_no_terminal_shows_a_bar(workspace: Path) -> None:
    arguments = ("export", "--target", "loihi2", "--dry-run")
    told = run_cli(*arguments, folder=workspace)
    assert "Quantising runs/digits_conv-001 for loihi2" in told.stderr
    quiet = run_cli(*arguments, "-q", folder=workspace)
    assert quiet.stderr == "" and "fits loihi2" in quiet.stdout
    assert not re.search("^(Note|Next)", quiet.stdout, re.MULTILINE)


def test_a_run_keeps_its_log(workspace: Path) -> None:
    log = (workspace / "runs/digits_conv-001/train.log").read_text(encoding="utf-8")
    assert re.search(r"^\d{4}-\d\d-\d\d [\d:]{8} Epoch 1/1: loss \d\.\d+, valid", log, re.MULTILINE)


# --- doctor, dry runs, devices


def test_a_dry_run_writes_nothing(workspace: Path) -> None:
    before = sorted((workspace / "deployments").iterdir())
    done = run_cli("export", "--target", "loihi2", "--dry-run", folder=workspace)
    assert done.exit_code == 0 and "fits loihi2; nothing was written" in done.output
    assert "3 of 128 cores" in done.output
    assert run_cli("export", "--target", "loihi1", "--dry-run", folder=workspace).exit_code == 1
    assert sorted((workspace / "deployments").iterdir()) == before


def test_doctor_fails_for_what_it_was_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neurodeploy.workflow import installation

    there = installation.version_of
    absent = {"sinabs"}
    monkeypatch.setattr(
        installation, "version_of", lambda name: None if name in absent else there(name)
    )
    whole = run_cli("doctor", folder=tmp_path)
    assert whole.exit_code == 0 and re.search("sinabs +missing +absent", whole.output)
    assert run_cli("doctor", "reference", "torch", folder=tmp_path).exit_code == 0
    asked = run_cli("doctor", "sinabs", folder=tmp_path)
    assert asked.exit_code == 1 and re.search("sinabs +missing +MISSING", asked.output)
    assert "To get sinabs: pip install" in asked.output
    unknown = run_cli("doctor", "sinab", folder=tmp_path)
    assert unknown.exit_code == 2 and "did you mean 'sinabs'?" in unknown.output
    absent.add("torch")
    assert run_cli("doctor", folder=tmp_path).exit_code == 1


def test_auto_is_the_best_device() -> None:
    import torch

    from neurodeploy.nn.device import find_device
    from neurodeploy.support.processes import Processes

    there = "cuda" if torch.cuda.is_available() else "cpu"
    assert find_device("auto", "fp32", Processes()).type == there
    assert find_device("auto", "fp32", Processes(device="cpu")).type == "cpu"


def test_learning_again_does_not_grow_a_name() -> None:
    assert learned_stem("net-loihi2-001") == "net-loihi2-001-learned"
    assert learned_stem("net-loihi2-001-learned-001") == "net-loihi2-001-learned"
