"""The neuron group of a layer in a ``.net``, as lava-dl's own reader takes it, or refused."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.interchange.hdf5 import Tree
from neurodeploy.interchange.netx.layers import NetChanges, NetNeuron
from neurodeploy.interchange.netx.values import exact, integers, word

NO_NEURONS = {
    "ALIF": "adaptive neurons",
    "ADRF": "adaptive resonate-and-fire neurons",
    "RF": "resonate-and-fire neurons",
}
"""By the start of their type: neurons other than Loihi's current-based LIF."""

SKIPPED = {"refDelay": (0, 1), "gradedSpike": (0,), "wgtExp": (0,), "weight_exp": (0,)}
"""Neuron parameters that lava-dl's reader skips, with the values for which that is harmless."""


def read_neuron(layer: Tree, kind: str, channels: int, where: str) -> NetNeuron | NetChanges:
    """The neurons of a layer.

    Args:
        layer: its group in the file.
        kind: type of the layer.
        channels: of the layer, or neurons of a flat one.
        where: begins messages.

    Raises:
        InputError: something in the file is damaged or missing.
        UnsupportedError: neurons that cannot be deployed, named with the reason.
    """
    tree = layer.get("neuron")
    if not isinstance(tree, dict):
        raise UnsupportedError(
            f"{where}: no neuron group, and lava-dl's defaults for one are faulty "
            "(du = -1, threshold 131,072); write type, iDecay, vDecay and vThMant into it"
        )
    where = f"{where}: neuron"
    model = word(tree, "type", where)
    if model not in ("CUBA", "LOIHI", "SDNN"):
        known = [text for start, text in NO_NEURONS.items() if model.startswith(start)]
        raise UnsupportedError(
            f"{where} type {model!r}{f' ({known[0]})' if known else ''}; CUBA, LOIHI and SDNN "
            "are read"
        )
    if "messageBits" in tree:
        raise UnsupportedError(f"{where} has messageBits, on which lava-dl's reader fails")
    if model == "SDNN":
        return _changes(tree, kind, "bias" in layer, where)
    _check_skipped(tree, SKIPPED, where)
    decays = [exact(tree, name, where) for name in ("iDecay", "vDecay")]
    for name, value in zip(("iDecay", "vDecay"), decays, strict=True):
        if value.shape not in ((), (1,), (channels,)):
            raise InputError(
                f"{where} {name} has shape {value.shape}; expected one number or one for each "
                f"of {channels} channels"
            )
    return NetNeuron(decays[0], decays[1], _threshold(tree, where))


def _changes(tree: Tree, kind: str, biased: bool, where: str) -> NetChanges:
    """Sigma-delta neurons; slayer names their activation, and lava-dl takes all for ReLU."""
    activation = word(tree, "activation", where) if "activation" in tree else "relu"
    if activation != "relu" and kind != "input":
        raise UnsupportedError(
            f"{where} has the activation {activation!r}, which lava-dl's reader skips: it runs a "
            "ReLU"
        )
    _check_skipped(tree, ("wgtExp", "weight_exp"), where)
    sums = "sigma_output" in tree and kind != "input"
    if sums and not integers(tree, "sigma_output", where).all():
        raise UnsupportedError(
            f"{where} has a sigma_output that is false, which lava-dl's reader takes for true"
        )
    if sums and biased:
        raise UnsupportedError(
            f"{where} has sigma_output beside a bias of its layer, on which lava-dl's reader fails"
        )
    return NetChanges(0 if sums else _threshold(tree, where), sums)


def _check_skipped(tree: Tree, names: Iterable[str], where: str) -> None:
    """Refuse values of what lava-dl's reader skips that would change the network.

    Raises:
        UnsupportedError: there is one.
    """
    for name in names:
        harmless = SKIPPED[name]
        if name in tree and not np.isin(integers(tree, name, where), harmless).all():
            raise UnsupportedError(
                f"{where} has {name} other than {' or '.join(map(str, harmless))}, which "
                "lava-dl's reader skips: what it runs is not what the file says"
            )


def _threshold(tree: Tree, where: str) -> int:
    threshold = exact(tree, "vThMant", where)
    if threshold.size != 1:
        raise UnsupportedError(
            f"{where} has {threshold.size} thresholds; Lava's neurons have one per layer"
        )
    if threshold.min() < 0:
        raise UnsupportedError(f"{where} threshold {threshold.item()}; it is at least 0")
    return threshold.item()
