"""Deployment directories: read back as they were written, and refused when anything is amiss."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from neurodeploy.artifacts import deployment as deployment_module
from neurodeploy.artifacts.deployment import (
    NetxRecord,
    TrainingRecord,
    read_deployment,
    write_deployment,
)
from neurodeploy.artifacts.folders import newest_deployment
from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.ir.convolution import Convolution
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.mapping import CoreMapping, CoreUse, Placement
from neurodeploy.mapping.mapping import Traffic
from neurodeploy.recipe import load_recipe
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.support.files import sha256
from neurodeploy.target import load_target
from neurodeploy.workflow.export import export
from neurodeploy.workflow.inspection import describe
from support.manifests import edit_manifest, edited, make_old
from support.random_networks import (
    GRAPHS,
    NEURONS,
    OPERATORS,
    SPIKING,
    random_input,
    random_network,
)
from support.wording import refused

NETWORK = random_network(7, ("LIF", "CubaLIF", "LI"), ("conv2d", "scale"), "self_recurrent", 16)
RECIPE = load_recipe("digits_conv", ["data.exclude=[3]"])
TARGET = load_target("loihi2")
MAPPING = CoreMapping(
    target="loihi2",
    cores=2,
    limits={"neurons": 8},
    placements=(Placement("a", ((0, 2), (0, 3)), 0, 1),),
    uses=(CoreUse(0, 1, 6, 4, 2, 30),),
    violations=(),
    unchecked=("output axons",),
    traffic=Traffic(False, 6.0, 2.5, 0.0, 2.0, 1.0, 0.5),
)
TRAINING = TrainingRecord(RECIPE, 0.75, 0.5, 1, 2, 3.5, ({"epoch": 1}, {"epoch": 2}))
NETX = NetxRecord(missing=("no such layer",))
FILES = ("network.nir", "integers.safetensors", "mapping.json", "manifest.json")


def write(path: Path, network: QuantizedNetwork = NETWORK) -> Path:
    source = path.with_suffix(".nir")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(b"only copied")
    write_deployment(path, network, MAPPING, source, TARGET, "runs/x", TRAINING, netx=NETX)
    source.unlink()
    return path


def plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))


def fields(value: Any) -> Any:
    """Everything a network holds, arrays as lists, so that == compares all of it."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.tolist())
    if isinstance(value, tuple):
        return tuple(fields(item) for item in value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: fields(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


# --- round trip ---


@settings(deadline=None, max_examples=30)
@given(
    network=st.builds(
        random_network,
        seed=st.integers(0, 2**32 - 1),
        neurons=st.tuples(*[st.sampled_from(SPIKING)] * 2, st.sampled_from(NEURONS)),
        operators=st.tuples(*[st.sampled_from(OPERATORS)] * 2),
        graph=st.sampled_from(GRAPHS),
        payload=st.sampled_from([1, 16, 255]),
    ),
    seed=st.integers(0, 99),
)
def test_a_network_reads_back_whole_and_runs_bit_for_bit(
    network: QuantizedNetwork, seed: int
) -> None:
    with TemporaryDirectory() as folder:
        loaded = read_deployment(write(Path(folder) / "d", network)).network
    assert fields(loaded) == fields(network)
    samples = random_input(network, seed, 3, over_time=True)
    pair = [ReferenceEngine(net).run(samples.batches(2), state=True) for net in (network, loaded)]
    for (_, left), (_, right) in zip(*pair, strict=True):
        for name, record in left.populations.items():
            for variable in ("s", "u", "v"):
                expected = getattr(record, variable)
                found = getattr(right.populations[name], variable)
                np.testing.assert_array_equal(found, expected, f"{name}.{variable}")


def test_notes_and_odd_numbers_survive(tmp_path: Path) -> None:
    odd = {"scale": 0.1 + 0.2, "name": "ünïcode"}
    populations = tuple(
        type(p)(p.name, p.shape, p.neuron, odd["scale"]) for p in NETWORK.populations
    )
    network = QuantizedNetwork(
        odd["name"], populations, NETWORK.projections, "out", NETWORK.contract, {"a": "2 clipped"}
    )
    loaded = read_deployment(write(tmp_path / "d", network)).network
    assert (loaded.name, loaded.notes) == (odd["name"], {"a": "2 clipped"})
    assert [p.scale for p in loaded.populations] == [odd["scale"]] * 4


def test_the_folder_says_what_was_deployed(tmp_path: Path) -> None:
    deployed = read_deployment(write(tmp_path / "d"))
    assert sorted(entry.name for entry in deployed.path.iterdir()) == sorted(FILES)
    assert deployed.mapping == MAPPING
    assert deployed.nir_file.read_bytes() == b"only copied"
    assert deployed.results == tmp_path / "d" / "results"
    assert (deployed.source, deployed.target) == ("runs/x", TARGET)
    assert deployed.versions["numpy"] == np.__version__
    assert deployed.files == {name: sha256(deployed.path / name) for name in FILES[:3]}
    assert (deployed.training, deployed.netx) == (TRAINING, NETX)
    assert datetime.fromisoformat(deployed.created).tzinfo is not None


def test_files_hold_what_the_classes_hold_as_plain_json(tmp_path: Path) -> None:
    path = write(tmp_path / "d")
    manifest = json.loads((path / "manifest.json").read_text())
    assert list(manifest) == [
        "format", "kind", "created", "source", "training", "origin", "target", "network", "netx",
        "versions", "files", "digest", "seal",
    ]  # fmt: skip
    assert manifest["target"] == plain(asdict(TARGET))
    assert manifest["training"] == {
        "recipe": plain(RECIPE.as_dict()),
        "test_accuracy": 0.75,
        "validation_accuracy": 0.5,
        "best_epoch": 1,
        "epochs": 2,
        "seconds": 3.5,
        "history": [{"epoch": 1}, {"epoch": 2}],
        "predictions": {},
        "warnings": [],
    }
    assert manifest["netx"] == {"file": None, "missing": ["no such layer"], "settings": {}}
    assert json.loads((path / "mapping.json").read_text()) == plain(asdict(MAPPING))


def test_what_is_not_known_is_none_and_an_empty_table(tmp_path: Path) -> None:
    source = tmp_path / "a.nir"
    source.write_bytes(b"")
    write_deployment(tmp_path / "d", NETWORK, MAPPING, source, TARGET, "a.nir")
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert (manifest["training"], manifest["netx"]) == (None, {})
    deployed = read_deployment(tmp_path / "d")
    assert (deployed.training, deployed.netx) == (None, None)
    with pytest.raises(UnsupportedError, match="exported without one"):
        _ = deployed.net_file


def test_convolutions_are_stored_once_and_not_written_out(tmp_path: Path) -> None:
    conv = NETWORK.projections[0]
    assert isinstance(conv.operator, Convolution)
    arrays = load_file(write(tmp_path / "d") / "integers.safetensors")
    assert arrays[f"{conv.name}/weights"].shape == conv.operator.weights.shape


# --- refusals ---


def change_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES[:3])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_bytes, "changed since the export"),
        (lambda path: path.write_bytes(b""), "changed since the export"),
        (Path.unlink, "missing from the deployment"),
    ],
    ids=["changed", "emptied", "removed"],
)
def test_an_altered_or_missing_file_is_refused_by_name(
    tmp_path: Path, name: str, damage: Callable[[Path], Any], message: str
) -> None:
    path = write(tmp_path / "d")
    damage(path / name)
    with pytest.raises(InputError, match=message) as caught:
        read_deployment(path)
    assert str(caught.value).startswith(f"{path / name}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=3), r"manifest.json: .*format 3.*reads deployments of format 1"),
        (lambda m: m.update(kind="run"), "kind 'run'"),
        (lambda m: m.pop("files"), "network.nir: changed"),
        (lambda m: m["files"].pop("integers.safetensors"), "integers.safetensors: changed"),
        (lambda m: m.update(files={}), "network.nir: changed"),
        (lambda m: m.update(files=["network.nir"]), "network.nir: changed"),
        (lambda m: m.pop("network"), "damaged deployment.*'network'"),
        (lambda m: m.update(network=[]), "damaged deployment"),
        (lambda m: m["network"]["populations"][1].pop("shape"), "damaged deployment.*'shape'"),
        (lambda m: m["network"]["projections"][0].update(name="else"), "damaged.*else/weights"),
        (lambda m: m["network"]["projections"][0]["operator"].update(kind="fft"), "damaged.*fft"),
        (
            lambda m: m["network"]["projections"][0]["weight_format"].update(bits=12),
            "damaged.*weight bits",
        ),
        (lambda m: m["network"]["contract"].update(steps=0), "steps must be at least 1"),
        (lambda m: m["network"]["contract"].update(stepz=1), "unknown key 'stepz'"),
        (lambda m: m.pop("target"), "damaged deployment.*'target'"),
        (lambda m: m["target"].update(chips=2), "target: unknown key 'chips'"),
        (lambda m: m["training"]["recipe"].pop("data"), "training: recipe: key 'data' is missing"),
        (lambda m: m["training"].update(epochs="2"), "training: epochs: expected int, found '2'"),
        (lambda m: m["netx"].update(missing="all"), "netx: missing: expected a list"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = write(tmp_path / "d")
    edit_manifest(path, change)
    with pytest.raises(InputError, match=message) as caught:
        read_deployment(path)
    assert str(caught.value).startswith(str(path))


def test_a_lost_array_is_refused_even_when_the_hash_was_renewed(tmp_path: Path) -> None:
    path = write(tmp_path / "d")
    arrays = load_file(path / "integers.safetensors")
    del arrays["a/threshold"]
    save_file(arrays, path / "integers.safetensors")
    edit_manifest(path, lambda m: m["files"].update({FILES[1]: sha256(path / FILES[1])}))
    with pytest.raises(InputError, match=r"damaged deployment.*a/threshold"):
        read_deployment(path)


# --- what guards the manifest ---


def test_no_edited_manifest_is_accepted(tmp_path: Path) -> None:
    """Every entry once: changed, left out, and one added beside it."""
    path = write(tmp_path / "d")
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    count = 0
    for changed in edited(manifest):
        file.write_text(json.dumps(changed))
        with pytest.raises(InputError) as caught:
            read_deployment(path)
        count += 1
        assert str(caught.value).startswith(str(path)), caught.value
        assert "\n" not in str(caught.value)
    assert count > 500
    file.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    assert read_deployment(path).guarded, "the order of keys means nothing"


def test_no_edited_integer_is_accepted(tmp_path: Path) -> None:
    """One bit of every array, an array left out, and one added."""
    path = write(tmp_path / "d")
    file = path / "integers.safetensors"
    arrays = load_file(file)
    variants = [{**arrays, "one more": np.zeros(1, np.int8)}]
    for name, array in arrays.items():
        bits = bytearray(np.ascontiguousarray(array).tobytes())
        bits[0] ^= 1
        one_bit = np.frombuffer(bytes(bits), array.dtype).reshape(array.shape)
        variants.append({**arrays, name: one_bit})
        variants.append({other: kept for other, kept in arrays.items() if other != name})
    assert len(variants) > 5
    for changed in variants:
        save_file(changed, file)
        with pytest.raises(InputError, match=r"integers\.safetensors: changed since the export"):
            read_deployment(path)


def test_equal_exports_have_equal_digests_and_others_do_not(tmp_path: Path) -> None:
    first = read_deployment(write(tmp_path / "d"))
    contract = NETWORK.contract
    elsewhere = replace(contract, source=replace(contract.source, path="/home/me/x.npz"))
    there = replace(contract, source=replace(contract.source, path="/mnt/x.npz"))
    one, other = (
        read_deployment(write(tmp_path / name, replace(NETWORK, contract=c, name=name, notes={})))
        for name, c in (("e", elsewhere), ("f", there))
    )
    assert one.digest == other.digest != first.digest
    again = tmp_path / "again" / "x"
    edit_manifest(write(again), lambda m: m.update(created="2001-01-01T00:00:00+00:00", source="y"))
    assert read_deployment(again).digest == first.digest
    edit_manifest(again, lambda m: m["network"]["projections"][0].update(delay=3))
    assert read_deployment(again).digest != first.digest
    arrays = load_file(again / FILES[1])
    arrays["a/threshold"] += 1
    save_file(arrays, again / FILES[1])
    edit_manifest(again, lambda m: m["network"]["projections"][0].update(delay=0))
    edit_manifest(again, lambda m: m["files"].update({FILES[1]: sha256(again / FILES[1])}))
    assert read_deployment(again).digest != first.digest


def test_a_deployment_without_digest_loads_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "d")
    assert read_deployment(path).warnings == ()
    make_old(path)
    (warning,) = read_deployment(path).warnings
    assert warning.startswith(f"{path / 'manifest.json'} has no digest")
    assert warning.endswith("export it again")
    assert f"Warning: {warning}" in describe(path)
    assert "digest" not in describe(path).replace(warning, "")


def test_inspect_prints_the_digest_and_names_strangers(tmp_path: Path) -> None:
    path = write(tmp_path / "d")
    (path / "results").mkdir()
    (path / "report.html").write_text("")
    text = describe(path)
    assert read_deployment(path).digest in text
    assert "no part of it" not in text
    (path / "learning.json").write_text("{}")
    (path / "network.net").write_text("")
    assert "In its folder, but not part of it: learning.json, network.net" in describe(path)
    deployment = read_deployment(path)
    assert not deployment.learned
    with pytest.raises(UnsupportedError, match=r"has no network\.net"):
        _ = deployment.net_file


@pytest.mark.parametrize("name", ["../a.nir", "/etc/hostname", "..", ".", "", "results/../x", "\0"])
def test_only_names_within_the_folder_are_files_of_it(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "d")
    (tmp_path / "a.nir").write_text("")
    edit_manifest(path, lambda m: m["files"].update({name: sha256(tmp_path / "a.nir")}))
    with pytest.raises(InputError, match="is no name of a file in its folder"):
        read_deployment(path)


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_what_is_no_deployment_says_how_to_make_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with refused(InputError, r"not a deployment .*neurodeploy export", by="simulate"):
        read_deployment(tmp_path / name)


def test_a_manifest_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "d")
    (path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: not valid JSON"):
        read_deployment(path)


# --- whole or not at all ---


@pytest.mark.parametrize("stage", ["copy", "save", "structure_of", "sha256"])
def test_an_interrupted_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    if stage == "copy":
        monkeypatch.setattr(shutil, "copyfile", interrupt)
    else:
        monkeypatch.setattr(deployment_module, stage, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "all" / "d")
    assert [entry.name for entry in (tmp_path / "all").iterdir()] == ["d.nir"]
    with pytest.raises(InputError, match="no deployment"):
        newest_deployment(tmp_path / "all")


def test_a_complete_but_hidden_folder_is_not_the_newest(tmp_path: Path) -> None:
    path = write(tmp_path / "d-001")
    shutil.copytree(path, tmp_path / ".d-002.k3x.partial")
    assert newest_deployment(tmp_path) == path


def test_an_existing_deployment_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "d")
    before = {name: (path / name).read_bytes() for name in FILES}
    with pytest.raises(InputError, match="already exists"):
        write(path)
    assert {name: (path / name).read_bytes() for name in FILES} == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = tmp_path / "a.nir"
    source.write_bytes(b"")
    with pytest.raises(InputError, match="file/d: cannot be written"):
        write_deployment(tmp_path / "file" / "d", NETWORK, MAPPING, source, TARGET, "x")


