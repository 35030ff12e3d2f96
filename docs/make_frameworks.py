"""Measure what other frameworks make of our files: the tables of docs/frameworks.md.

Run with ``.venv/bin/python docs/make_frameworks.py``; takes a few minutes, most of it training.
Needs snnTorch, sinabs, SpikingJelly and Norse beside neurodeploy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import nir
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.data import load_dataset
from neurodeploy.data.dataset import encode
from neurodeploy.interchange.nir.file import read_nir
from neurodeploy.interchange.nir.network_in import contract_of, to_network
from neurodeploy.interchange.nir.network_out import without_readout
from neurodeploy.ir.contract import Contract, InputCode, Reset
from neurodeploy.norse.engine import NorseEngine
from neurodeploy.recipe import load_recipe
from neurodeploy.simulation.engines import FloatEngine, ReferenceEngine
from neurodeploy.simulation.trace import SampleBatch, Samples, SpikeTrace
from neurodeploy.support.system import version_of
from neurodeploy.training.assembly import graph_of
from neurodeploy.training.run import train
from neurodeploy.workflow.engines import Engine
from neurodeploy.workflow.export import export
from neurodeploy.workflow.samples import choose_samples
from support.exported_networks import NETWORKS, SHAPE, make_dataset, make_model, make_recipe
from support.other_frameworks import RUNNERS, Runner, ending_at, last_spiking, tau_in_steps

PAGE = Path(__file__).with_name("frameworks.md")
STEPS, SAMPLES = 20, 40
FAMILIES = {
    "mlp": NETWORKS["mlp"],
    "conv": NETWORKS["conv_bn_pool"],
    "recurrent": {"family": "recurrent", "hidden": [20]},
}
RESETS: tuple[Reset, ...] = ("zero", "subtract")
QUANTIZED = {
    "digits_conv": ("digits_conv", []),
    "digits_mlp": ("digits_mlp", []),
    "digits_mlp, tau 3": ("digits_mlp", ["neuron.tau=3"]),
}
TRAINED = {
    "digits_mlp": ("digits_mlp", []),
    "digits_conv, hard reset": ("digits_conv", ["neuron.reset=zero"]),
    "digits_conv": ("digits_conv", []),
}


def main() -> None:
    """Measure and write the tables into the page."""
    page = PAGE.read_text(encoding="utf-8")
    tables = {"spikes": spikes_table, "accuracy": accuracy_table, "integers": integers_table}
    for name, table in ((name, make()) for name, make in tables.items()):
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{table}\n\n{end}{rest.split(end)[1]}"
    PAGE.write_text(page, encoding="utf-8")


def readers() -> dict[str, Runner]:
    """Everything that reads a file, under the name it has in the tables."""
    labels = {"snntorch": "snnTorch", "spikingjelly": "SpikingJelly", "sinabs": "sinabs"}
    found: dict[str, Runner] = {"our `norse` engine": norse_engine}
    found |= {f"{label} {version_of(tool)}": RUNNERS[tool] for tool, label in labels.items()}
    found["sinabs, tau in steps"] = in_steps
    found[f"Norse {version_of('norse')}, its own importer"] = RUNNERS["norse"]
    return found


def in_steps(path: Path, frames: np.ndarray) -> np.ndarray:
    """sinabs on a file whose time constants were rewritten for it."""
    rewritten = path.with_name("in_steps.nir")
    nir.write(rewritten, tau_in_steps(nir.read(path)))
    return RUNNERS["sinabs"](rewritten, frames)


def norse_engine(path: Path, frames: np.ndarray) -> np.ndarray:
    """The spikes of the output population by Norse's neurons, as our engine steps them."""
    graph, contract = loaded(path, frames)
    network = to_network(graph, contract, "net")
    shapes = {population.name: population.shape for population in network.populations}
    return outputs(NorseEngine(graph, shapes, network.output, contract, "net"), frames)


def float_engine(path: Path, frames: np.ndarray) -> np.ndarray:
    """The same in our own float engine: what all others are compared with."""
    graph, contract = loaded(path, frames)
    return outputs(FloatEngine(to_network(graph, contract, "net")), frames)


def loaded(path: Path, frames: np.ndarray) -> tuple[nir.NIRGraph, Contract]:
    graph = read_nir(path)
    contract = contract_of(graph, str(path))
    assert contract is not None
    return graph, replace(contract, steps=len(frames), input_code=InputCode("events"))


def outputs(engine: FloatEngine | NorseEngine, frames: np.ndarray) -> np.ndarray:
    """(T, N, neurons) spikes of the output population."""
    batch = SampleBatch(0, np.swapaxes(frames, 0, 1), static=False)
    _, trace = next(iter(engine.run([batch])))
    return np.swapaxes(trace.populations[trace.output].s, 0, 1).reshape(*frames.shape[:2], -1)


def attempt(measure: Callable[[], str]) -> str:
    """A figure, or that the importer fails; frameworks raise whatever comes."""
    try:
        return measure()
    except Exception:
        return "fails"


