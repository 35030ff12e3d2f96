"""Run as each of several processes: the runs of ``parallel_runs``, one after the other.

Each process says what became of each case, as one JSON object in a line. The last line is what the
command itself prints.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from neurodeploy.cli import main
from neurodeploy.errors import InputError, NeurodeployError
from neurodeploy.recipe import Recipe
from neurodeploy.training import epoch, train
from support.parallel_runs import CASES, COMMAND, RESUMED, make_recipe

exchanged: list[int] = []
all_reduce = torch.distributed.all_reduce


def counting(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
    exchanged.append(tensor.numel())
    return all_reduce(tensor, *args, **options)


def attempt(name: str, recipe: Recipe, resume: bool = False) -> None:
    """Train; say the error or what was exchanged."""
    exchanged.clear()
    error = ""
    try:
        train(recipe, Path(name), resume=resume, progress=False)
    except NeurodeployError as found:
        error = f"{type(found).__name__}: {found}"
    print(json.dumps({"case": name, "error": error, "exchanged": exchanged}), flush=True)


def fail_on_the_last(images: Any, *_: Any) -> Any:
    """In place of ``augment``: as a file that only one machine cannot read."""
    if os.environ["RANK"] == "1":
        raise InputError("sample 17 cannot be read")
    return images


torch.distributed.all_reduce = counting
for name, changes in CASES.items():
    attempt(name, make_recipe(**changes))
attempt(RESUMED, make_recipe(), resume=True)
attempt("diverges", make_recipe(training={"learning_rate": 1e30, "mse_weight": 1.0}))
attempt("too many pieces", make_recipe(training={"batch_size": 3, "accumulate": 2}))
augment, epoch.augment = epoch.augment, fail_on_the_last
attempt("one cannot read", make_recipe())
epoch.augment = augment
main(COMMAND)
