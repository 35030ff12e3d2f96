"""Network families. A new one is a file with an options dataclass, and a line in ``FAMILIES``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurodeploy.errors import InputError, nearest
from neurodeploy.nn.current import CubaLIF
from neurodeploy.nn.families.conv import Conv
from neurodeploy.nn.families.dense import Mlp, Recurrent
from neurodeploy.nn.families.readout import take_readout, with_readout
from neurodeploy.nn.families.resnet import NFResNet, ResNet18
from neurodeploy.nn.families.user import build_users, is_users
from neurodeploy.nn.families.vgg import Vgg11, Vgg11WS
from neurodeploy.nn.network import Family, SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.populations import check_all_used
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.support.schema import build

FAMILIES: dict[str, type[Family]] = {
    "conv": Conv,
    "mlp": Mlp,
    "nf_resnet": NFResNet,
    "recurrent": Recurrent,
    "resnet18": ResNet18,
    "vgg11": Vgg11,
    "vgg11_ws": Vgg11WS,
}


def build_network(
    options: Mapping[str, Any],
    sample_shape: tuple[int, ...],
    classes: int,
    neuron: NeuronRecipe,
    where: str = "[network]",
) -> SpikingNetwork:
    """Build a network of a family, with weights from torch's global generator.

    Args:
        options: the ``family`` by name, its options, and as ``readout`` a kind of ``Readout`` or
            its options; or ``file.py:function`` or ``package.module:function``, and what that
            function takes.
        sample_shape: shape of one sample, without batch.
        neuron: constants of all hidden neurons.
        where: names the options in messages.

    Raises:
        InputError: unknown family or option, or options that do not suit the samples.
        UnsupportedError: a user's own module that no network can express.
    """
    rest = dict(options)
    name = rest.pop("family")
    if is_users(name):
        return build_users(name, rest, sample_shape, classes, neuron, where)
    if name not in FAMILIES:
        raise InputError(f"[network] family {name!r} is not known{nearest(name, FAMILIES)}")
    readout = take_readout(rest, where)
    network = build(FAMILIES[name], rest, where).build(sample_shape, classes, neuron)
    check_all_used(neuron, sum(isinstance(m, LIF | CubaLIF) for m in network.layers.values()))
    return with_readout(network, readout, neuron, classes)


__all__ = ["FAMILIES", "Family", "SpikingNetwork", "build_network"]
