"""The processes that train together, as ``accelerate launch`` or ``torchrun`` started them.

Without a launcher there is one process, and nothing here loads accelerate or torch. With one, each
process runs the same command; number 0 is the main one, which alone writes files and speaks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from neurodeploy.errors import InputError, NeurodeployError, SimulationError, Text, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers say a process's number and how many there are; accelerate reads these too."""

PATIENCE = timedelta(hours=1)
"""How long a process waits for another, which may be fetching a data set, before it gives up."""

GRACE = 3.0
"""Seconds that a process which ends in an error leaves the main one to say it."""

UNSUPPORTED = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}


class ContactLostError(SimulationError):
    """Another process of this launch is gone."""


def is_launched() -> bool:
    """Whether ``accelerate launch`` or ``torchrun`` started this process."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ or {RANKS[0], SIZES[0]} <= os.environ.keys()


def is_main() -> bool:
    """Whether this is the process that speaks for all, known without connecting them."""
    return not is_launched() or _first_of(RANKS, 0) == 0


def give_way() -> None:
    """Wait for the main process to speak: a launcher ends all as soon as one has ended."""
    if not is_main():
        time.sleep(GRACE)


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them; by default it is alone.

    Attributes:
        index: its number; 0 is the main process.
        count: how many there are.
        local_index: its number on its machine.
        device: name of the torch device that the launcher gave it; empty without a launcher.
    """

    index: int = 0
    count: int = 1
    local_index: int = 0
    device: str = ""

    @property
    def is_main(self) -> bool:
        """Whether it writes the files."""
        return self.index == 0

    def on_main(self, call: Callable[[], T]) -> T:
        """What ``call`` returns on the main process, which alone runs it; it must pickle.

        Raises:
            NeurodeployError: the main process's own, on all.
        """
        if self.count == 1:
            return call()
        from accelerate.utils import broadcast_object_list

        outcome: list[Any] = [None]
        if self.is_main:
            try:
                outcome = [call()]
            except NeurodeployError as error:
                outcome = [error]
        with _contact():
            broadcast_object_list(outcome)
        if isinstance(outcome[0], NeurodeployError):
            raise outcome[0]
        return outcome[0]

    def on_each_machine_first(self, call: Callable[[], T]) -> T:
        """What ``call`` returns here, run on one process of each machine before the others.

        For work of which the first caller leaves something that the others find, as a download.
        """
        if self.count == 1:
            return call()
        results: list[T] = []
        for turn in (True, False):
            with self.together():
                if (self.local_index == 0) == turn:
                    results.append(call())
        return results[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Leave the block together: an error of one process in it is raised on all.

        In the block itself the processes may not exchange anything.
        """
        if self.count == 1:
            yield
            return
        failure: NeurodeployError | None = None
        try:
            yield
        except NeurodeployError as error:
            failure = error
        (failures,) = self.total(float(failure is not None))
        if failures:
            self._raise_first(failure)

    def _raise_first(self, failure: NeurodeployError | None) -> None:
        """Raise the error of the first process that has one."""
        from accelerate.utils import gather_object

        with _contact():
            found: list[NeurodeployError | None] = gather_object([failure])
        index, error = next((i, error) for i, error in enumerate(found) if error is not None)
        raise error if index == 0 else type(error)(Text(f"process {index}: ", error.text))

    def total(self, *values: float) -> list[float]:
        """Each number summed over all processes, in float64."""
        if self.count == 1:
            return list(values)
        import torch

        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        self.add([summed])
        return summed.tolist()

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange.

        Args:
            tensors: on this process's device, of the same shapes everywhere; changed in place.
        """
        if self.count == 1 or not tensors:
            return
        import torch

        joined = torch.cat([tensor.flatten() for tensor in tensors])
        with _contact():
            torch.distributed.all_reduce(joined)
        parts = joined.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


@cache
def connect() -> Processes:
    """Find the other processes of this launch; without a launcher there are none.

    Raises:
        UnsupportedError: the launcher was told to do what training here does not do.
        InputError: the processes cannot reach each other.
    """
    if not is_launched():
        return Processes()
    _check_launcher()
    import torch
    from accelerate import PartialState
    from accelerate.utils import is_npu_available, is_xpu_available

    count = _first_of(SIZES, 1)
    accelerators = torch.cuda.is_available() or is_xpu_available() or is_npu_available()
    try:
        # Processes without an accelerator each are connected only when told that they have none.
        state = PartialState(cpu=_wants_cpu() or (count > 1 and not accelerators), timeout=PATIENCE)
    except (RuntimeError, ValueError, OSError, NotImplementedError) as error:
        raise InputError(f"the launched processes cannot be connected: {error}") from None
    if state.num_processes != count:
        raise InputError(f"{count} processes were launched, but {state.num_processes} connected")
    return Processes(
        state.process_index, state.num_processes, state.local_process_index, str(state.device)
    )


def disconnect() -> None:
    """Close what ``connect`` opened, at the end of a program."""
    if is_launched():
        from accelerate import PartialState

        PartialState().destroy_process_group()


def _check_launcher() -> None:
    """Refuse settings of the launcher that would go unheard.

    Raises:
        UnsupportedError: there are such.
    """
    for variable, name in UNSUPPORTED.items():
        if os.environ.get(variable, "false").lower() == "true":
            raise UnsupportedError(
                f"accelerate launch asks for {name}; training here is data-parallel only: each "
                "process holds the whole network. Launch without it"
            )
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        raise UnsupportedError("accelerate launch asks for a dynamo backend; launch without it")
    if _wants_cpu() and "MASTER_PORT" in os.environ and _first_of(SIZES, 0) == 0:
        # accelerate 1.15 sets the port because several were asked for, and then starts one.
        raise UnsupportedError(
            "accelerate launch --cpu starts one process, whatever --num_processes says, unless "
            "mpirun starts more. Use: torchrun --nproc_per_node 2 -m neurodeploy train ..., or "
            "say --num_processes 1"
        )


def _wants_cpu() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on")


@contextmanager
def _contact() -> Iterator[None]:
    """Around an exchange, which ends with a RuntimeError when another process is gone.

    Raises:
        ContactLostError: in its place.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise ContactLostError(
            f"contact with another process was lost ({reason}); if nothing else says why, it was "
            "killed, for example because memory ran out"
        ) from None


def _first_of(variables: Sequence[str], default: int) -> int:
    """The first of these environment variables that is set."""
    return next((int(os.environ[name]) for name in variables if name in os.environ), default)
