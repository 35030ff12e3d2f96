"""Recipes: everything that defines a training run, read from TOML.

A recipe is found by name among the built-in ones (``models/*.toml``) or by path. Keys can be
overridden one by one (``training.epochs=5``). Nothing is guessed: an unknown key is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from neurodeploy.errors import InputError, Setting, Text
from neurodeploy.ir.contract import Comparison, DataSource, Encoder, Reset, TimeBins
from neurodeploy.support.schema import build, builtin_names, find_toml, read_toml, tomllib

PACKAGE = "neurodeploy.models"

MOST_RATE = 1e30
"""Beyond it the optimiser's steps, which are many times as large, would leave float32."""

MOST_THRESHOLD = 1e15
"""Surrogates take the square of a threshold and one over it, which float32 must hold."""

MseTarget = Literal["ones", "one_hot"]
ClassWeights = tuple[float, ...] | str
Precision = Literal["fp32", "fp64", "bf16", "fp16"]


@dataclass(frozen=True)
class DataRecipe:
    """Which samples, and how many of the training ones are held back for validation.

    Attributes:
        name: a key of ``neurodeploy.data.DATASETS``.
        validation: share of the training samples, 0 < validation < 1.
        path, sha256, side, bins: as in ``neurodeploy.ir.contract.DataSource``.
        levels: largest integer of a sample. Event counts are clipped to this, 1 makes their
            frames binary; integers of an ``.npz`` end there, and its floats from 0 to 1 are rounded
            to so many levels. 0 takes the data set's own; of an ``.npz`` they are found.
        classes: how many there are, where some have no sample in the data set; 0 counts them.
        exclude: classes left out of training and validation, for on-chip learning to bring in
            later; the test samples keep them, and the network its output for them.
    """

    name: str
    validation: float = 0.1
    path: str = ""
    sha256: str = ""
    side: int = 0
    bins: TimeBins = "time"
    levels: int = 0
    classes: int = 0
    exclude: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is a share between 0 and 1, found {self.validation}")
        if not 0 <= self.levels <= 255:
            raise ValueError(f"levels is from 1 to 255, or 0, found {self.levels}")
        if self.classes < 0 or self.classes == 1:
            raise ValueError(f"classes is at least 2, or 0 to count them, found {self.classes}")
        _ = self.source

    @property
    def source(self) -> DataSource:
        """Where the samples lie and how they are read.

        Raises:
            ValueError: a negative side.
        """
        return DataSource(self.path, self.sha256, self.side, self.bins)


@dataclass(frozen=True)
class AugmentationRecipe:
    """Random changes of training images, each drawn anew in every epoch; nothing by default.

    They act on the integer images, in this order. Frames of one event sample all change alike.

    Attributes:
        resized_crop: take a random part of 8 to 100 % of the area and scale it to the full size
            (Szegedy et al. 2015); for ImageNet.
        crop_padding: pad with zeros by so many pixels and cut out a part of the old size.
        flip: mirror left and right with probability 1/2.
        cutout: side in pixels of a square that is blanked, centred on any pixel of the image
            (DeVries and Taylor 2017); 0 for none.
        cutout_fill: integer per channel that blanked pixels take, for example the data set's
            mean; all 0 when empty.
    """

    resized_crop: bool = False
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    cutout_fill: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is in pixels, from 0; found {getattr(self, name)}")
        if any(not 0 <= value <= 255 for value in self.cutout_fill):
            raise ValueError(f"cutout_fill holds integers 0 to 255, found {self.cutout_fill}")

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return bool(self.resized_crop or self.crop_padding or self.flip or self.cutout)


@dataclass(frozen=True)
class EncoderRecipe:
    """How a sample becomes T steps of input; the formulas stand in ``neurodeploy.data.dataset``.

    ``direct`` gives the sample's value at every step (graded input); ``rate`` draws Bernoulli
    spikes with the value as probability; ``latency`` gives each value one spike, the earlier the
    larger it is; ``events`` takes samples that have T steps already.
    """

    name: Encoder = "direct"


