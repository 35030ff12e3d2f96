"""What a recipe says of training: neurons, the loop, and the integers that it is done on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neurodeploy.ir.contract import Comparison, Reset
from neurodeploy.recipe.constants import Constant, check

MOST_RATE = 1e30
"""Beyond it the optimiser's steps, which are many times as large, would leave float32."""

MOST_THRESHOLD = 1e15
"""Surrogates take the square of a threshold and one over it, which float32 must hold."""

MseTarget = Literal["ones", "one_hot"]
LossOver = Literal["steps", "mean"]
ClassWeights = tuple[float, ...] | str
Precision = Literal["fp32", "fp64", "bf16", "fp16"]


MOST_STEPS = 2**20
"""Of a sample in training; each is computed in every epoch."""

MOST_THREADS = 1024
"""OpenMP takes memory for each, and ends the process where there is none."""


@dataclass(frozen=True)
class NeuronRecipe:
    """Hidden neurons: u[t] = (1 - 1/tau) v[t-1] + I[t] (Meng et al. 2023, eq. 2).

    I[t] = (1 - 1/tau_syn) I[t-1] + x[t] is the synaptic current; with tau_syn = 1 it is x[t].

    Attributes:
        tau: membrane time constant in steps, > 1; the leak is 1 - 1/tau. One number, one for each
            layer, or a ``TimeConstant``.
        v_threshold: firing threshold, > 0.
        reset: after a spike, ``subtract`` the threshold or set to ``zero``.
        comparison: a neuron fires when u ``>=`` or ``>`` the threshold.
        surrogate: derivative used for the spike in training.
        tau_syn: time constant of the synaptic current in steps, >= 1, likewise; 1 for none.
        refractory_period: steps after a spike in which v is held and the neuron cannot fire.
    """

    tau: Constant
    v_threshold: float = 1.0
    reset: Reset = "subtract"
    comparison: Comparison = ">="
    surrogate: str = "triangle"
    tau_syn: Constant = 1.0
    refractory_period: int = 0

    def __post_init__(self) -> None:
        check(self.tau, "tau", exclusive=True)
        check(self.tau_syn, "tau_syn", exclusive=False)
        if self.refractory_period < 0:
            raise ValueError(
                f"refractory_period is in steps, at least 0, found {self.refractory_period}"
            )
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
        epochs: passes over the training samples.
        learning_rate: largest learning rate, > 0: after the warm-up, and before its cosine decay.
        optimizer: Adam, or stochastic gradient descent with momentum.
        momentum: momentum of ``sgd``.
        weight_decay: L2 penalty on the parameters, from 0.
        batch_size: samples of one update, for any number of processes and pieces.
        accumulate: pieces into which each process splits its part of a batch. Their gradients are
            added up before the update, so that memory is that of one piece.
        precision: number format in training. With ``bf16`` and ``fp16``, torch's autocast
            computes in these what it considers safe, such as activations; parameters, loss and
            evaluation stay float32. ``fp16`` scales the loss against underflow.
        mse_weight: share a of the mean-squared error in the loss at each step,
            (1 - a) CE + a MSE (Meng et al. 2023, eq. 14).
        loss_over: whether the loss is the mean of those of all ``steps``, or that of the ``mean``
            output, both over a sample's own steps. The second does not depend on single steps, and
            is for rules whose backward pass follows the last step.
        mse_target: target of that error: ``ones`` for all classes, which is the default of the
            authors' code, or the label's ``one_hot`` vector.
        class_weights: factor of each sample's loss by its class: one number per class, used as
            given, or ``balanced`` for factors that give all classes the same total weight and have
            a mean of 1 over the training samples. Empty for none.
        constants_rate: factor on the learning rate for learned time constants and delays, whose
            parameters have to change more than weights do.
        clip_norm: largest length of the gradient of all parameters together; a longer one is
            scaled down to it before an update. 0 for no limit.
        average: keep a running mean of the weights, of which each update keeps this share; the
            mean is validated and saved (Polyak and Juditsky 1992). 0 for the weights themselves;
            0.99 is a mean over about 100 updates.
        warmup_epochs: number of epochs in which the learning rate rises linearly, before its cosine
            decay.
        start_from: start with the best weights of another run instead of random ones: its folder,
            or the name of a recipe, for its newest complete run in ``runs/``.
        threads: CPU threads of torch; 0 for as many as there are cores that no other program uses,
            checked every two seconds. The number affects the last digits of sums, and thus the
            course of a training: state one to make it reproducible bit for bit. Small networks
            train faster with one thread.
        checkpoint_minutes: within a longer epoch, save the state this often; 0 for never.
        time_chunk: steps that are computed at once, layer by layer, in ``sltt``, ``sltt-k`` and
            ``bptt``; the gradients stay the same. More steps are faster in small networks, and take
            proportionally more memory. 0 chooses by the size of the network, 1 takes the least
            memory.
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
    loss_over: LossOver = "steps"
    class_weights: ClassWeights = ""
    constants_rate: float = 1.0
    clip_norm: float = 0.0
    average: float = 0.0
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
        if self.constants_rate <= 0:
            raise ValueError(f"constants_rate must be positive, found {self.constants_rate}")
        for name in ("learning_rate", "weight_decay", "constants_rate"):
            if getattr(self, name) > MOST_RATE:
                raise ValueError(
                    f"{name} must be {MOST_RATE:g} or less, found {getattr(self, name):g}"
                )
        for name, most in (("steps", MOST_STEPS), ("threads", MOST_THREADS)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}, found {getattr(self, name)}")
        for name in ("threads", "weight_decay", "checkpoint_minutes", "time_chunk", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        for name in ("momentum", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, found {getattr(self, name)}")
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
        first_epoch: the first epoch on integers, counted from 1; those before are trained in
            floats. 0 is the very first one when the run starts from the weights of another run or
            of a file, else the first one of the second half.
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
