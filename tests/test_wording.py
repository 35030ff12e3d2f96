"""The library speaks of parameters and functions, the command line of options and commands."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from neurodeploy.cli.wording import KEYS
from neurodeploy.errors import InputError, Setting, Step, Text, UnsupportedError, Value, in_lines
from neurodeploy.interchange.nir.importing import import_nir
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.training.checkpoint import find_start
from support.command import run_cli
from support.narrow import there
from support.wording import said_by

WORDS = Text("use ", Setting("steps", "4"), " or ", Setting("dt"))


def test_a_text_reads_in_names_of_python_and_knows_them() -> None:
    assert WORDS == "use steps=4 or dt"
    assert WORDS.named == (Setting("steps", "4"), Setting("dt"))
    whole = in_lines(["first", Text("then ", WORDS), Text("and ", Step("export", "a.nir"))])
    assert whole == "first\nthen use steps=4 or dt\nand export(a.nir)"
    assert whole.named == (*WORDS.named, Step("export", "a.nir"))
    assert whole.worded(lambda named: "X") == "first\nthen use X or X\nand X"
    assert in_lines([]) == ""


def test_an_error_ends_with_its_fix() -> None:
    error = InputError("a.nir: nothing", fix=WORDS)
    assert str(error) == "a.nir: nothing; use steps=4 or dt"
    assert error.fix is not None
    assert error.fix.named == error.text.named == WORDS.named
    assert InputError("plain").fix is None
    assert str(InputError()) == ""


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_an_error_travels_between_processes_with_what_it_names(again) -> None:
    found = again(UnsupportedError("a", fix=WORDS))
    assert type(found) is UnsupportedError
    assert (found.text.parts, there(found.fix).parts) == (("a", "; ", *WORDS.parts), WORDS.parts)


def test_json_takes_the_words() -> None:
    assert json.loads(json.dumps({"note": WORDS})) == {"note": str(WORDS)}


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        ("export", Text(Setting("steps", "4")), "--steps 4"),
        ("bench simulate", Text(Setting("steps", "4")), "--T 4"),
        ("export", Text(Setting("framework", "norse")), "--from norse"),
        ("export", Text(Setting("comparison", ">=")), "--compare ge"),
        ("export", Text(Value("comparison", ">")), "gt"),
        ("export", Text(Value("reset", "zero")), "zero"),
        ("export", Text(Setting("weight_bits")), "--weight-bits"),
        ("simulate", Text(Setting("random_count", "3")), "--random 3"),
        # What this command has no option for, another one has.
        ("simulate", Text(Setting("reset", "zero")), "--reset zero"),
        ("train", Text(Setting("training.epochs", "5")), "--set training.epochs=5"),
        ("train", Text(Setting("training.start_from", "RUN")), "--init RUN"),
        ("train", Text(Setting("training.precision", "bf16")), "--precision bf16"),
        ("export", Text(Setting("neuron.comparison", '">"')), "--set 'neuron.comparison=\">\"'"),
        ("simulate", Text(Step("train")), "neurodeploy train"),
        ("simulate", Text(Step("resume_run", "runs/a")), "neurodeploy train --resume runs/a"),
        ("simulate", "plain steps=4", "plain steps=4"),
    ],
)
def test_a_command_says_its_options(command: str, text: str, said: str) -> None:
    assert said_by(command, text) == said


def test_keys_with_options_of_their_own_are_keys_of_a_recipe() -> None:
    recipe = load_recipe("digits_conv").as_dict()
    for key in KEYS:
        table = recipe
        *parents, last = key.split(".")
        for parent in parents:
            table = table[parent]
        assert last in table, key
    assert isinstance(load_recipe("digits_conv"), Recipe)


def test_the_fix_of_a_start_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_start("absent", tmp_path)
    assert caught.value.fix is not None
    assert caught.value.fix.named == (Setting("training.start_from", "RUN"),)
    assert str(caught.value).endswith(
        "; train that first, or name a run with training.start_from=RUN"
    )


def test_python_reads_what_the_command_line_reads_in_other_words(tmp_path: Path) -> None:
    import nir
    import numpy as np

    from neurodeploy.interchange.nir.file import write_nir

    ones = np.ones(2)
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "n": nir.LIF(tau=2e-4 * ones, r=ones, v_leak=0 * ones, v_threshold=ones),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("input", "n"), ("n", "output")]
    write_nir(tmp_path / "a.nir", nir.NIRGraph(nodes, edges, type_check=False))
    with pytest.raises(UnsupportedError) as caught:
        import_nir(tmp_path / "a.nir", dt=1e-4, reset="zero", integrator="euler", steps=3)
    assert str(caught.value).splitlines()[1:] == [
        "  comparison: > or >=; NIR's equations say >",
        "or, in place of all but steps, the framework that wrote it; this file is consistent with "
        "framework=norse, framework=spikingjelly, framework=nengo, framework=lava",
    ]
    options = [
        "--dt",
        "1e-4",
        "--reset",
        "zero",
        "--integrator",
        "euler",
        "--steps",
        "3",
        "--target",
        "loihi2",
    ]
    result = run_cli("export", "a.nir", *options, folder=tmp_path)
    assert result.exit_code == 2
    assert result.output.splitlines()[1:] == [
        "  --compare: gt or ge; NIR's equations say gt",
        "or, in place of all but --steps, the framework that wrote it; this file is consistent "
        "with --from norse, --from spikingjelly, --from nengo, --from lava",
    ]


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_notes_of_an_export_say_options(dry_run: tuple[str, ...], tmp_path: Path) -> None:
    import nir
    import numpy as np

    from neurodeploy.interchange.nir.file import write_nir

    ones = np.ones(2)
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "w": nir.Linear(np.eye(2)),
        "n": nir.LIF(tau=1e-3 * ones, r=10 * ones, v_leak=0 * ones, v_threshold=ones),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    write_nir(tmp_path / "a.nir", nir.NIRGraph(nodes, edges, type_check=False))
    options = ["--from", "snntorch", "--steps", "3", "--encoder", "events", "--target", "loihi2"]
    result = run_cli("export", "a.nir", *options, *dry_run, folder=tmp_path)
    assert result.exit_code == 0
    assert "for others state --reset and --reset-delay" in result.output
