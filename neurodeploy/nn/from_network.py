"""From a discrete float network, imported from anywhere, to a torch module that can be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
from torch import Tensor, nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.models import only_leaky
from neurodeploy.ir.network import Network, Neuron, Population, Projection
from neurodeploy.ir.operators import Dense, Shape
from neurodeploy.neurons.constant import bias_name, is_constant, joined_biases
from neurodeploy.nn.constants import Parameter
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.layers import Constant, Delay
from neurodeploy.nn.network import INPUT, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.surrogate import Surrogate
from neurodeploy.nn.synapses import Part, as_layer, as_tensor, parts_to_train, takes_bias


def to_torch(
    network: Network,
    *,
    sample_shape: Shape | None = None,
    surrogate: str | Surrogate = "triangle",
) -> SpikingNetwork:
    """The network as a torch module whose forward pass gives the spikes of the float engine.

    Layers of neurons have the names of their populations, with ``_`` where torch allows no dot, and
    layers with weights the names of their projections. Each call takes the input of one step,
    (N, *sample_shape), integers divided by the contract's ``levels``, and returns the output o[t],
    (N, outputs); ``reset_state`` starts a batch. The class is argmax of sum_t o[t], where o[t]
    depends on the contract's ``decode``:

    =============  =====================================================================
    spike_count    o[t] is the spikes of the output population
    last_v         o[t] is v[t] - v[t-1], whose sum is the last v: the drive itself for an
                   integrator without leak and current, which then has no separate layer,
                   otherwise that of an ``LI``
    sum_v          o[t] is v[t] of an ``LI``
    =============  =====================================================================

    Weights and biases are parameters; thresholds and leaks are fixed. Poolings that the import
    merged into the weights behind them are separated again, so that these weights are those of the
    file.

    Args:
        sample_shape: of samples that are flattened first; the input's own shape when None.
        surrogate: ds/du in training, a name from ``nn.surrogate.SURROGATES`` or such a function.

    Returns:
        The module, with parameters in float64; ``.float()`` converts them to float32.

    Raises:
        UnsupportedError: something that torch layers cannot express, by its name in the network.
    """
    return _Builder(network, sample_shape, surrogate).build()


class _Builder:
    """Layers and what each reads, population by population."""

    def __init__(
        self, network: Network, sample_shape: Shape | None, surrogate: str | Surrogate
    ) -> None:
        self.network = network
        self.surrogate = surrogate
        self.layers: dict[str, nn.Module] = {}
        self.sources: dict[str, tuple[str, ...]] = {}
        self.place = {p.name: number for number, p in enumerate(network.populations)}
        if len(network.inputs) != 1:
            found = len(network.inputs)
            raise UnsupportedError(f"{network.name}: has {found} inputs, a module has one")
        (self.input,) = network.inputs
        self.sample_shape = sample_shape or self.input.shape
        self.taken = {INPUT}
        self.named = {self.input.name: INPUT}
        self.constants = {p.name for p in network.populations if is_constant(p)}
        for population in network.populations:
            if population.neuron is not None and population.name not in self.constants:
                self.named[population.name] = self._free(population.name)

    def build(self) -> SpikingNetwork:
        network = self.network
        _check_output(network)
        if self.sample_shape != self.input.shape:
            at = self._reshaped(INPUT, self.sample_shape, self.input.shape, self.input.name)
            self.named[self.input.name] = at
        read = ""
        for population in network.populations:
            if population.name in self.named and population.neuron is not None:
                at = self._population(population)
                read = at if population.name == network.output else read
        shape = network.population(network.output).shape
        read = self._reshaped(read, shape, (math.prod(shape),), network.output)
        if read != [*self.layers][-1]:
            self._add(f"{network.output}_read", nn.Identity(), read)
        return SpikingNetwork(self.layers, self.sample_shape, self.sources)

    def _population(self, population: Population) -> str:
        """Add everything that leads to a population, and its neurons; the name of the last."""
        name, neuron = population.name, population.leaky
        incoming = [p for p in self.network.projections if p.target == name]
        incoming, late = joined_biases(incoming, self.constants)
        # What acts within the step first: a bias goes there.
        incoming.sort(key=lambda p: not self._forward(p))
        chains = {p.name: parts_to_train(p.operator) for p in incoming}
        direct = [p for p in incoming if self._forward(p)]
        bias = np.broadcast_to(np.asarray(neuron.bias, np.float64), population.shape)
        carrier, own = self._bias_carrier(direct, chains, neuron, bias)
        carried = {} if carrier is None else {carrier: bias}
        # A layer that reads the step before is silent at the first one, its bias as well.
        back = [p for p in incoming if p.delay == 1 and not self._forward(p)]
        for delay, taking in ((0, direct), (1, back)):
            taken = _taking(taking, chains, late[delay]) if delay in late else None
            if taken is not None and taken not in carried:
                carried[taken] = late.pop(delay)
        ends = [self._chain(p, chains[p.name], population, carried.get(p.name)) for p in incoming]
        ends += self._constants(name, late)
        constant = own is not None and not np.any(neuron.u_keep)
        if constant or not direct:
            # Without input in the first step, a layer would only start with the second.
            values = as_tensor(bias if constant else np.zeros_like(bias))
            layer = Constant(values, learns=constant)
            ends.append(self._add(f"{name}_bias", layer, self.named[self.input.name]))
        integrates = (
            neuron.v_threshold is None
            and not np.any(neuron.u_keep)
            and np.all(neuron.v_keep == 1)
            and self.network.contract.decode == "last_v"
        )
        if integrates and len(ends) == 1 and ends[0] == [*self.layers][-1]:
            return ends[0]
        own_bias = None if own is None or constant else as_tensor(own)
        layer = nn.Identity() if integrates else self._neurons(population, own_bias)
        return self._add(self.named[name], layer, *ends, taken=True)

    def _neurons(self, population: Population, bias: Tensor | None) -> nn.Module:
        neuron, shape, where = population.leaky, population.shape, population.name
        keep, u_keep = _constant(neuron.v_keep, shape), _constant(neuron.u_keep, shape)
        if neuron.v_threshold is None:
            decode: Any = self.network.contract.decode
            return LI.keeping(keep, u_keep, bias, decode if decode != "spike_count" else "sum_v")
        if np.any(neuron.v_threshold <= 0):
            raise UnsupportedError(
                f"population {where!r}: a threshold of {np.min(neuron.v_threshold):g} has no "
                "surrogate gradient; thresholds must be above 0 to be trained with"
            )
        threshold = _constant(neuron.v_threshold, shape)
        options = (threshold, neuron.reset, neuron.comparison, self.surrogate)
        rest = neuron.refractory_period
        if not np.any(neuron.u_keep):
            return LIF.keeping(keep, *options, refractory_period=rest)
        return CubaLIF.keeping(keep, u_keep, *options, bias=bias, refractory_period=rest)

    def _bias_carrier(
        self,
        direct: list[Projection],
        chains: dict[str, list[Part]],
        neuron: Neuron,
        bias: np.ndarray,
    ) -> tuple[str | None, np.ndarray | None]:
        """The projection whose last layer takes the bias, or else the bias itself."""
        if not np.any(bias):
            return None, None
        carrier = None if np.any(neuron.u_keep) else _taking(direct, chains, bias)
        return carrier, None if carrier else bias

    def _constants(self, target: str, biases: dict[int, np.ndarray]) -> list[str]:
        """Add what is added to the input of a population from some step on."""
        found = []
        for delay, bias in biases.items():
            name = bias_name(target, delay)
            at = self._add(name, Constant(as_tensor(bias)), self.named[self.input.name])
            found.append(self._add(f"{name}_delay", Delay(delay), at) if delay else at)
        return found

    def _chain(
        self,
        projection: Projection,
        parts: list[Part],
        population: Population,
        bias: np.ndarray | None,
    ) -> str:
        """Add the layers of a projection; the name of the last, or of the source itself."""
        at = self.named[projection.source]
        shape = self.network.population(projection.source).shape
        waits = self._waits(projection)
        names = list(_labels(projection, parts))
        if waits:
            at = self._add(f"{names[-1]}_delay", Delay(waits), at)
        for number, (part, name) in enumerate(zip(parts, names, strict=False), 1):
            flat = (math.prod(part.input_shape),)
            wanted = flat if _is_flat(part) else part.input_shape
            at = self._reshaped(at, shape, wanted, name)
            layers = self._layers(part, bias if number == len(parts) else None, projection.name)
            *before, last = layers
            for layer in before:
                at = self._add(f"{name}_pad", layer, at)
            at = self._add(name, last, at)
            flat = (math.prod(part.output_shape),)
            shape = flat if _is_flat(part) else part.output_shape
        return self._reshaped(at, shape, population.shape, names[-1])

    def _layers(self, part: Part, bias: np.ndarray | None, projection: str) -> list[nn.Module]:
        try:
            return as_layer(part, bias)
        except UnsupportedError as error:
            raise UnsupportedError(f"projection {projection!r}: {error}") from None

    def _forward(self, projection: Projection) -> bool:
        """Whether the source comes before the target, so that it sends in the first step, too."""
        return self.place[projection.source] < self.place[projection.target]

    def _waits(self, projection: Projection) -> int:
        """Steps that a ``Delay`` has to wait.

        A layer that reads itself or a later one gets what that sent at the step before.
        """
        if self._forward(projection):
            return projection.delay
        if projection.delay < 1:
            raise UnsupportedError(
                f"projection {projection.name!r}: leads back without a delay, so that a step would "
                "depend on itself"
            )
        return projection.delay - 1

    def _reshaped(self, at: str, shape: Shape, wanted: Shape, name: str) -> str:
        """Add what brings an array to another shape of the same numbers."""
        if shape == wanted:
            return at
        if math.prod(shape) != math.prod(wanted):
            raise UnsupportedError(f"{name!r}: values of shape {shape} are no {wanted}")
        if len(shape) > 1:
            flat: nn.Module = nn.Flatten(*_flattening(shape, wanted))
            at = self._add(f"{name}_flatten", flat, at)
            shape = wanted if _flattening(shape, wanted) != (1, -1) else (math.prod(shape),)
        if shape == wanted:
            return at
        return self._add(f"{name}_unflatten", nn.Unflatten(1, wanted), at)

    def _add(self, wanted: str, layer: nn.Module, *sources: str, taken: bool = False) -> str:
        name = wanted if taken else self._free(wanted)
        self.layers[name] = layer
        self.sources[name] = sources
        return name

    def _free(self, wanted: str) -> str:
        """A name that torch allows and no other layer has; it is taken from now on."""
        wanted = wanted.replace(".", "_") or "unnamed"
        names = (f"{wanted}_{number}" if number else wanted for number in count())
        reserved = nn.ModuleDict()
        name = next(n for n in names if n not in self.taken and not hasattr(reserved, n))
        self.taken.add(name)
        return name


def _taking(
    direct: list[Projection], chains: dict[str, list[Part]], bias: np.ndarray
) -> str | None:
    """The first projection whose last layer takes a bias."""
    taking = (p.name for p in direct if chains[p.name] and takes_bias(chains[p.name][-1], bias))
    return next(taking, None)


def _check_output(network: Network) -> None:
    """Refuse read-outs that no sum over steps gives, and potentials that are sent on.

    Raises:
        UnsupportedError: there are some.
    """
    only_leaky(network, "a torch module")
    output, decode = network.population(network.output), network.contract.decode
    spikes = output.neuron is not None and output.neuron.spiking
    if output.neuron is None or spikes != (decode == "spike_count"):
        kind = "spikes" if spikes else "never spikes"
        raise UnsupportedError(
            f"population {output.name!r}: the output {kind}, so that its class cannot be read by "
            f"{decode}" + ("; state spike_count" if spikes else "; state sum_v or last_v")
        )
    for p in network.projections:
        neuron = network.population(p.source).neuron
        if neuron is not None and not neuron.spiking:
            raise UnsupportedError(
                f"projection {p.name!r}: leads on from {p.source!r}, which never spikes"
            )


def _constant(values: np.ndarray, shape: Shape) -> Parameter:
    """One number where all neurons have it, else one for each."""
    full = np.broadcast_to(np.asarray(values, np.float64), shape)
    return float(full.flat[0]) if (full == full.flat[0]).all() else as_tensor(full)


def _labels(projection: Projection, parts: list[Part]) -> Iterator[str]:
    """A name for each layer of a projection: those of the nodes it came from, if as many."""
    names = projection.name.split(" (")[0].split("+")
    if len(names) == len(parts) or not parts:
        yield from names
    elif len(parts) == 1:
        yield projection.name if len(names) == 1 else names[-1]
    else:
        yield from (f"{projection.name}_{number}" for number in range(1, len(parts)))
        yield names[-1]


def _is_flat(part: Part) -> bool:
    """Whether its layer takes and gives one axis."""
    return isinstance(part, Dense)


def _flattening(shape: Shape, wanted: Shape) -> tuple[int, int]:
    """First and last axis, counted with the batch, that ``nn.Flatten`` joins to give ``wanted``.

    All of them where that does not lead there.
    """
    joined = len(shape) - len(wanted) + 1
    for start in range(len(wanted)) if 1 < joined < len(shape) else ():
        end = start + joined
        if (*shape[:start], math.prod(shape[start:end]), *shape[end:]) == wanted:
            return start + 1, end
    return 1, -1