@dataclass(frozen=True)
class NeuronRecipe:
    """Hidden neurons: u[t] = (1 - 1/tau) v[t-1] + x[t] (Meng et al. 2023, eq. 2).

    Attributes:
        tau: membrane time constant in steps, > 1; the leak is 1 - 1/tau.
        v_threshold: firing threshold, > 0.
        reset: after a spike, ``subtract`` the threshold or set to ``zero``.
        comparison: a neuron fires when u ``>=`` or ``>`` the threshold.
        surrogate: derivative used for the spike in training.
    """

    tau: float
    v_threshold: float = 1.0
    reset: Reset = "subtract"
    comparison: Comparison = ">="
    surrogate: str = "triangle"

    def __post_init__(self) -> None:
        if self.tau <= 1:
            raise ValueError(f"tau is in steps and must be above 1, found {self.tau}")
        if self.v_threshold <= 0:
            raise ValueError(f"v_threshold must be positive, found {self.v_threshold}")
        if not 1 / MOST_THRESHOLD <= self.v_threshold <= MOST_THRESHOLD:
            raise ValueError(
                f"v_threshold must be from {1 / MOST_THRESHOLD:g} to {MOST_THRESHOLD:g}, found "
                f"{self.v_threshold:g}"
            )


@dataclass(frozen=True)
class TrainingRecipe:
    """The loop: T steps per sample, epochs, batches and optimiser.

    Attributes:
        steps: T, simulated steps per sample.
        batch_size: samples of one update, on however many processes and in however many pieces.
        accumulate: pieces into which each process cuts its part of a batch. Their gradients are
            added up before the update, so that memory is that of one piece.
        precision: of the arithmetic in training. With ``bf16`` and ``fp16``, torch's autocast
            computes in these what it holds to be safe, so activations and membranes; parameters,
            loss and evaluation stay float32. ``fp16`` scales the loss against underflow.
        mse_weight: share a of the mean-squared error in the loss at each step,
            (1 - a) CE + a MSE (Meng et al. 2023, eq. 14).
        mse_target: what that error draws the outputs to: ``ones`` for all classes alike, which
            is the default of the authors' code, or the label's ``one_hot`` vector.
        class_weights: factor of each sample's loss by its class: one number per class, taken as
            they are, or ``balanced`` for those that give all classes the same sum of factors and
            the training samples a mean of 1. Empty for none.
        clip_norm: length of the gradient of all parameters together beyond which it is cut down to
            that length before an update; 0 for never.
        warmup_epochs: linear rise of the learning rate before its cosine decay.
        start_from: start with the best weights of another run instead of random ones: its folder,
            or the name of a recipe, whose newest complete run in ``runs/`` is meant.
        threads: CPU threads of torch; 0 for as many as there are cores that no other program uses,
            looked at anew every two seconds. How many there are shows in the last digits of a sum,
            and so in the course of a training: state a number for one that can be repeated to the
            bit. Small networks train faster with one.
        checkpoint_minutes: within a longer epoch, save the state this often; 0 for never.
        time_chunk: steps that run at once, layer by layer, in rules whose gradients do not cross
            steps; the gradients stay the same. More are faster in small networks, and take as many
            times the memory. 0 takes as many as suit the size of the network, 1 the least memory.
    """

    steps: int
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    mse_weight: float = 0.0
    mse_target: MseTarget = "ones"
    class_weights: ClassWeights = ""
    clip_norm: float = 0.0
    warmup_epochs: int = 0
    start_from: str = ""
    threads: int = 0
    accumulate: int = 1
    precision: Precision = "fp32"
    checkpoint_minutes: float = 15.0
    time_chunk: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, found {self.learning_rate}")
        for name in ("learning_rate", "weight_decay"):
            if getattr(self, name) > MOST_RATE:
                raise ValueError(
                    f"{name} must be {MOST_RATE:g} or less, found {getattr(self, name):g}"
                )
        for name in ("threads", "weight_decay", "checkpoint_minutes", "time_chunk", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1, found {self.momentum}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warmup_epochs must be from 0 to below the {self.epochs} epochs, "
                f"found {self.warmup_epochs}"
            )
        if not 0 <= self.mse_weight <= 1:
            raise ValueError(f"mse_weight is a share from 0 to 1, found {self.mse_weight}")
        _check_class_weights(self.class_weights)


