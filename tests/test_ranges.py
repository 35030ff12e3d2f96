"""Numbers that nothing can be done with are refused at once, in one line with the limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodeploy.errors import InputError
from neurodeploy.recipe import load_recipe
from support.command import run_cli


@pytest.mark.parametrize(
    "key, limit",
    [
        ("training.steps=1000000000", "steps must be at most 1,048,576"),
        ("training.threads=100000", "threads must be at most 1,024"),
        ("data.side=100000", "nor above 16384"),
        (f"seed={2**70}", "does not fit into 64 bits"),
    ],
)
def test_keys_of_a_recipe(key: str, limit: str) -> None:
    with pytest.raises(InputError, match=limit):
        load_recipe("digits_mlp", [key])


@pytest.mark.parametrize(
    "arguments, limit",
    [
        ("simulate . --timeout nan", "'nan' is not a number"),
        ("bench simulate --T 0", "not in the range 1<=x"),
        ("bench simulate --seconds nan", "'nan' is not a number"),
        ("bench simulate --batch 0", "not in the range 1<=x"),
        ("bench train --rounds 0", "not in the range 1<=x"),
    ],
)
def test_options(arguments: str, limit: str, tmp_path: Path) -> None:
    found = run_cli(*arguments.split(), folder=tmp_path)
    assert found.exit_code == 2
    assert limit in found.output


def test_an_empty_option_is_one_that_was_given(tmp_path: Path) -> None:
    for arguments in (["train", ""], ["train", "--resume", "r", "--data", ""]):
        assert run_cli(*arguments, folder=tmp_path).exit_code == 2
