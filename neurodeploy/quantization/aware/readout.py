"""Read-outs in integers held by floats, as the chip computes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurodeploy.ir.fixed_point import STATE_LIMIT
from neurodeploy.nn.current import LI
from neurodeploy.nn.steps import over_steps
from neurodeploy.quantization.aware.currents import BiasedCurrents, decayed
from neurodeploy.quantization.aware.grid import Grid, held
from neurodeploy.quantization.aware.neurons import Bias, integer_share, wrapped
from neurodeploy.target import Target


class QuantizedReadout(nn.Module):
    """The read-out's synapse with its bias, from state units to outputs o[t].

    The chip sums what arrives in v, which saturates at 24 bits: o[t] is what step t adds to v, so
    that sum_t o[t] is v at the end. Gradients pass as if there were no limit.

    Attributes:
        synapse: the last weighted layer.
        grid: scale and limits.
    """

    def __init__(self, synapse: nn.Module, grid: Grid, bias: Bias) -> None:
        super().__init__()
        self.synapse = synapse
        self.grid = grid
        self.float_bias = bias
        self._v: Tensor | None = None

    def reset_state(self, cut: bool) -> None:
        """Start a batch: v = 0. Gradients never cross its steps."""
        self._v = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, classes)."""
        y = self.synapse(x)
        return self._added(y.unsqueeze(0)).squeeze(0) if self.grid.is_active else y

    def over_steps(self, x: Tensor) -> Tensor:
        """The same for c steps, (c, N, in) to (c, N, classes)."""
        y = over_steps(self.synapse, x)
        return self._added(y) if self.grid.is_active else y

    def _added(self, y: Tensor) -> Tensor:
        """What each step adds to v in units of the network, (c, N, classes) in and out."""
        bias = self.float_bias()
        drive = y if self.training else wrapped(y)
        drive = drive if bias is None else drive + self.grid.bias(bias)
        with torch.no_grad():
            cut_off = torch.empty_like(drive)
            for z, lost in zip(drive, cut_off, strict=True):
                before = torch.zeros_like(z) if self._v is None else self._v
                self._v = (before + z).clamp_(1 - STATE_LIMIT, STATE_LIMIT - 1)
                torch.sub(self._v - before, z, out=lost)
        return (drive + cut_off) / self.grid.unit()


class QuantizedLI(BiasedCurrents):
    """Leaky integrators on a grid, behind currents or not; before it is active, those in floats.

    v[t] = trz(v[t-1], d) + u[t] + b saturates at 24 bits; o[t] is v[t], or what step t adds to
    it, in units of the network. Gradients are those of the layer in floats, taken at the integers.

    Attributes:
        layer: the layer in floats.
    """

    def __init__(self, layer: LI, grid: Grid, target: Target, bias: Bias) -> None:
        super().__init__(grid, target, bias)
        self.layer = layer
        self._v: Tensor | None = None

    @property
    def remembers(self) -> bool:
        """Whether there are currents, so that a bias comes in through them."""
        keep = self.layer.u_keep
        return isinstance(keep, Tensor) or keep != 0

    def reset_state(self, cut: bool) -> None:
        """Start a batch: u = v = 0, and choose whether gradients are cut between steps."""
        super().reset_state(cut)
        self.layer.reset_state(cut)
        self._v = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, classes) in state units to o[t] in units of the network."""
        return self.over_steps(x.unsqueeze(0)).squeeze(0)

    def over_steps(self, x: Tensor) -> Tensor:
        """The same for c steps, (c, N, classes)."""
        if not self.grid.is_active:
            return self.layer.over_steps(x)
        if self.remembers:
            learned = self.layer.learned("tau_syn_w") is not None
            drive = self.currents(x, self.layer.u_keep, learned)
        else:
            bias = self.float_bias()
            drive = x if self.training else wrapped(x)
            drive = drive if bias is None else drive + self.grid.bias(bias)
        kept, outputs = integer_share(self.layer.keep, self.target), []
        for z in drive:
            before = self._v
            v = held(z if before is None else decayed(before, kept) + z)
            gained = v if before is None else v - before
            outputs.append(v if self.layer.decode == "sum_v" else gained)
            self._v = v.detach() if self._cut else v
        return torch.stack(outputs) / self.grid.unit()
