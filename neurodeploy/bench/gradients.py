"""Agreement of the gradients of cheaper rules with those of BPTT while a network is trained.

Reproduces figure 3 of Meng et al. 2023: the network is trained by SLTT, and on some batches every
rule says which gradient it would have taken there, with the same weights and the same samples.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.nn.device import find_device, parameter_dtype
from neurodeploy.nn.families import SpikingNetwork
from neurodeploy.nn.loss import OwnStepsLoss
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.reporting.text import table_text
from neurodeploy.rules import Batch, BatchResult, Rule, Update
from neurodeploy.rules.any_module import Model
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.ottt import OTTT
from neurodeploy.rules.rate import Rate
from neurodeploy.rules.rule import Loss
from neurodeploy.rules.sltt import SLTT
from neurodeploy.support.partial import temporary_folder
from neurodeploy.support.processes import Processes
from neurodeploy.training.assembly import (
    check_batches_of,
    input_code,
    load_data,
    network_of,
    split_of,
)
from neurodeploy.training.batches import batch_count
from neurodeploy.training.epoch import Job
from neurodeploy.training.loop import fit, reproducible

COMPARED: dict[str, Rule] = {
    "sltt": SLTT(),
    "ottt": OTTT(),
    "rate_m": Rate("m"),
    "rate_s": Rate("s"),
}
"""Rules that stand beside BPTT. All but rate_m see the spikes that BPTT sees, where a network has
batch norm: rate_m normalises all steps together."""

DEEPER = (
    "name=digits_conv with four convolutions",
    "network.channels=[16, 32, 32, 32]",
    "network.strides=[]",
    "network.pool=[1, 2, 1, 1]",
)
"""Overrides that give digits_conv enough layers to see differences between them."""

ALL = "all"
"""In place of a layer: the weights of all layers as one vector."""


@dataclass(frozen=True)
class GradientRow:
    """Agreement of one rule with BPTT, the mean over the batches of an epoch that were looked at.

    Attributes:
        tau: membrane time constant in steps.
        T: steps per sample.
        epoch: counted from 1.
        rule: a key of ``COMPARED``.
        layer: of whose weights the gradient is, or ``ALL``.
        cosine: of the angle between the rule's gradient and BPTT's, 1 for the same direction.
        norm_ratio: length of the rule's gradient over that of BPTT's.
    """

    tau: float
    T: int
    epoch: int
    rule: str
    layer: str
    cosine: float
    norm_ratio: float


def choose_recipe(
    name: str | None, overrides: Sequence[str], data: Path | None, epochs: int
) -> Recipe:
    """The recipe to train: the named one, or digits_conv with ``DEEPER``.

    Raises:
        InputError: no such recipe, or a key or value that it does not take.
    """
    own = [f"training.epochs={epochs}", "training.warmup_epochs=0"]
    if data is not None:
        own.append(f"data.path={json.dumps(str(data.absolute()))}")
    deeper = DEEPER if name is None else ()
    return load_recipe(name or "digits_conv", [*deeper, *own, *overrides])


def bench_gradients(
    recipe: Recipe,
    taus: Sequence[float],
    steps: Sequence[int],
    every: int,
    progress: bool = False,
) -> list[GradientRow]:
    """Train the recipe by SLTT for each tau and T, and compare the rules on the way.

    Args:
        recipe: what to train, in whole batches; its own tau, T, rule and
            ``loss_over`` are replaced.
        taus: membrane time constants in steps, above 1.
        steps: T.
        every: look at the first of so many batches.
        progress: show bars on stderr where that is a terminal.

    Raises:
        InputError: the recipe cannot be trained so.
        UnsupportedError: its network is not for one of the rules.
        SimulationError: the training diverged.
    """
    if every < 1:
        raise InputError(Text(Setting("every", str(every)), ": must be at least 1"))
    chosen = [(tau, _variant(recipe, tau, T)) for tau, T in itertools.product(taus, steps)]
    return [row for tau, variant in chosen for row in _compare(variant, tau, every, progress)]


def _variant(recipe: Recipe, tau: float, T: int) -> Recipe:
    try:
        neuron = replace(recipe.neuron, tau=tau)
        training = replace(recipe.training, steps=T, accumulate=1, loss_over="steps")
    except ValueError as error:
        raise InputError(f"bench gradients: {error}") from None
    name = f"{recipe.name} with tau = {tau:g}, T = {T}"
    return replace(recipe, name=name, neuron=neuron, training=training, rule={"name": "sltt"})


def _compare(recipe: Recipe, tau: float, every: int, progress: bool) -> Iterator[GradientRow]:
    """Train one variant as a training run does."""
    T, dataset = recipe.training.steps, load_data(recipe)
    precision = recipe.training.precision
    device = find_device("cpu", precision, Processes())
    with (
        reproducible(device, recipe.training.threads) as threads,
        temporary_folder() as folder,
    ):
        torch.manual_seed(recipe.seed)
        model = network_of(recipe, dataset).to(device, parameter_dtype(precision))
        split, watched = split_of(recipe, dataset), Watched(every)
        check_batches_of(recipe, model, len(split.y_train), Processes())
        code = input_code(recipe, dataset)
        job = Job(recipe, model, watched, split, code, Processes(), threads)
        fit(job, folder, None, progress)
    batches = batch_count(len(split.y_train), recipe.training.batch_size)
    for epoch, found in watched.by_epoch(batches).items():
        for (rule, layer), values in found.items():
            cosine, ratio = (fmean(part) for part in zip(*values, strict=True))
            yield GradientRow(tau, T, epoch, rule, layer, cosine, ratio)


Agreement = dict[tuple[str, str], tuple[float, float]]
"""Cosine and norm ratio of a rule's gradient for a layer's weights."""


@dataclass
class Watched(Rule):
    """SLTT that first compares the rules on the first of every ``every`` batches."""

    every: int
    found: list[Agreement | None] = field(default_factory=list)

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Train by SLTT; the comparison leaves no trace in the model."""
        looked_at = None
        if len(self.found) % self.every == 0 and isinstance(model, SpikingNetwork):
            batch = batch._replace(frames=list(batch.frames))
            looked_at = agreement(model, batch, loss)
        self.found.append(looked_at)
        if isinstance(loss, OwnStepsLoss):
            loss.begin()
        return SLTT().train_batch(model, batch, loss, update, generator)

    def by_epoch(self, batches: int) -> dict[int, dict[tuple[str, str], list[tuple[float, float]]]]:
        """What was found in each epoch of so many batches."""
        epochs: dict[int, dict[tuple[str, str], list[tuple[float, float]]]] = {}
        for number, found in enumerate(self.found):
            epoch = epochs.setdefault(number // batches + 1, {})
            for key, values in (found or {}).items():
                epoch.setdefault(key, []).append(values)
        return epochs


def agreement(model: SpikingNetwork, batch: Batch, loss: Loss) -> Agreement:
    """Compare the rules' gradients with BPTT's on one batch.

    Args:
        model: left as it is; the rules work on a copy, because batch norm counts its calls.
        batch: whose frames can be read more than once.

    Returns:
        For each rule and layer of synapses, and all of them together. Where BPTT has no gradient
        at all there is nothing to compare with, and no entry.
    """
    model.reset_state()
    trial = copy.deepcopy(model)
    reference = gradients(trial, BPTT(), batch, loss)
    found: Agreement = {}
    for rule, options in COMPARED.items():
        mine = gradients(trial, options, batch, loss)
        for layer, theirs in reference.items():
            if theirs.norm() > 0:
                found[rule, layer] = compare(mine[layer], theirs)
    return found


def gradients(model: SpikingNetwork, rule: Rule, batch: Batch, loss: Loss) -> Mapping[str, Tensor]:
    """Gradient of each layer's weights by a rule, and of all, as vectors in float64."""
    model.zero_grad()
    if isinstance(loss, OwnStepsLoss):
        loss.begin()
    rule.train_batch(model, batch, loss, lambda: None, torch.Generator().manual_seed(0))
    found = {}
    for name, layer in model.layers.items():
        weight = getattr(layer, "weight", None)
        # Those of batch norm have one axis: they are no synapses.
        if isinstance(weight, Tensor) and weight.ndim > 1 and weight.grad is not None:
            found[name] = weight.grad.double().flatten()
    return {**found, ALL: torch.cat(list(found.values()))}


def compare(mine: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Cosine of the angle between two vectors, and the ratio of their norms; theirs is not zero."""
    own, other = float(mine.norm()), float(theirs.norm())
    cosine = float(mine @ theirs) / (own * other) if own else 0.0
    return cosine, own / other


def table(rows: Sequence[GradientRow]) -> str:
    """Means over all epochs as text: a line for each tau, T and rule."""
    layers = list(dict.fromkeys(row.layer for row in rows))
    grouped: dict[tuple[float, int, str], list[GradientRow]] = {}
    for row in rows:
        grouped.setdefault((row.tau, row.T, row.rule), []).append(row)
    lines = []
    for (tau, T, rule), group in grouped.items():
        line: list[str | int] = [f"{tau:g}", T, rule]
        for layer in layers:
            line.append(f"{fmean(row.cosine for row in group if row.layer == layer):.3f}")
        lengths = [row.norm_ratio for row in group if row.layer == ALL]
        lines.append([*line, f"{fmean(lengths):.3f}"])
    return table_text(["tau", "T", "rule", *layers, "norm"], lines)