def spikes_table() -> str:
    """Spikes of the last population that differ, on random networks and random spikes."""
    frames = (np.random.default_rng(0).random((STEPS, SAMPLES, *SHAPE)) < 0.4).astype(np.float64)
    columns: list[list[str]] = []
    heads = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.nir"
        for family, network in FAMILIES.items():
            for reset in RESETS:
                recipe = replace(make_recipe("mlp", 2.0, reset, ">="), network=network)
                graph = graph_of(make_model(recipe), recipe, make_dataset())
                nir.write(path, ending_at(graph, last_spiking(graph)))
                expected = float_engine(path, frames)

                def differing(run: Runner, expected: np.ndarray = expected) -> str:
                    return f"{int((run(path, frames) != expected).sum()):,}"

                heads.append(f"{family}, {'hard' if reset == 'zero' else 'soft'}")
                found = [attempt(partial(differing, run)) for run in readers().values()]
                columns.append([f"{expected.size:,}", *found])
    return markdown(["", *heads], ["neuron-steps", *readers()], columns)


def accuracy_table() -> str:
    """Accuracy on the 360 test digits of trained networks, read out by adding up the outputs."""
    columns: list[list[str]] = []
    dataset = load_dataset("digits")
    with TemporaryDirectory() as folder:
        for index, (recipe_name, settings) in enumerate(TRAINED.values()):
            recipe = load_recipe(recipe_name, settings)
            done = train(recipe, Path(folder) / f"run{index}", progress=False)
            graph = nir.read(done.path / "network.nir")
            contract = contract_of(graph, "run")
            assert contract is not None
            path = done.path / "without_readout.nir"
            nir.write(path, without_readout(graph))
            code, steps = contract.input_code, contract.steps
            encoded = encode(np.asarray(dataset.x_test), code, steps)
            static = code.encoder == "direct"
            over_time = np.repeat(encoded[None], steps, 0) if static else np.swapaxes(encoded, 0, 1)
            frames = over_time / code.payload

            def accuracy(run: Runner, path: Path = path, frames: np.ndarray = frames) -> str:
                classes = run(path, frames).sum(axis=0).argmax(axis=1)
                return f"{(classes == dataset.y_test).mean():.2%}"

            network = to_network(graph, contract, "net")
            shapes = {population.name: population.shape for population in network.populations}
            batch = SampleBatch(0, encoded, static)
            engines = (
                FloatEngine(network),
                NorseEngine(graph, shapes, network.output, contract, "net"),
            )
            ours = [
                (trace.predictions(contract.decode) == dataset.y_test)
                for engine in engines
                for _, trace in engine.run([batch])
            ]
            others = list(readers().values())[1:]
            columns.append(
                [f"{right.mean():.2%}" for right in ours]
                + [attempt(partial(accuracy, run)) for run in others]
            )
    return markdown(["", *TRAINED], ["our `float` engine", *readers()], columns)


def integers_table() -> str:
    """Integers against floats on the 360 test digits: before quantisation, and on the grid."""
    columns: list[list[str]] = []
    with TemporaryDirectory() as folder:
        for index, (recipe_name, settings) in enumerate(QUANTIZED.values()):
            recipe = load_recipe(recipe_name, settings)
            done = train(recipe, Path(folder) / f"run{index}", progress=False)
            deployed = export(done.path, "loihi2", Path(folder) / f"deployed{index}").path
            network = read_deployment(deployed).network
            samples = choose_samples(network)
            exact = simulated(ReferenceEngine(network), samples)
            floats = {
                name: to_network(read_nir(deployed / name), network.contract, name)
                for name in ("network.nir", "quantized.nir")
            }
            graph = read_nir(deployed / "quantized.nir")
            shapes = {population.name: population.shape for population in network.populations}
            engines: list[Engine] = [FloatEngine(found) for found in floats.values()]
            engines.append(NorseEngine(graph, shapes, network.output, network.contract, "net"))
            spiking = [p.name for p in network.populations if p.neuron and p.name != network.output]
            column = [f"{sum(exact.populations[name].s.size for name in spiking):,}"]
            for engine in engines:
                found = simulated(engine, samples)
                differing = sum(
                    int((found.populations[name].s != exact.populations[name].s).sum())
                    for name in spiking
                )
                column.append(f"{differing:,}")
            columns.append(column)
    rows = (
        "neuron-steps",
        "`network.nir`, `float` engine",
        "`quantized.nir`, `float` engine",
        "`quantized.nir`, `norse` engine",
    )
    return markdown(["", *QUANTIZED], list(rows), columns)


def simulated(engine: Engine, samples: Samples) -> SpikeTrace:
    """All samples as one batch."""
    _, trace = next(iter(engine.run(samples.batches(samples.count))))
    return trace


def markdown(heads: list[str], names: list[str], columns: list[list[str]]) -> str:
    """A table with one column per measurement."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * len(columns)}"]
    lines += [
        f"| {name} | {' | '.join(column[row] for column in columns)} |"
        for row, name in enumerate(names)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