def _check_class_weights(weights: ClassWeights) -> None:
    """Refuse what is neither ``balanced`` nor positive numbers."""
    if isinstance(weights, str):
        if weights not in ("", "balanced"):
            raise ValueError(
                f'class_weights is "balanced" or a list of one number per class, found {weights!r}'
            )
    elif not all(weight > 0 for weight in weights):
        raise ValueError(
            f"class_weights must be positive, found {list(weights)}; data.exclude leaves a class "
            "out"
        )


@dataclass(frozen=True)
class QuantizeRecipe:
    """Training on the integers of a target; off by default. See ``docs/quantization.md``.

    Attributes:
        bits: width of the weights, 1 to 8; 0 to train in floats.
        target: the chip whose integers they are: a name, or the path of a TOML.
        first_epoch: the first one on integers, counted from 1; those before are trained in floats.
            0 is the first of all when the run starts from another one's weights or a file's, else
            the first of the second half.
    """

    bits: int = 0
    target: str = "loihi2"
    first_epoch: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= 8:
            raise ValueError(f"bits is from 1 to 8, or 0, found {self.bits}")
        if self.first_epoch < 0:
            raise ValueError(f"first_epoch is counted from 1, or 0, found {self.first_epoch}")

    def first_epoch_of(self, training: TrainingRecipe, trained: bool = False) -> int:
        """The first epoch on integers, counted from 1.

        Args:
            trained: whether the network comes with weights.
        """
        trained = trained or bool(training.start_from)
        return self.first_epoch or (1 if trained else training.epochs // 2 + 1)


@dataclass(frozen=True)
class Recipe:
    """One training run.

    Attributes:
        network: its ``family``, and the options of that family; or a ``.nir`` file in the
            family's place, and what is to be said of it (``training.imported``).
        rule: its ``name``, and the options of that rule.
        seed: of every random draw.
    """

    name: str
    description: str
    data: DataRecipe
    neuron: NeuronRecipe
    training: TrainingRecipe
    network: dict[str, Any]
    rule: dict[str, Any] = field(default_factory=lambda: {"name": "sltt"})
    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    quantize: QuantizeRecipe = field(default_factory=QuantizeRecipe)
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.network.get("family"), str):
            raise ValueError("[network] needs a 'family', for example family = \"conv\"")
        if not isinstance(self.rule.get("name"), str):
            raise ValueError("[rule] needs a 'name', for example name = \"sltt\"")
        if self.quantize.bits and self.quantize.first_epoch > self.training.epochs:
            raise ValueError(
                f"[quantize] first_epoch = {self.quantize.first_epoch} comes after the last of "
                f"{self.training.epochs} epochs"
            )

    @property
    def first_epoch_to_keep(self) -> int:
        """The first epoch whose weights may be the result, counted from 1."""
        return self.first_integer_epoch if self.quantize.bits else 1

    @property
    def first_integer_epoch(self) -> int:
        """The first epoch on integers of a recipe that has some, counted from 1."""
        from_file = self.network["family"].endswith(".nir")
        return self.quantize.first_epoch_of(self.training, from_file)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dict, as JSON and TOML can hold it."""
        return dataclasses.asdict(self)


def builtin_recipes() -> dict[str, Recipe]:
    """All recipes that ship with the package, by name."""
    return {name: load_recipe(name) for name in builtin_names(PACKAGE)}


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by built-in name or path, with ``key=value`` overrides applied.

    Raises:
        InputError: no such recipe, malformed TOML, unknown key or bad value.
    """
    path = find_toml(source, PACKAGE, "recipe")
    table = read_toml(path)
    for override in overrides:
        _apply_override(table, override)
    table.setdefault("name", path.stem)
    return build(Recipe, table, path.name)


def recipe_from_dict(table: dict[str, Any], where: str) -> Recipe:
    """Rebuild a recipe that ``Recipe.as_dict`` wrote, for example from a run directory."""
    return build(Recipe, table, where)


def _apply_override(table: dict[str, Any], override: str) -> None:
    """Set ``a.b=value`` in nested tables; the value is read as TOML, else taken as a string."""
    given = Setting("overrides", repr(override))
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise InputError(Text(given, ": expected KEY=VALUE, for example training.epochs=5"))
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = dotted.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise InputError(Text(given, f": {parent!r} is a value, not a table"))
    table[last] = value
