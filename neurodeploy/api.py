"""The library's functions on values in memory; the command line calls what they call."""

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
    """A NIR file of any framework as a network in discrete time and float64.

    A file of ours says everything. Any other needs ``steps``, and either ``framework`` (``norse``,
    ``snntorch``, ``sinabs``, ``spikingjelly``, ``rockpool``, ``spyx``, ``nengo`` or ``lava``) or
    all of ``dt``, ``reset``, ``comparison`` and ``integrator``. Repairs and assumptions are given
    as warnings of the category ``errors.ImportNote``.

    Args:
        path: of a ``.nir`` file.
        target: the chip that it is for. With graded spikes, sums of real numbers that several
            neurons read become populations of relays, as ``export`` makes them; without a target
            none do.
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
    """A ``.net`` of lava-dl as a network of integers, which stay as they are.

    Args:
        path: of a ``.net`` file.
        input_shape: shape of a sample, for a file that does not say.
        layers: the first so many layers of the file alone, where a later one is not supported.
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
        bits: width of all weights, sign included, 1 to what the target has; that when None.
        scale: how the scale of each population is chosen: ``mse`` makes the mean squared rounding
            error of weights smallest, ``max`` uses the whole range, ``calibrate`` keeps the spikes
            on samples closest to those in floats. ``calibrate`` where samples are given, else
            ``mse``.
        calibration: integers (N, *sample) or (N, T, *sample), as ``simulate`` takes them.

    Returns:
        The network in integers; its ``notes`` say what had to give way.

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
        activity: spikes per sample of each neuron, by population, in its shape; with it neurons
            that talk much lie near each other.
        balance: by it, also cut populations further so that no core takes much longer than the
            others, onto cores that are left of the chips in use.

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
    """Quantise, map and write a deployment: all that a chip would be given, and a report.

    Args:
        network: in floats; or in integers, which are taken as they are and leave no network in
            floats to compare with.
        target: a name, the path of a TOML, or a ``Target``.
        path: the new directory; the next free ``deployments/NAME-TARGET-NNN`` when None.
        bits, scale, calibration: as for ``quantize``.

    Raises:
        CheckFailedError: the network does not fit the target; every violation is listed.
        InputError, UnsupportedError: as ``quantize``; or ``path`` is there already.
    """
    _check(network, Network | QuantizedNetwork, "deploy")
    out = None if path is None else as_path(path, "deploy")
    return deploy_network(
        network, _target(target), out, bits=bits, scale=scale, calibration=calibration
    )


def load(path: Path | str) -> Deployment:
    """Read a deployment, every file checked against its hash.

    Its ``network`` simulates, its ``mapping`` and ``target`` are those it was made with.

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
    timeout: float | None = None,
) -> StreamResult:
    """Let a deployment learn from a stream of yours, on its integers.

    Every sample is answered as it comes. What it teaches comes with it, later, or not at all:

        (x, 3)                        a sample and its class
        (x, None)                     one that nobody has named
        Late(ago=2, label=3)          the class of the one before the one before the last
        (x, lambda answer: reward)    1 or 0 for the class that it was given

    The stream is taken one by one, so that it may be a generator that follows what happens.

    Args:
        deployment: or its path; it stays as it is.
        stream: items as above; each x has the form of the network's input, integers.
        rule: ``sltt``, ``eprop``, ``local``, ``delta`` or ``prototypes``.
        rate: a power of two; found on the first sample that is learnt from when None.
        update, feedback, seed: as of the command that learns.
        engine: ``lava``, ``lava-fused`` or ``reference``.
        known: samples and classes that rule ``prototypes`` begins with.
        remember: samples that a late label may reach back.
        explore: the share, 0 to 1, of the answers to samples with a reward that are drawn from the
            network's softmax; of the others it is the best class, which never becomes one that is
            never answered.
        timeout: wall-clock seconds for Lava.

    Returns:
        What was answered and learnt, and the ``network`` that came of it, for ``deploy``.

    Raises:
        InputError: an item, an option or an engine that is none.
        UnsupportedError: the network has what the rule is not defined for.
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
        device: as torch names it; the CPU when None.
        progress: show a bar on stderr where that is a terminal.
        track: services to tell of the epochs as well: ``mlflow``, ``wandb``.

    Returns:
        The run's folder, whose ``network.nir`` is the trained network, its accuracies, 0 to 1, the
        class of every validation and test sample (``outcome``), and ``warnings``.

    Raises:
        InputError: the recipe, device or folder cannot be used, or a service does not answer.
        MissingDependencyError: the package of a service is not installed.
        CheckFailedError: it trains on integers of a chip that cannot hold the network.
        DivergedError: the loss or the weights ran away.
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
