"""Network families. A new one is a file with an options dataclass, and a line in ``FAMILIES``."""

from __future__ import annotations

from neurodeploy.data import Dataset
from neurodeploy.errors import InputError, nearest
from neurodeploy.nn.families.conv import Conv
from neurodeploy.nn.families.mlp import Mlp
from neurodeploy.nn.families.nf_resnet import NFResNet
from neurodeploy.nn.families.recurrent import Recurrent
from neurodeploy.nn.families.resnet18 import ResNet18
from neurodeploy.nn.families.vgg11 import Vgg11
from neurodeploy.nn.families.vgg11_ws import Vgg11WS
from neurodeploy.nn.network import Family, SpikingNetwork
from neurodeploy.recipe import Recipe
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


def build_network(recipe: Recipe, dataset: Dataset) -> SpikingNetwork:
    """Build the recipe's network for the data set, with weights from torch's global generator.

    Raises:
        InputError: unknown family or option, or options that do not suit the samples.
    """
    options = dict(recipe.network)
    name = options.pop("family")
    if name not in FAMILIES:
        raise InputError(f"[network] family {name!r} is not known{nearest(name, FAMILIES)}")
    family = build(FAMILIES[name], options, f"recipe {recipe.name}: [network]")
    return family.build(dataset.sample_shape, dataset.classes, recipe.neuron)


__all__ = ["FAMILIES", "Family", "SpikingNetwork", "build_network"]
