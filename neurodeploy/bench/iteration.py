"""One configuration of the bench of training, measured in a process of its own.

Beside the iterations themselves: fair random draws for them, a clock of their backward passes and a
mark of the memory that they take.
"""

from __future__ import annotations

import importlib
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from unittest.mock import patch

import numpy as np
import torch

from neurodeploy.bench.configuration import YARDSTICK, Configuration
from neurodeploy.bench.process import (
    allocate_exactly,
    answer,
    forget_high_water,
    high_water_mb,
    resident_mb,
)
from neurodeploy.data import Dataset
from neurodeploy.nn.device import find_device, lay_out, parameter_dtype
from neurodeploy.nn.families.dense import Mlp
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.recipe import NeuronRecipe, Recipe
from neurodeploy.rules import Batch, Rule
from neurodeploy.rules.sltt import SLTTK
from neurodeploy.support.processes import Processes
from neurodeploy.support.system import freed_memory_kept
from neurodeploy.training.assembly import input_code, network_of, rule_of
from neurodeploy.training.batches import Split, seed_piece
from neurodeploy.training.epoch import Job, train_epoch
from neurodeploy.training.loop import reproducible
from neurodeploy.training.metrics import PartialEpoch
from neurodeploy.training.optimization import Updater
from neurodeploy.training.threads import Threads
from neurodeploy.training.yardstick import PlainNetwork, PlainSLTT

CANDIDATES = 64
"""Epochs among whose random draws ``balanced_draws`` chooses."""

ENTRIES = ("backward", "grad")
"""Functions of torch's differentiation, one of which every backward pass goes through."""

MB = 1 << 20
SETTLING_SAMPLES = 2
EXACT_ITERATIONS = 2
"""How many are run for peak memory: the second one meets what the first left behind."""


class Draw(NamedTuple):
    """An epoch, whose random draws are its own, and how many steps are run with them."""

    epoch: int
    steps: int


def balanced_draws(recipe: Recipe) -> Iterator[Draw]:
    """Epochs for iteration 1, 2 and so on, each of one batch.

    SLTT-K stops after the last step drawn, K (T + 1) / (K + 1) in the mean, so that a few
    iterations can take half or twice the time of others. Each draw is the one with which the steps
    run so far come nearest to that mean.
    """
    rule, steps = rule_of(recipe), recipe.training.steps
    if not (isinstance(rule, SLTTK) and rule.early_exit):
        yield from (Draw(epoch, steps) for epoch in itertools.count(1))
        return
    mean = rule.K * (steps + 1) / (rule.K + 1)
    seeds = partial(seed_piece, recipe.seed, batch=0, piece=0, device=torch.device("cpu"))
    draws = [
        Draw(epoch, steps_run(rule, steps, seeds(epoch=epoch)))
        for epoch in range(1, CANDIDATES + 1)
    ]
    missing = mean
    while True:
        draw = min(draws, key=lambda draw: abs(draw.steps - missing))
        missing += mean - draw.steps
        yield draw


def steps_run(rule: Rule, steps: int, generator: torch.Generator) -> int:
    """How many of T steps a rule asks for with draws of this generator; tried on one neuron."""
    network = Mlp((1,)).build((1,), 2, NeuronRecipe(tau=2.0))
    frames = iter([torch.zeros(1, 1)] * steps)
    batch = Batch(frames, steps, torch.zeros(1, dtype=torch.int64))
    rule.train_batch(network, batch, InstantaneousLoss(), lambda: None, generator)
    left = sum(1 for _ in frames)
    return steps - left


class BackwardClock:
    """While entered, adds up the time of backward passes; a device is never waited for.

    What runs inside of another backward pass counts once. On a GPU the time is that between two
    marks in its own queue, which leaves the order of work as it is.

    Attributes:
        passes: how many there were.
    """

    def __init__(self, device: torch.device) -> None:
        self.passes = 0
        self._marks: list[tuple[Any, Any]] = []
        self._on_gpu = device.type == "cuda"
        self._inside = False
        self._patches = ExitStack()

    def __enter__(self) -> BackwardClock:
        # Replaced by name: nothing is differentiated here, only timed.
        functions = importlib.import_module("torch.autograd")
        for name in ENTRIES:
            timed = self._timed(vars(functions)[name])
            self._patches.enter_context(patch.object(functions, name, timed))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def seconds(self) -> float:
        """Time of all passes so far; waits for those that a GPU still works on."""
        if not self._on_gpu:
            return sum(end - start for start, end in self._marks)
        torch.cuda.synchronize()
        return sum(start.elapsed_time(end) for start, end in self._marks) / 1000

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside = True
            start = self._mark()
            try:
                return function(*arguments, **options)
            finally:
                self._marks.append((start, self._mark()))
                self._inside = False
                self.passes += 1

        return run

    def _mark(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class Watermark:
    """The highest memory that tensors take from when this is made on, on the CPU or a GPU.

    On the CPU this is resident memory, and what it holds depends on ``allocate_exactly``. On a GPU
    it is what torch's allocator has given to tensors (``exact``), or has taken from the device.
    """

    def __init__(self, device: torch.device, exact: bool) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._exact = exact
        if self._gpu is None:
            self._base = resident_mb()
            forget_high_water()
            return
        torch.cuda.synchronize(self._gpu)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._gpu)
        self._base = self._peak_mb()

    def above_mb(self) -> float:
        """The peak since then, in MiB above what was in use then."""
        return (high_water_mb() if self._gpu is None else self._peak_mb()) - self._base

    def _peak_mb(self) -> float:
        peak = torch.cuda.max_memory_allocated if self._exact else torch.cuda.max_memory_reserved
        return peak(self._gpu) / MB


