"""Every function that takes a path takes a str as well, and names what is neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.folders import read_run
from neurodeploy.errors import InputError
from neurodeploy.interchange.netx.file import write_net
from neurodeploy.interchange.netx.layers import DenseLayer, NetNeuron
from neurodeploy.interchange.netx.read import read_net
from neurodeploy.interchange.nir.importing import open_nir
from neurodeploy.interchange.nir_file import read_nir, write_nir
from neurodeploy.ir.stated import Stated
from neurodeploy.target import load_target
from neurodeploy.training.run import resume_run
from neurodeploy.workflow.export import export
from neurodeploy.workflow.exported import read_network
from neurodeploy.workflow.inspection import describe
from neurodeploy.workflow.learning.learn import learn
from neurodeploy.workflow.samples import choose_samples, file_samples
from neurodeploy.workflow.simulate import simulate
from neurodeploy.workflow.validate import validate
from support.random_nir import chain, neuron

HOW: dict[str, Any] = {
    "dt": 1e-3,
    "reset": "zero",
    "comparison": ">",
    "integrator": "euler",
    "steps": 4,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .nir, a .net, an .npz and a deployment."""
    folder = tmp_path_factory.mktemp("paths")
    lif = neuron("LIF", (2,), v_threshold=0.2)
    write_nir(str(folder / "a.nir"), chain((2,), ("fc", nir.Linear(np.eye(2))), ("n", lif)))
    weights = np.array([[64, -32, 2], [16, 64, 128]])
    layer = DenseLayer(NetNeuron(np.array(4096), np.array(128), 90), weights)
    write_net(str(folder / "a.net"), [layer], 4)
    np.savez(folder / "x.npz", x=np.ones((3, 4, 2), np.uint8))
    export(str(folder / "a.nir"), "loihi2", str(folder / "d"), stated=Stated(**HOW))
    return folder


def deployed(place: Path) -> nd.Deployment:
    return nd.load(place / "d")


READERS: dict[str, Callable[[Any, Path], object]] = {
    "nd.import_nir": lambda at, _: nd.import_nir(at, **HOW),
    "nd.load": lambda at, _: nd.load(at),
    "nd.import_net": lambda at, _: nd.import_net(at, steps=4, encoder="events"),
    "read_nir": lambda at, _: read_nir(at),
    "open_nir": lambda at, _: open_nir(at),
    "read_network": lambda at, _: read_network(at, Stated(**HOW)),
    "read_net": lambda at, _: read_net(at),
    "read_deployment": lambda at, _: read_deployment(at),
    "describe": lambda at, _: describe(at),
    "file_samples": lambda at, place: file_samples(at, deployed(place).network, None),
    "choose_samples": lambda at, place: choose_samples(deployed(place).network, data=at),
    "simulate": lambda at, place: simulate(at, samples(place), "reference", progress=False),
    "validate": lambda at, place: validate(
        at, samples(place), ("reference", "float"), progress=False
    ),
}
FILES = {
    **dict.fromkeys(("nd.import_nir", "read_nir", "open_nir", "read_network"), "a.nir"),
    **dict.fromkeys(("nd.import_net", "read_net"), "a.net"),
    **dict.fromkeys(("nd.load", "read_deployment", "describe", "simulate", "validate"), "d"),
    **dict.fromkeys(("file_samples", "choose_samples"), "x.npz"),
}


def samples(place: Path) -> Any:
    return choose_samples(deployed(place).network, data=place / "x.npz")


@pytest.mark.parametrize("name", READERS)
def test_a_string_is_as_good_as_a_path(place: Path, name: str) -> None:
    path = place / FILES[name]
    for at in (path, str(path)):
        READERS[name](at, place)


ONLY_WRONG: dict[str, Callable[[Any, Path], object]] = {
    "export": lambda at, place: export(at, "loihi2", place / "never"),
    "export's out": lambda at, place: export(place / "a.nir", "loihi2", at, stated=Stated(**HOW)),
    "nd.deploy": lambda at, place: nd.deploy(deployed(place).network, "loihi2", at),
    "nd.deploy's target": lambda at, place: nd.deploy(deployed(place).network, at),
    "nd.train": lambda at, _: nd.train(at),
    "nd.train's out": lambda at, _: nd.train("digits_mlp", out=at),
    "nd.load_recipe": lambda at, _: nd.load_recipe(at),
    "nd.load_target": lambda at, _: load_target(at),
    "resume_run": lambda at, _: resume_run(at),
    "read_run": lambda at, _: read_run(at),
    "learn": lambda at, _: learn(at, engine="reference"),
    "simulate's trace": lambda at, place: simulate(
        place / "d", samples(place), "reference", trace=at, progress=False
    ),
}


@pytest.mark.parametrize("wrong", [7, b"a.nir", ["a.nir"], "", "a\0"], ids=repr)
@pytest.mark.parametrize("name", [*READERS, *ONLY_WRONG])
def test_what_is_no_path_gets_one_message(place: Path, name: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"path|deployment") as found:
        (READERS | ONLY_WRONG)[name](wrong, place)
    assert "\n" not in str(found.value)
    assert not (place / "never").exists()


def test_a_path_in_place_of_a_network_says_what_makes_one(place: Path) -> None:
    path: Any = str(place / "d")
    x = np.ones((1, 4, 2), np.uint8)
    for function in (nd.simulate, nd.validate):
        with pytest.raises(InputError, match=r"found str; .*load\(path\)\.network"):
            function(path, x)
    with pytest.raises(InputError, match=r"found str: .*a file by import_nir"):
        nd.quantize(path, "loihi2")


def test_arrays_are_no_samples_of_a_deployment(place: Path) -> None:
    x: Any = np.ones((1, 4, 2), np.uint8)
    for function in (simulate, validate):
        with pytest.raises(InputError, match="takes Samples, found ndarray: make them by choose_"):
            function(place / "d", x)
