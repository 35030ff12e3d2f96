"""What is in a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.artifacts.folders import read_run, read_training
from neurodeploy.artifacts.names import COMPLETE, MANIFEST, NETX_SCRIPT
from neurodeploy.errors import InputError, Setting, Text, in_lines
from neurodeploy.ir.contract import Contract, own_semantics
from neurodeploy.ir.stated import Stated, listed
from neurodeploy.support.files import as_path
from neurodeploy.support.seals import is_intact

if TYPE_CHECKING:
    from neurodeploy.artifacts.deployment import TrainingRecord

UNSEALED_RUN = (
    f"Warning: {COMPLETE} has no seal, as in older versions: nothing shows whether it was changed"
)


def describe(path: Path | str) -> Text:
    """A text for people about a .nir or .net file, a run or a deployment.

    Raises:
        InputError: it is none of them, or damaged.
    """
    path = as_path(path, "describe")
    if path.is_dir() and (path / MANIFEST).is_file():
        return Text(_deployment(path))
    if path.is_dir():
        return Text(_run(path))
    if path.suffix == ".nir":
        return _nir(path)
    if path.suffix == ".net":
        return _net(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    raise InputError(f"{path}: neither a .nir file, nor a .net file, a run or a deployment")


def _nir(path: Path) -> Text:
    from neurodeploy.interchange.nir.importing import open_nir

    file = open_nir(path)
    graph = file.graph
    lines: list[str] = [f"{path}: NIR graph, {len(graph.nodes)} nodes, {len(graph.edges)} edges"]
    before = {target: source for source, target in graph.edges}
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        after.setdefault(source, []).append(target)
    for name, node in graph.nodes.items():
        shapes = [file.shapes.get(at, "?") for at in (before.get(name, ""), name)]
        shown = f"{shapes[0]} -> {shapes[1]}" if before.get(name) else f"{shapes[1]}"
        kind = type(node).__name__
        lines.append(f"  {name:<16} {kind:<10} {shown:<28} to {', '.join(after[name])}")
    lines += [f"Repaired: {note}" for note in file.notes]
    if file.contract:
        return in_lines([*lines, *_contract(file.contract)])
    missing = Stated().missing(None, {})
    lines.append("No neurodeploy contract in the metadata; export needs:")
    lines.append(listed(missing, tuple(file.likely)))
    return in_lines([*lines, *(_speaks_for(name, file.likely[name]) for name in file.likely)])


def _speaks_for(name: str, evidence: list[str]) -> str:
    from neurodeploy.interchange.frameworks import FRAMEWORKS

    framework = FRAMEWORKS[name]
    without = "no evidence against it" if framework.writes else "only reads NIR"
    return f"  {framework.title}: {'; '.join(evidence) or without}"


def _net(path: Path) -> Text:
    from neurodeploy.interchange.netx.layers import layer_lines
    from neurodeploy.interchange.netx.read import read_net

    layers = read_net(path)
    return in_lines(
        [
            f"{path}: lava-dl network (.net), {len(layers)} layers",
            *layer_lines(layers),
            Text(
                "Integers of Loihi; neurons fire at v > threshold and go to 0. T, the encoder and "
                "how the class is read are not in the file: state ",
                Setting("steps"),
                ", ",
                Setting("encoder"),
                " and ",
                Setting("decode"),
                ".",
            ),
        ],
    )


def _contract(contract: Contract) -> list[str]:
    semantics, code = contract.semantics, contract.input_code
    where = f" at {contract.source.path}" if contract.source.path else ""
    return [
        f"Contract: dt {semantics.dt:g} s, {semantics.integrator}, fires at v "
        f"{semantics.comparison} threshold, reset {semantics.reset}",
        *(f"  but {name!r}: {how}" for name, how in own_semantics(semantics).items()),
        f"  input {code.encoder}, integers 0..{code.levels}; T = {contract.steps}; "
        f"{'value' if contract.predicts_values else 'class'} by {contract.decode}; "
        f"data set {contract.dataset or 'none'}{where}",
    ]


def _run(path: Path) -> str:
    run, found = read_run(path), read_training(path)
    recipe = found.recipe
    return "\n".join(
        [
            f"{path}: training run of {recipe.name} ({recipe.description})",
            f"  finished {run.get('created', 'at an unknown time')}, {found.epochs} epochs, best "
            f"{found.best_epoch}",
            f"  {_scores(found)}",
            f"  files: {', '.join(sorted(entry.name for entry in path.iterdir()))}",
            f"  marked complete by {COMPLETE}",
            *([] if is_intact(run) else [UNSEALED_RUN]),
        ]
    )


def _scores(run: TrainingRecord) -> str:
    if run.test_accuracy is None or run.validation_accuracy is None:
        parts = ((part, run.scores[f"{part}_smape"]) for part in ("test", "validation"))
        return ", ".join(f"{part} sMAPE {smape:.3f}" for part, smape in parts)
    return f"test accuracy {run.test_accuracy:.2%}, validation {run.validation_accuracy:.2%}"


def _deployment(path: Path) -> str:
    from neurodeploy.artifacts.deployment import read_deployment

    deployment = read_deployment(path)
    network, netx = deployment.network, deployment.netx
    lines = [
        f"{path}: deployment of {deployment.source} on {deployment.target.name}, "
        f"written {deployment.created}",
        *([f"  digest {deployment.digest}"] if deployment.guarded else []),
        *(f"Warning: {warning}" for warning in deployment.warnings),
    ]
    for p in network.populations:
        kind = "input" if p.neuron is None else p.neuron.kind
        lines.append(f"  {p.name:<16} {kind:<8} {p.shape!s:<16} scale {p.scale:g}")
    for q in network.projections:
        w = q.operator.weights
        lines.append(
            f"  {q.name:<16} {q.operator.kind:<8} {q.source} -> {q.target}, {w.size:,} weights of "
            f"{q.weight_format.bits} bits ({q.weight_format.sign}), << {q.exponent}"
            + (f", delay {q.delay}" if q.delay else "")
            + (f", {q.clipped} clipped" if q.clipped else "")
        )
    lines += _contract(network.contract)
    if netx and netx.file:
        lines.append(f"For lava-dl: {netx.file}, {NETX_SCRIPT}")
    lines += [f"Not for lava-dl: {reason}" for reason in (netx.missing if netx else ())]
    if deployment.unlisted:
        lines.append(f"In its folder, but not part of it: {', '.join(deployment.unlisted)}")
    lines.append(deployment.mapping.summary())
    return "\n".join(lines)
