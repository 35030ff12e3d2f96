"""E-prop (after Bellec et al. 2020) with resets in its traces, carried on by the layers above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.nn.constants import Parameter
from neurodeploy.nn.current import LI, CubaLIF, spiking
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.rules.any_module import Forward, Model, replaced
from neurodeploy.rules.rule import Batch, BatchResult, Loss, Rule, Update, learn_each_step
from neurodeploy.sparsity import PricedLoss


@dataclass(frozen=True)
class EProp(Rule):
    """Each synapse carries what its past input still does to its neuron's membrane.

    For the synapse from i to neuron j, with the errors E_j[t] = (1/T) dl[t]/ds_j[t] that SLTT has,
    those of the layers above within the step:

    a_i[t] = u_keep a_i[t-1] + s_i[t]                              current; s_i without one
    e_ji[t] = keep dv_j/du_j[t-1] e_ji[t-1] + a_i[t]               du_j[t]/dW_ji, own membrane only
    f_ji[t] = ds_j/du_j[t] e_ji[t]                                 what of it reaches the spike
    m_ji[t] = keep mean_k(dv_k/du_k[t-1]) m_ji[t-1] + f_ji[t]      for each layer of neurons k above
    dL/dW_ji = sum_t E_j[t] m_ji[t]                                m = f without a layer above

    e is the eligibility vector of Bellec et al. 2020 (Methods), here with the path through the
    reset: dv/du = 1 - Vth ds/du for ``subtract``, and 1 - s - u ds/du for ``zero``. m lets the mark
    that a spike leaves on the membranes above outlive the step, as there the filter of the readout
    does; a layer above has a current's filter too where it has a current. With the mean over its
    neurons k in place of each of them, it stays one value per synapse and sample.

    In the last layer of neurons this is the gradient of backpropagation through time, except for
    recurrent projections: what spikes do through these is left out, as there.

    A fully connected layer needs 1 + (layers of neurons above) values per synapse and sample, and
    as many again where those have currents, however large T is. Constants of neurons get their
    gradient within the step, as by SLTT. The price of a regulariser acts on a spike itself and not
    through the membranes above, so its error has f for its trace.
    """

    def train_batch(
        self,
        model: Model,
        batch: Batch,
        loss: Loss,
        update: Update,
        generator: torch.Generator,
    ) -> BatchResult:
        """Add sum_t of errors times traces, both with the loss factor 1/T."""
        groups = _groups(model)
        assert isinstance(model, SpikingNetwork)
        names = {layer: name for name, layer in model.layers.items()}
        model.reset_state(cut=True)
        frames = iter(batch.frames)

        def show(_: int) -> Tensor:
            return model(next(frames)).unsqueeze(0)

        def learn() -> None:
            for group in groups:
                group.advance()
            errors = loss.errors if isinstance(loss, PricedLoss) else {}
            for group in groups:
                price = errors.get(names[group.layer])
                group.look_back(None if price is None else price.squeeze(0) / batch.steps)

        with ExitStack() as held:
            for group in groups:
                held.enter_context(group.watched())
            result = learn_each_step(show, batch, loss, after=learn)
        update()
        return result


class _Neurons:
    """A layer of neurons with the fully connected layers that it reads, for one batch."""

    def __init__(self, layer: LIF | CubaLIF | LI, synapses: list[nn.Linear]) -> None:
        self.layer = layer
        self.above: list[_Neurons] = []
        current = 0.0 if isinstance(layer, LIF) else _value(layer.u_keep)
        self.traces = [_SynapseTrace(synapse, current) for synapse in synapses]
        bias = None if isinstance(layer, LIF) else layer.bias
        self.own_bias = None if bias is None else _BiasTrace(bias)
        self.current = current
        # Of each neuron and sample (N, out): ds/du[t], du[t]/du[t-1] and du[t+1]/du[t].
        self.derivative = self.kept = self._next = torch.empty(0)
        self._output = torch.empty(0)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take notes of what the layers are given and give; their weights get no other gradient."""
        with ExitStack() as held:
            calls: dict[nn.Module, Forward] = {t.synapse: t.forward for t in self.traces}
            held.enter_context(replaced({**calls, self.layer: self._forward}))
            if self.own_bias is not None:
                held.enter_context(self.own_bias.without_graph())
            yield

    def _forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        self._output = type(self.layer).forward(self.layer, x)  # pyright: ignore[reportArgumentType]
        self._output.retain_grad()
        return self._output

    def advance(self) -> None:
        """Bring the traces to the step that has just been shown."""
        layer = self.layer
        before = self._next
        if isinstance(layer, LI):
            self.derivative = torch.ones_like(self._output)
            keep = torch.as_tensor(_value(layer.keep), dtype=torch.float64)
            self._next = keep.to(self._output) * self.derivative
        else:
            self.derivative, self._next = _derivatives(spiking(layer))
        # Nothing is kept before the first step, whatever the factor.
        self.kept = before if before.numel() else self._next
        for trace in self._all_traces():
            trace.advance(self.kept)

    def look_back(self, price: Tensor | None = None) -> None:
        """Add errors times traces to the parameters' gradients.

        Args:
            price: the part of the error, (N, out), that acts on the spikes of this step alone.
        """
        error = self._output.grad
        if error is None:
            return
        for trace in self._all_traces():
            if price is None or not self.above:
                trace.look_back(error, self)
            else:
                trace.look_back(error - price, self)
                trace.add(price.to(error) * self.derivative, trace.eligibility)

    def _all_traces(self) -> list[_Trace]:
        return [*self.traces, *([] if self.own_bias is None else [self.own_bias])]

    def smoothed(self, reaching: Tensor, filters: list[_Filter]) -> Tensor:
        """What of ``reaching``, (N, out, ...), its past included, the output at this step sees."""
        for filter, layer in zip(filters, self.above, strict=True):
            reaching = filter.step(reaching, layer)
        return reaching