class Measured(Protocol):
    """What an iteration is measured of, such as a ``Configuration``."""

    @property
    def method(self) -> str:
        """``YARDSTICK``, or anything else for the recipe's rule."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Of the training."""
        ...

    @property
    def batch(self) -> int:
        """Samples per iteration."""
        ...

    @property
    def device(self) -> str:
        """As torch names it."""
        ...

    @property
    def threads(self) -> int:
        """CPU threads of torch, 0 for as many as other programs leave cores."""
        ...

    def dataset(self) -> Dataset:
        """One batch as the training part of a data set."""
        ...


class Iteration:
    """A network, its optimiser and one batch; a call trains on it as a training run does.

    Attributes:
        model: the network, or a plain copy of it for the yardstick.
    """

    def __init__(self, configuration: Measured, threads: Threads | None = None) -> None:
        """Raises InputError or UnsupportedError when this cannot be trained."""
        recipe, dataset = configuration.recipe, configuration.dataset()
        precision = recipe.training.precision
        self.device = find_device(configuration.device, precision, Processes())
        torch.manual_seed(recipe.seed)
        self.model: Any = network_of(recipe, dataset)
        rule: Any = rule_of(recipe)
        if configuration.method == YARDSTICK:
            self.model, rule = PlainNetwork(self.model), PlainSLTT()
        self.model.to(self.device, parameter_dtype(precision))
        if configuration.method != YARDSTICK:
            lay_out(self.model, configuration.batch, precision)
        images, labels = dataset.x_train, dataset.y_train
        none = images[:0], labels[:0], np.arange(0)
        whole = Split(images, labels, *none)
        some = Split(images[:SETTLING_SAMPLES], labels[:SETTLING_SAMPLES], *none)
        code = input_code(recipe, dataset)
        self._job = Job(
            recipe, self.model, rule, whole, code, Processes(), threads or Threads.as_they_are()
        )
        self._small_job = replace(self._job, split=some)
        self._updater = Updater(self.model, recipe.training, Processes())

    def __call__(self, epoch: int) -> None:
        """Train on the batch; random draws are those of the epoch."""
        self._train(self._job, epoch)

    def settle(self) -> None:
        """Make all that is there before the first iteration, and forget what it leaves behind.

        Libraries have loaded and the optimiser has its momenta: from here on memory is the
        method's own.
        """
        self._train(self._small_job, epoch=1)
        self.model.reset_state()

    def _train(self, job: Job, epoch: int) -> None:
        # It waits for the loss, and so for a GPU.
        for _ in train_epoch(job, self._updater, epoch, PartialEpoch()):
            pass


def measure(configuration: Measured, seconds: float, exact: bool) -> dict[str, Any]:
    """Measure in this process, and this once: the allocator stays as it is set here.

    Args:
        configuration: what to measure.
        seconds: how long iterations are timed, at least; the first one is not counted.
        exact: measure peak memory alone, and nothing of time.

    Returns:
        Some of the values of a ``TrainRow``.
    """
    device = torch.device(configuration.device)
    plain = configuration.method == YARDSTICK
    if exact and device.type == "cpu":
        allocate_exactly()
    kept = nullcontext() if exact or plain else freed_memory_kept()
    with reproducible(device, configuration.threads) as threads, kept:
        iteration = Iteration(configuration, threads)
        draws = balanced_draws(configuration.recipe)
        iteration.settle()
        memory = Watermark(device, exact)
        if exact:
            for _ in range(EXACT_ITERATIONS):
                iteration(next(draws).epoch)
            return {"peak_mb_above_model": memory.above_mb()}
        iteration(next(draws).epoch)
        return {**_timed(iteration, draws, seconds), "resident_mb_above_model": memory.above_mb()}


def _timed(iteration: Iteration, draws: Iterator[Draw], seconds: float) -> dict[str, Any]:
    """Figures of time; the device is idle before and after, as the last loss was waited for."""
    count = steps = 0
    started = time.perf_counter()
    with BackwardClock(iteration.device) as clock:
        while (elapsed := time.perf_counter() - started) < seconds or count == 0:
            draw = next(draws)
            iteration(draw.epoch)
            count, steps = count + 1, steps + draw.steps
    return {
        "seconds_per_iteration": elapsed / count,
        "backward_seconds_per_iteration": clock.seconds() / count,
        "steps_per_iteration": steps / count,
        "iterations": count,
        "threads": torch.get_num_threads(),
        "device_name": device_name(iteration.device),
    }


def device_name(device: torch.device) -> str:
    """What the machine calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    chosen, seconds, exact = json.loads(sys.argv[1])
    answer(lambda: measure(Configuration(**chosen), seconds, exact))
