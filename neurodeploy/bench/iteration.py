"""One configuration of ``neurodeploy bench train``, measured in a process of its own."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from neurodeploy.bench.backward_clock import BackwardClock
from neurodeploy.bench.configuration import YARDSTICK, Configuration
from neurodeploy.bench.draws import Draw, balanced_draws
from neurodeploy.bench.memory import allocate_exactly
from neurodeploy.bench.process import answer
from neurodeploy.bench.watermark import Watermark
from neurodeploy.training.encoding import training_frames
from neurodeploy.training.export import input_code
from neurodeploy.training.loop import reproducible
from neurodeploy.training.loss import InstantaneousLoss
from neurodeploy.training.networks import build_network
from neurodeploy.training.optimization import make_optimizer
from neurodeploy.training.rules import Batch, build_rule
from neurodeploy.training.yardstick import PlainNetwork, train_plainly

SETTLING_SAMPLES = 2
EXACT_ITERATIONS = 2
"""How many are run for peak memory: the second one meets what the first left behind."""


class Iteration:
    """A network, its optimiser and one batch on a device; a call trains on that batch once.

    Attributes:
        model: the network, or a plain copy of it for the yardstick.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Raises InputError or UnsupportedError when this cannot be trained."""
        recipe, dataset = configuration.recipe, configuration.dataset()
        self.device = torch.device(configuration.device)
        torch.manual_seed(recipe.seed)
        self.rule = build_rule(recipe)
        self._steps = recipe.training.steps
        self._loss = InstantaneousLoss.of(recipe.training)
        model = build_network(recipe, dataset).to(self.device)
        self.model = PlainNetwork(model) if configuration.method == YARDSTICK else model
        self._optimizer = make_optimizer(self.model, recipe.training)
        self._code = input_code(recipe, dataset)
        self._samples = torch.from_numpy(dataset.x_train[:]).to(self.device)
        self._labels = torch.from_numpy(dataset.y_train).to(self.device)
        self._narrow = configuration.precision == "bf16"

    def __call__(self, seed: int, samples: int | None = None) -> None:
        """Train on the batch, or on its first ``samples``; ``seed`` is that of the rule's draws."""
        generator = torch.Generator().manual_seed(seed)
        frames = training_frames(self._samples[:samples], self._code, self._steps, generator)
        batch = Batch(frames, self._steps, self._labels[:samples])
        narrow = torch.autocast(self.device.type, torch.bfloat16) if self._narrow else nullcontext()
        with narrow:
            if isinstance(self.model, PlainNetwork):
                result = train_plainly(self.model, batch, self._loss, self._update)
            else:
                result = self.rule.train_batch(
                    self.model, batch, self._loss, self._update, generator
                )
        # The training loop looks at it too, and so waits for a GPU.
        result.loss.item()

    def settle(self) -> None:
        """Make all that is there before the first iteration, and forget what it leaves behind.

        Libraries have loaded and the optimiser has its momenta: from here on memory is the
        method's own.
        """
        self(0, SETTLING_SAMPLES)
        self.model.reset_state()
        self._optimizer.zero_grad()

    def _update(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad()


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
    if exact and device.type == "cpu":
        allocate_exactly()
    with reproducible(device, configuration.threads):
        iteration = Iteration(configuration)
        draws = balanced_draws(iteration.rule, configuration.T)
        iteration.settle()
        memory = Watermark(device, exact)
        if exact:
            for _ in range(EXACT_ITERATIONS):
                iteration(next(draws).seed)
            return {"peak_mb_above_model": memory.above_mb()}
        iteration(next(draws).seed)
        return {**_timed(iteration, draws, seconds), "resident_mb_above_model": memory.above_mb()}


def _timed(iteration: Iteration, draws: Iterator[Draw], seconds: float) -> dict[str, Any]:
    """Figures of time; the device is idle before and after, as the last loss was waited for."""
    count = steps = 0
    started = time.perf_counter()
    with BackwardClock(iteration.device) as clock:
        while (elapsed := time.perf_counter() - started) < seconds or count == 0:
            draw = next(draws)
            iteration(draw.seed)
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
