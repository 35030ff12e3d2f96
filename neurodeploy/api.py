"""The library's functions on values in memory, over the same code as the command line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from neurodeploy.artifacts.deployment import Deployment, deployment_at, read_deployment
from neurodeploy.errors import ImportNote, InputError
from neurodeploy.interchange.netx import file as netx
from neurodeploy.interchange.netx.layers import MESSAGE_EXPONENT
from neurodeploy.interchange.nir import importing as nir
from neurodeploy.ir.network import Network
from neurodeploy.ir.operators import Shape
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping, map_network
from neurodeploy.quantization.scales import ScaleMethod
from neurodeploy.recipe import Recipe, load_recipe
from neurodeploy.support.files import as_path
from neurodeploy.target import Target, load_target
from neurodeploy.training.run import RunResult
from neurodeploy.training.run import train as train_recipe
from neurodeploy.workflow.arrays import early_exits
from neurodeploy.workflow.arrays import simulate_arrays as simulate
from neurodeploy.workflow.arrays import validate_arrays as validate
from neurodeploy.workflow.export import deploy_network
from neurodeploy.workflow.learning.choices import make_options
from neurodeploy.workflow.learning.learn import PROTOTYPE_RATE
from neurodeploy.workflow.learning.stream import REMEMBERED, Item, Late, StreamResult, learn_stream
from neurodeploy.workflow.learning.tags import first_tags
from neurodeploy.workflow.quantization import quantized_on

__all__ = [
    "Deployment",
    "Late",
    "deploy",
    "early_exits",
    "import_net",
    "import_nir",
    "learn",
    "load",
    "map",
    "quantize",
    "simulate",
    "train",
    "validate",
]


def import_nir(
    path: Path | str, *, target: str | Path | Target | None = None, **stated: Any
) -> Network:
    """Read a NIR file of any framework as a network in discrete time and float64.

    A file that neurodeploy wrote states everything. Any other needs ``steps``, and either
    ``framework`` (``norse``, ``snntorch``, ``sinabs``, ``spikingjelly``, ``rockpool``, ``spyx``,
    ``nengo`` or ``lava``) or all of ``dt``, ``reset``, ``comparison`` and ``integrator``. Repairs
    and assumptions are reported as warnings of the category ``errors.ImportNote``.

    Args:
        path: of a ``.nir`` file.
        target: the chip that the network is for. If it has graded spikes, sums of real numbers
            that several neurons read become populations of relays, as in ``export``; without a
            target they do not.
        stated: as in ``interchange.nir.importing.import_nir``: ``framework``, ``dt`` in seconds,
            ``reset``, ``comparison``, ``integrator``, ``gain``, ``steps``, ``encoder``, ``levels``,
            ``decode``, ``reset_delay``.

    Raises:
        InputError: the file or what is stated cannot be read.
        UnsupportedError: the semantics are not stated in full, or the network asks for what cannot
            be expressed; everything is named at once.
    """
    relays = None if target is None else _target(target).relay_fan_in
    found = nir.import_nir(path, relays=relays, **stated)
    for note in found.notes:
        warnings.warn(f"{path}: {note}", ImportNote, stacklevel=2)
    return found.network


def import_net(
    path: Path | str,
    *,
    input_shape: Shape | None = None,
    layers: int | None = None,
    biases: bool = False,
    message_exponent: int = MESSAGE_EXPONENT,
    **stated: Any,
) -> QuantizedNetwork:
    """Read a ``.net`` file of lava-dl as a network of integers, which are kept unchanged.

    Args:
        path: of a ``.net`` file.
        input_shape: shape of a sample, for a file that does not state it.
        layers: take only the first ``layers`` layers, for a file in which a later one is not
            supported.
        biases: samples are the biases of an input layer that is driven through them, or floats
            from 0 to 1 as lava-dl's PilotNet makes biases of them.
        message_exponent: lava-dl's ``spike_exp``, for sigma-delta layers.
        stated: as in ``interchange.netx.file.import_net``; ``steps`` and ``encoder`` are
            needed.

    Raises:
        InputError, UnsupportedError: the file, a layer, or what is stated about it.
    """
    options: dict[str, Any] = {
        "input_shape": input_shape,
        "layers": layers,
        "biases": biases,
        "message_exponent": message_exponent,
    }
    return netx.import_net(path, **options, **stated).network


def quantize(
    network: Network,
    target: str | Path | Target,
    bits: int | None = None,
    *,
    scale: ScaleMethod | None = None,
    calibration: ArrayLike | None = None,
) -> QuantizedNetwork:
    """Round a network to the integers of a target.

    Args:
        network: in floats, as ``from_torch`` and ``import_nir`` give it.
        target: a name such as ``loihi2``, the path of a TOML, or a ``Target``.
        bits: width of all weights, sign included, from 1 to the target's; the target's when None.
        scale: how the scale of each population is chosen: ``mse`` makes the mean squared rounding
            error of weights smallest, ``max`` uses the whole range, ``calibrate`` keeps the spikes
            on samples closest to those in floats. ``calibrate`` where samples are given, else
            ``mse``.
        calibration: integers (N, *sample) or (N, T, *sample), as ``simulate`` takes them.

    Returns:
        The network in integers; its ``notes`` say what was clipped or rounded away.

    Raises:
        InputError: an unknown target, or samples that do not fit.
        UnsupportedError: the target has no such width, or cannot hold the network.
    """
    _check(network, Network, "quantize")
    return quantized_on(network, _target(target), bits, scale, calibration)


def map(
    network: QuantizedNetwork,
    target: str | Path | Target,
    activity: Mapping[str, np.ndarray] | None = None,
    *,
    balance: bool = False,
) -> CoreMapping:
    """Place a network's neurons on the cores of a target.

    Args:
        target: a name, the path of a TOML, or a ``Target``.
        activity: spikes per sample of each neuron, by population, in its shape; if given, neurons
            that exchange many spikes are placed near each other.
        balance: with ``activity``, also split populations over unused cores of the chips in use,
            so that no core takes much longer than the others.

    Returns:
        Placements, what each core uses of every limited resource, and ``violations``, each with
        rule, place, use and limit; the network fits when there are none.

    Raises:
        InputError: an unknown target, or ``balance`` without activity.
    """
    _check(network, QuantizedNetwork, "map")
    return map_network(network, _target(target), activity, balance=balance)


def deploy(
    network: Network | QuantizedNetwork,
    target: str | Path | Target,
    path: Path | str | None = None,
    *,
    bits: int | None = None,
    scale: ScaleMethod | None = None,
    calibration: ArrayLike | None = None,
) -> Deployment:
    """Quantise, map and write a deployment: everything that a chip would be given, and a report.

    Args:
        network: in floats; or in integers, which are kept unchanged, so that there is no float
            network to compare with.
        target: a name, the path of a TOML, or a ``Target``.
        path: the new directory; the next free ``deployments/NAME-TARGET-NNN`` when None.
        bits, scale, calibration: as for ``quantize``.

    Raises:
        CheckFailedError: the network does not fit the target; every violation is listed.
        InputError, UnsupportedError: as ``quantize``; or ``path`` exists already.
    """
    _check(network, Network | QuantizedNetwork, "deploy")
    out = None if path is None else as_path(path, "deploy")
    return deploy_network(
        network, _target(target), out, bits=bits, scale=scale, calibration=calibration
    )


def load(path: Path | str) -> Deployment:
    """Read a deployment, checking every file against its hash.

    Its ``network`` can be simulated; its ``mapping`` and ``target`` are those it was made with.

    Raises:
        InputError: not a deployment, a newer format, or a file missing or altered.
    """
    return read_deployment(as_path(path, "load"))


def learn(
    deployment: Deployment | Path | str,
    stream: Iterable[Item],
    *,
    rule: str = "sltt",
    rate: float | None = None,
    update: str = "sample",
    feedback: str = "transposed",
    seed: int = 0,
    engine: str = "reference",
    known: tuple[ArrayLike, ArrayLike] | None = None,
    remember: int = REMEMBERED,
    explore: float = 0.0,
    novel: int = 0,
    timeout: float | None = None,
) -> StreamResult:
    """Let a deployment learn from your own stream of samples, on its integers.

    Every sample is classified when it arrives. Its label comes with it, later, or never:

        (x, 3)                        a sample and its class
        (x, None)                     a sample without a label
        Late(ago=2, label=3)          the class of an earlier sample, after which two more came
        (x, lambda answer: reward)    a reward of 1 or 0 for the class that was answered

    Items are taken one by one, so the stream may be a generator of live data.

    Args:
        deployment: or its path; it is not changed.
        stream: items as above; each x has the shape of the network's input, and holds integers.
        rule: ``sltt``, ``eprop``, ``local``, ``delta`` or ``prototypes``.
        rate: a power of two; determined from the first sample that is learnt from when None.
        update, feedback, seed: as of the command that learns.
        engine: ``lava``, ``lava-fused`` or ``reference``.
        known: samples and classes that rule ``prototypes`` starts from.
        remember: how many samples back a late label may refer to.
        explore: share, 0 to 1, of the answers to samples with a reward that are drawn from the
            network's softmax. The others are the class with the largest output, so a class that is
            never answered is never rewarded.
        novel: number of prototypes, with that rule, for unlabelled samples that are new. Such a
            sample is answered by -1, and later ones that prototype n recognises by -2 - n, until a
            label names it.
        timeout: wall-clock limit in seconds for Lava.

    Returns:
        The answers, what was learnt, and the learnt ``network``, for ``deploy``.

    Raises:
        InputError: an item, an option or an engine is not valid.
        UnsupportedError: the rule is not defined for something in the network.
        SimulationError: Lava failed.
    """
    deployment = deployment_at(deployment, "learn")
    first = PROTOTYPE_RATE if rule == "prototypes" else 1.0
    options = make_options(rule, first if rate is None else rate, update, feedback, seed)
    return learn_stream(
        deployment.network,
        stream,
        options,
        rate_given=rate is not None or rule == "prototypes",
        tags=first_tags(deployment) if options.everywhere else {},
        engine=engine,
        known=known,
        remember=remember,
        explore=explore,
        novel=novel,
        timeout=timeout,
    )


def train(
    recipe: Recipe | str | Path,
    overrides: Iterable[str] = (),
    *,
    out: Path | str | None = None,
    device: str | None = None,
    progress: bool = True,
    track: Sequence[str] = (),
) -> RunResult:
    """Train a recipe and fill a run folder.

    Args:
        recipe: a built-in one by name, the path of a TOML, or a ``Recipe``.
        overrides: ``key=value`` of a recipe given by name or path, for example
            ``training.epochs=5``.
        out: the run folder, new or empty; the next free ``runs/NAME-NNN`` when None.
        device: torch's name of it; the CPU when None.
        progress: show a progress bar if stderr is a terminal.
        track: services to log the epochs to as well: ``mlflow``, ``wandb``.

    Returns:
        The run's folder, whose ``network.nir`` is the trained network, its accuracies, 0 to 1, the
        class of every validation and test sample (``outcome``), and ``warnings``.

    Raises:
        InputError: the recipe, device or folder cannot be used, or a service does not answer.
        MissingDependencyError: the package of a service is not installed.
        CheckFailedError: the network is trained on integers of a chip that cannot hold it.
        DivergedError: the loss or the weights diverged.
        SimulationError: the training was interrupted.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    where = None if out is None else as_path(out, "train")
    return train_recipe(recipe, where, device=device, progress=progress, track=track)


def _target(target: str | Path | Target) -> Target:
    return target if isinstance(target, Target) else load_target(target)


def _check(network: object, kinds: Any, function: str) -> None:
    """Refuse what is no network of the kind that a function takes.

    Raises:
        InputError: it is not, and how one comes to such a network.
    """
    if not isinstance(network, kinds):
        found = type(network).__name__
        raise InputError(
            f"{function} takes {getattr(kinds, '__name__', kinds)}, found {found}: a torch module "
            "becomes a Network by from_torch, a file by import_nir, and a Network a "
            "QuantizedNetwork by quantize"
        )