class _Filter:
    """Of the membranes of one layer above."""

    def __init__(self) -> None:
        self._current: Tensor | None = None
        self._membrane: Tensor | None = None

    def step(self, x: Tensor, layer: _Neurons) -> Tensor:
        """One step of values (N, out, ...)."""
        current = _mean(layer.current)
        if current:
            before = self._current
            self._current = x.clone() if before is None else before.mul_(current).add_(x)
            x = self._current
        before = self._membrane
        if before is None:
            self._membrane = x.clone()
            return x
        kept = layer.kept.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1))
        if isinstance(layer.layer, LI) and layer.layer.decode == "last_v":
            change = (kept - 1) * before + x
            before.mul_(kept).add_(x)
            return change
        return before.mul_(kept).add_(x)


class _Trace:
    """Eligibilities of some parameters: e, and its filters by the layers above."""

    def __init__(self) -> None:
        self._eligibility: Tensor | None = None
        self._before: Tensor | None = None
        self._filters: list[_Filter] | None = None

    def _carry(self, kept: Tensor, arriving: Tensor, shape: tuple[int, ...]) -> None:
        """e[t] = kept e[t-1] + what arrives, of the shape (N, out, ...)."""
        if self._eligibility is None:
            self._eligibility = arriving.expand(shape).clone()
            return
        kept = kept.view(*kept.shape, *[1] * (len(shape) - kept.ndim))
        torch.addcmul(arriving, kept, self._eligibility, out=self._eligibility)

    def _seen(self, error: Tensor, neurons: _Neurons) -> tuple[Tensor, Tensor]:
        """Two factors of which the gradient is the sum over samples.

        Args:
            error: of the neurons' output, (N, out).

        Returns:
            The errors and m[t]; without a layer above, the errors times ds/du and e[t]: (N, out)
            and (N, out, ...).
        """
        eligibility = self._eligibility
        assert eligibility is not None, "advance comes first"
        error = error.to(eligibility.dtype)
        if isinstance(neurons.layer, LI) and neurons.layer.decode == "last_v":
            before, self._before = self._before, eligibility.clone()
            reaching = eligibility if before is None else eligibility - before
        elif not neurons.above:
            return error * neurons.derivative, eligibility
        else:
            derivative = neurons.derivative
            reaching = eligibility * derivative.view(
                *derivative.shape, *[1] * (eligibility.ndim - derivative.ndim)
            )
        if self._filters is None:
            self._filters = [_Filter() for _ in neurons.above]
        return error, neurons.smoothed(reaching, self._filters)

    @property
    def eligibility(self) -> Tensor:
        """e[t], (N, out, ...), or empty before anything has arrived."""
        return torch.empty(0) if self._eligibility is None else self._eligibility

    def add(self, factor: Tensor, seen: Tensor) -> None:
        """Add the sum over samples of (N, out) times (N, out, ...) to the gradients."""
        raise NotImplementedError

    @property
    def begun(self) -> bool:
        """Whether anything has arrived yet."""
        return self._eligibility is not None

    def advance(self, kept: Tensor) -> None:
        """One step; ``kept`` is du[t]/du[t-1], (N, out)."""
        raise NotImplementedError

    def look_back(self, error: Tensor, neurons: _Neurons) -> None:
        """Add the errors (N, out) of the neurons' output times the traces to the gradients."""
        if self.begun:
            self.add(*self._seen(error, neurons))


