"""What every training rule does: turn one batch into gradients and say when to use them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import ClassVar, Literal, NamedTuple, Protocol, get_args, get_origin, get_type_hints

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.rules.any_module import LossOfStep, Model, StepLoss, as_model, frames_of
from neurodeploy.rules.feeding import parts, steps_at_once
from neurodeploy.sparsity import PricedLoss, Regulariser, wiring_of

Update = Callable[[], None]
"""Changes the parameters by the gradients in their ``grad`` and clears these."""

UpdateTime = Literal["steps", "step"]
"""When the parameters change: after all T ``steps`` of a batch, or after each ``step``."""


class Batch(NamedTuple):
    """The samples of one call.

    Attributes:
        frames: one input (N, *sample) per step, made when asked for.
        steps: T, how many there are.
        labels: (N,) int64; or what else the loss compares outputs with.
        constant: every frame is the same, as with direct encoding: what depends on nothing else
            need not be computed again.
        time_chunk: steps that run at once where the rule allows it; 0 lets the rule choose.
            1 is for the least memory.
        samples: N, where it is not the length of ``labels``.
    """

    frames: Iterable[Tensor]
    steps: int
    labels: Tensor
    constant: bool = False
    time_chunk: int = 0
    samples: int = 0

    @property
    def size(self) -> int:
        """N."""
        return self.samples or len(self.labels)

    def at_once(self, model: Model) -> int:
        """How many steps a rule that may run several at once runs at once."""
        return steps_at_once(model, self.size, self.steps, self.time_chunk)

    @property
    def lean(self) -> bool:
        """Whether memory counts more than time: spikes are computed again instead of kept."""
        return self.time_chunk == 1


class BatchResult(NamedTuple):
    """What a rule saw while it made the gradients; nothing in it carries a graph.

    Attributes:
        loss: mean of l(o[t], y) over the steps that were run, a scalar. With all T of them it is
            the L of Meng et al. 2023, eq. 14.
        outputs: sum of o[t] over the same steps, (N, classes).
        steps: how many these are, where they are not all T; else 0.
    """

    loss: Tensor
    outputs: Tensor
    steps: int = 0


class Loss(Protocol):
    """l(o[t], y), the loss of one step."""

    def __call__(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Loss of outputs (N, ...), a scalar."""
        ...

    def over_steps(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Sum of the losses of outputs (c, N, ...), a scalar."""
        ...


@cache
def _choices(rule: type) -> dict[str, tuple[str, ...]]:
    """What each option that is a choice may be."""
    hints = get_type_hints(rule).items()
    return {name: get_args(hint) for name, hint in hints if get_origin(hint) is Literal}


class Rule(ABC):
    """A training rule: a frozen dataclass of options.

    Attributes:
        waits_for_all_steps: whether it goes backward once, when all steps of a batch are over.
    """

    waits_for_all_steps: ClassVar[bool] = False

    def check_steps(self, steps: int) -> None:
        """Raise ValueError when the options do not suit T = ``steps``; most suit any."""
        _ = steps

    def backward(
        self,
        module: nn.Module,
        frames: Tensor | Iterable[Tensor],
        target: Tensor,
        loss: StepLoss,
        *,
        each_step: bool = False,
        update: Update | None = None,
        generator: torch.Generator | None = None,
        regularisers: Sequence[Regulariser] = (),
        fan_out: Mapping[str, ArrayLike] | None = None,
    ) -> Tensor:
        """Run a module over the T steps of a batch and add gradients to its parameters' ``grad``.

        For your own training loop, with any module whose call is one step, any loss and any
        optimiser. The state of the module's layers is reset first. What is minimised is
        (1/T) sum_t loss(o[t], target).

        Args:
            module: from frames (N, ...) to outputs o[t] (N, ...). If it keeps tensors between
                steps, it needs a method ``reset_state(self)``; see ``nn.reset``.
            frames: (T, N, ...), or T tensors (N, ...).
            target: second argument of ``loss``, for example labels (N,) int64.
            loss: of one step, a scalar: ``loss(outputs, target)``.
            each_step: whether the target has a value for every step, (T, N, ...).
            update: called when the parameters are to be changed, for rules that do so after every
                step: the optimiser's step, then zero_grad.
            generator: for a rule's random draws, on the CPU; torch's default when None.
            regularisers: prices on spikes that are minimised together with the loss.
            fan_out: by layer of neurons, the synapses behind each, as ``sparsity.fan_out_of`` gives
                them; for regularisers that count these.

        Returns:
            The loss, a scalar without a graph: the mean over the steps that were run, without the
            prices of regularisers.

        Raises:
            InputError: frames, target, loss or module are not as described, or the rule's options
                do not suit T.
            UnsupportedError: the rule does not apply to a network such as this.
        """
        for name, choices in _choices(type(self)).items():
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{type(self).__name__}: {name} is one of {', '.join(map(repr, choices))}, "
                    f"found {getattr(self, name)!r}"
                )
        shown, constant = frames_of(frames)
        steps = len(shown)
        try:
            self.check_steps(steps)
        except ValueError as error:
            raise InputError(str(error)) from None
        if getattr(self, "update", "steps") == "step" and update is None:
            raise InputError(
                f"{type(self).__name__}(update='step') changes parameters after every step: give "
                "`update`, which calls your optimiser's step and zero_grad"
            )
        if not isinstance(target, Tensor):
            raise InputError(
                f"the target is a {type(target).__name__}; give a tensor, (N, ...), and let the "
                "loss hold everything else"
            )
        if each_step and len(target) != steps:
            raise InputError(f"a target for each of {steps} steps, found {len(target)}")
        batch = Batch(shown, steps, target, constant, samples=len(shown[0]))
        of_step: Loss = LossOfStep(loss, steps if each_step else 0)
        with ExitStack() as held:
            if regularisers:
                wiring = wiring_of(module, steps, regularisers, fan_out)
                of_step = PricedLoss(of_step, regularisers, batch.size, wiring)
                held.enter_context(of_step.watching(module))
            result = self.train_batch(
                as_model(module),
                batch,
                of_step,
                update or (lambda: None),
                generator or torch.default_generator,
            )
        return result.loss

    @abstractmethod
    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add gradients to the parameters' ``grad`` and call ``update`` whenever it is time to.

        Most rules call it once, at the end. The gradients are then those of the whole batch, and
        are still there afterwards if ``update`` leaves them.

        Args:
            model: its state is reset here.
            batch: input of T steps and labels.
            loss: l, the loss of one step.
            update: applies the gradients.
            generator: of a rule's own random draws, on the CPU.
        """


def learn_each_step(
    show: Callable[[int], Tensor],
    batch: Batch,
    loss: Loss,
    at_once: int = 1,
    after: Update | None = None,
) -> BatchResult:
    """Add d(l[t]/T)/dW for t = 1..T, some steps at a time: the loop of SLTT and OTTT.

    Every step goes backward as soon as it has gone forward. Only its graph exists then, so that
    memory does not depend on T.

    Args:
        show: outputs (c, N, classes) of the next c steps of a network that carries its state
            without a graph.
        batch, loss: as in ``Rule.train_batch``.
        at_once: c; the last part of T steps may have fewer.
        after: called after every part.
    """
    summed_loss = total = torch.zeros((), device=batch.labels.device)
    for count in parts(batch.steps, at_once):
        outputs = show(count)
        part_loss = loss.over_steps(outputs, batch.labels) / batch.steps
        part_loss.backward()
        summed_loss = summed_loss + part_loss.detach()
        total = total + outputs.detach().sum(0)
        if after is not None:
            after()
    return BatchResult(summed_loss, total)
