"""A loss with the prices of regularisers, step by step, whatever rule goes backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from neurodeploy.errors import InputError
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.populations import spikes
from neurodeploy.sparsity.regulariser import Regulariser, Wiring

Note = Callable[[str, Tensor], None]
"""Is shown the name and the spikes of a layer, (N, ...) or (c, N, ...), with their graph."""


class StepsLoss(Protocol):
    """The loss of steps, as rules take it."""

    def __call__(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Loss of one step, (N, ...), a scalar."""
        ...

    def over_steps(self, outputs: Tensor, labels: Tensor, /) -> Tensor:
        """Sum of the losses of c steps, (c, N, ...), a scalar."""
        ...


class PricedLoss:
    """A loss whose gradient, but not whose value, has the prices of regularisers in it.

    While ``watching``, it sees the spikes of every layer of hidden neurons as they are computed.
    With the loss of c steps it gives these spikes their errors, and lets go of them: what stays are
    sums over the steps so far, one number per neuron.

    Attributes:
        of_outputs: the loss itself.
        errors: by layer, what the prices of the last steps add to dL/ds times T, (c, N, *shape).
    """

    def __init__(
        self,
        of_outputs: StepsLoss,
        regularisers: Sequence[Regulariser],
        samples: int,
        wiring: Wiring,
        lengths: Tensor | None = None,
        factor: float = 1.0,
    ) -> None:
        """Nothing seen yet.

        Args:
            samples: N.
            wiring: with T, and fan-outs where a regulariser needs them.
            lengths: steps that each sample lasts, (N,), from 1 to T; None where all last T. Those
                after its end have no price.
            factor: of the prices, as the loss has it in itself.
        """
        self.of_outputs = of_outputs
        self.errors: dict[str, Tensor] = {}
        self._regularisers = tuple(regularisers)
        self._samples = samples
        self._wiring = wiring
        self._lengths = lengths
        self._factor = factor
        self._step = 0
        self._waiting: dict[str, list[Tensor]] = {}
        self._summed: dict[str, Tensor] = {}

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """See the spikes of a network, or of a module whose calls are steps."""
        if isinstance(module, SpikingNetwork):
            hidden = hidden_layers(module)
            _ = module.shapes  # found by a step of its own, which is none of the batch's

            def look(name: str, output: Tensor) -> None:
                if name in hidden:
                    self.note(name, output)

            module.watch = look
            try:
                yield
            finally:
                module.watch = None
            return

        def hook(name: str) -> Callable[[nn.Module, object, Tensor], None]:
            return lambda layer, given, output: self.note(name, output)

        layers = spiking_layers(module)
        handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def note(self, name: str, output: Tensor) -> None:
        """Keep the spikes of a layer until the loss of their steps is asked for."""
        self._waiting.setdefault(name, []).append(output)

    def forget(self) -> None:
        """Let go of the spikes that were seen and have no loss yet."""
        self._waiting = {}

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of the next step, a scalar."""
        return self._with_prices(self.of_outputs(outputs, labels), 1)

    def over_steps(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Sum of the losses of the next c steps, (c, N, ...), a scalar."""
        return self._with_prices(self.of_outputs.over_steps(outputs, labels), len(outputs))

    def of_rates(self, loss: Tensor) -> Tensor:
        """A loss of mean outputs, with the prices of the mean rates that layers showed for it."""
        rates = {name: shown[-1].unsqueeze(0) for name, shown in self._waiting.items()}
        self.forget()
        means = {name: rate.detach().mean(1) for name, rate in rates.items()}
        return self._added(loss, rates, self._slopes(means), 1 / self._samples)

    def _with_prices(self, loss: Tensor, count: int) -> Tensor:
        seen = {name: self._steps_of(name, shown, count) for name, shown in self._waiting.items()}
        self.forget()
        shape = (count, self._samples)
        own = torch.ones(shape, dtype=torch.float64, device=loss.device)
        of_all = self._samples * self._wiring.steps
        if self._lengths is not None:
            now = torch.arange(self._step, self._step + count, device=loss.device)
            own = (now[:, None] < self._lengths).to(own.dtype)
            of_all = int(self._lengths.sum())
            first = self._lengths.clamp(max=self._step).sum()
        else:
            first = torch.tensor(self._samples * self._step, device=loss.device)
        steps_so_far = (first + own.sum(1).cumsum(0)).clamp(min=1)
        self._step += count
        rates: dict[str, Tensor] = {}
        for name, shown in seen.items():
            # Wide enough for sums of spikes, whatever the precision of training.
            wide = shown.detach().to(torch.promote_types(shown.dtype, torch.float32))
            if self._lengths is not None:
                wide = wide * own.to(wide).view(*shape, *[1] * (wide.ndim - 2))
            each = wide.sum(1).cumsum(0)
            if name in self._summed:
                each = each + self._summed[name]
            self._summed[name] = each[-1].clone()
            rates[name] = each / steps_so_far.to(wide).view(-1, *[1] * (each.ndim - 1))
        return self._added(loss, seen, self._slopes(rates), own * (self._wiring.steps / of_all))

    def _steps_of(self, name: str, shown: list[Tensor], count: int) -> Tensor:
        """The spikes of a layer at the last steps, (c, N, *shape)."""
        joined = shown[0] if len(shown) == 1 else torch.stack(shown)
        if count == 1 and joined.shape[0] == self._samples:
            joined = joined.unsqueeze(0)
        if joined.shape[:2] != (count, self._samples):
            raise InputError(
                f"regularisers: layer {name} gives spikes of shape {tuple(joined.shape)} for "
                f"{count} steps of {self._samples} samples; a layer of neurons is used once a step"
            )
        return joined

    def _slopes(self, rates: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """dP/dr of all regularisers together, (c, *shape)."""
        total: dict[str, Tensor] = {}
        for regulariser in self._regularisers if rates else ():
            for name, slope in regulariser.slopes(rates, self._wiring).items():
                total[name] = total[name] + slope if name in total else slope
        return total

    def _added(
        self,
        loss: Tensor,
        seen: Mapping[str, Tensor],
        slopes: Mapping[str, Tensor],
        share: Tensor | float,
    ) -> Tensor:
        """The loss with errors for spikes: slope times share, of each step and sample."""
        self.errors, total = {}, loss.new_zeros(())
        for name, slope in slopes.items():
            error = slope.unsqueeze(1)
            if isinstance(share, Tensor):
                error = error * share.to(slope).view(*share.shape, *[1] * (slope.ndim - 1))
            else:
                error = (error * share).expand_as(seen[name])
            self.errors[name] = error = error * self._factor
            if seen[name].requires_grad:
                total = total + (error * seen[name]).sum()
        return loss + (total - total.detach())


def spiking_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Layers of neurons of any module, by name with ``_`` for ``.``, none within another."""
    found: dict[str, nn.Module] = {}
    within: set[nn.Module] = set()
    for name, layer in module.named_modules():
        if spikes(layer) and layer not in within:
            within |= {*layer.modules()}
            found[name.replace(".", "_")] = layer
    return found


def hidden_layers(network: SpikingNetwork) -> tuple[str, ...]:
    """Names of the layers of neurons that are not the network's output, in order."""
    *rest, _ = network.layers.items()
    return tuple(name for name, layer in rest if spikes(layer))