def test_a_damaged_epoch_is_named_before_anything_is_written(
    workspace: Path, tmp_path: Path
) -> None:
    """In a run of an older version, whose metrics have no hash."""
    run = tmp_path / "run"
    shutil.copytree(workspace / "runs" / "digits_conv-001", run)
    summary = json.loads((run / "run.json").read_text())
    old = {key: value for key, value in summary.items() if key != "seal"}
    del old["sha256"]["metrics.jsonl"]
    (run / "run.json").write_text(json.dumps({**old, "format": 1}))
    log = run / "metrics.jsonl"
    epoch = json.loads(log.read_text())
    for changed in ({**epoch, "firing_rates": 2}, {"epoch": 1}, {**epoch, "seconds": "long"}):
        log.write_text(json.dumps(changed) + "\n")
        with pytest.raises(InputError, match=r"metrics\.jsonl, line 1: "):
            export(run, "loihi2", tmp_path / "made")
        assert not (tmp_path / "made").exists()
    log.write_text("\n".join(map(json.dumps, [epoch])) + "\n")
    (run / "run.json").write_text(json.dumps({**old, "format": 1, "best_epoch": 2}))
    with pytest.raises(InputError, match="the best of 1 epochs is 2"):
        export(run, "loihi2", tmp_path / "made")