class _SynapseTrace(_Trace):
    """Of a fully connected layer's weights and its bias, which is one more input that is 1."""

    def __init__(self, synapse: nn.Linear, current: Parameter) -> None:
        super().__init__()
        self.synapse = synapse
        self._keep = torch.as_tensor(current, dtype=torch.float64)
        self._input: Tensor | None = None
        self._current: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives, without a graph to its parameters."""
        self._input = x.detach()
        bias = self.synapse.bias
        return F.linear(x, self.synapse.weight.detach(), None if bias is None else bias.detach())

    def advance(self, kept: Tensor) -> None:
        given, self._input = self._input, None
        if given is None:
            return  # the step before sent nothing yet
        weight = self.synapse.weight
        given = given.to(weight.dtype)
        if self.synapse.bias is not None:
            given = F.pad(given, (0, 1), value=1.0)
        arriving = given.unsqueeze(1)
        if self._keep.any():
            keep = self._keep.to(given).reshape(-1, 1)
            before = self._current
            arriving = self._current = arriving if before is None else keep * before + arriving
        self._carry(kept, arriving, (len(given), len(weight), given.shape[-1]))

    def add(self, factor: Tensor, seen: Tensor) -> None:
        if not self.begun:
            return
        found = torch.einsum("nj,nji->ji", factor.to(seen), seen)
        _add(self.synapse.weight, found[:, : self.synapse.in_features])
        if self.synapse.bias is not None:
            _add(self.synapse.bias, found[:, -1])


class _BiasTrace(_Trace):
    """Of the bias that neurons add behind their current."""

    def __init__(self, bias: nn.Parameter) -> None:
        super().__init__()
        self._bias = bias

    @contextmanager
    def without_graph(self) -> Iterator[None]:
        """Let the bias have no other gradient than this."""
        self._bias.requires_grad_(False)
        try:
            yield
        finally:
            self._bias.requires_grad_()

    def advance(self, kept: Tensor) -> None:
        self._carry(kept, torch.ones((), dtype=self._bias.dtype), tuple(kept.shape))

    def add(self, factor: Tensor, seen: Tensor) -> None:
        found = (factor * seen).sum(0)
        _add(self._bias, found.sum_to_size(self._bias.shape))


def _groups(model: Model) -> list[_Neurons]:
    """The neurons of a network and what they read, last layers first.

    Raises:
        UnsupportedError: parameters lie where no trace of a synapse stands for them.
    """
    if not isinstance(model, SpikingNetwork):
        raise UnsupportedError(
            "rule eprop needs a network whose layers are known: a family's, one from a file, or "
            "what from_torch makes of a module; use bptt, or sltt"
        )
    place = {name: index for index, name in enumerate([INPUT, *model.layers])}
    found: dict[str, _Neurons] = {}
    for name in reversed([*model.layers]):
        layer = model.layers[name]
        reached = _reached(model, name, place)
        if isinstance(layer, LIF | CubaLIF | LI):
            if not isinstance(layer, LI) and spiking(layer).refractory_period:
                raise UnsupportedError(
                    f"rule eprop has no trace for the refractory period of {name}; use bptt or sltt"
                )
            read = (model.layers[source] for source in model.sources[name] if source != INPUT)
            synapses = [
                source
                for source in read
                if isinstance(source, nn.Linear) and source.weight.requires_grad
            ]
            found[name] = _Neurons(layer, synapses)
            found[name].above = [found[other] for other in reached]
        elif any(parameter.requires_grad for parameter in layer.parameters()):
            direct = model.readers[name]
            fits = type(layer) is nn.Linear and len(direct) == 1
            if (reached or name in model.fed_back) and not (
                fits and isinstance(model.layers[direct[0]], LIF | CubaLIF | LI)
            ):
                raise UnsupportedError(
                    f"rule eprop has traces of fully connected layers that one layer of neurons "
                    f"reads, not of {name} ({type(layer).__name__}); use bptt, ottt or sltt"
                )
    return list(found.values())


def _reached(model: SpikingNetwork, name: str, place: Mapping[str, int]) -> list[str]:
    """The layers of neurons behind a layer within a step, nearest first."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        for reader in model.readers[at]:
            if place[reader] > place[at] and reader not in seen:
                seen.add(reader)
                waiting.append(reader)
    neurons = (LIF, CubaLIF, LI)
    return sorted((n for n in seen if isinstance(model.layers[n], neurons)), key=place.__getitem__)


def _derivatives(layer: LIF) -> tuple[Tensor, Tensor]:
    """ds/du and keep dv/du of the step that a layer has just seen, both (N, out)."""
    u, threshold = layer.u, layer.v_threshold
    assert u is not None, "a step was shown"
    derivative = layer.surrogate(u - threshold, threshold)
    if layer.reset == "subtract":
        kept = 1 - threshold * derivative
    else:
        kept = 1 - layer.fired(u) - u * derivative
    return derivative, kept * _value(layer.keep)


def _value(constant: Parameter) -> Parameter:
    """A constant without the graph to what it is learned by."""
    return constant.detach() if isinstance(constant, Tensor) else constant


def _mean(value: Parameter) -> float:
    return float(value.detach().mean()) if isinstance(value, Tensor) else value


def _add(parameter: Tensor, gradient: Tensor) -> None:
    gradient = gradient.to(parameter.dtype)
    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient
