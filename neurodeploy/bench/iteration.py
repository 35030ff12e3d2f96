"""One configuration of ``neurodeploy bench train``, measured in a process of its own."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from neurodeploy.bench.backward_clock import BackwardClock
from neurodeploy.bench.configuration import YARDSTICK, Configuration
from neurodeploy.bench.draws import Draw, balanced_draws
from neurodeploy.bench.memory import allocate_exactly
from neurodeploy.bench.process import answer
from neurodeploy.bench.watermark import Watermark
from neurodeploy.nn.layout import lay_out
from neurodeploy.nn.precision import find_device, parameter_dtype
from neurodeploy.support.allocator import freed_memory_kept
from neurodeploy.support.processes import Processes
from neurodeploy.training.assembly import input_code, network_of, rule_of
from neurodeploy.training.epoch import Job, train_epoch
from neurodeploy.training.loop import reproducible
from neurodeploy.training.metrics import PartialEpoch
from neurodeploy.training.optimization import Updater
from neurodeploy.training.split import Split
from neurodeploy.training.yardstick import PlainNetwork, PlainSLTT

SETTLING_SAMPLES = 2
EXACT_ITERATIONS = 2
"""How many are run for peak memory: the second one meets what the first left behind."""


class Iteration:
    """A network, its optimiser and one batch; a call trains on it as ``neurodeploy train`` does.

    Attributes:
        model: the network, or a plain copy of it for the yardstick.
    """

    def __init__(self, configuration: Configuration) -> None:
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
        whole = Split(images, labels, images[:0], labels[:0])
        some = Split(images[:SETTLING_SAMPLES], labels[:SETTLING_SAMPLES], images[:0], labels[:0])
        code = input_code(recipe, dataset)
        self._job = Job(recipe, self.model, rule, whole, code, Processes())
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


def measure(configuration: Configuration, seconds: float, exact: bool) -> dict[str, Any]:
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
    with reproducible(device, configuration.threads), kept:
        iteration = Iteration(configuration)
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
