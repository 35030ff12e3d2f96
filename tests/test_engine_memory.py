"""Memory of engines: estimated before it is taken, refused where it is not there."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.bench.configuration import bench_network
from neurodeploy.errors import DataWarning, SimulationError
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.quantization.post_training import quantize
from neurodeploy.simulation.engines import ReferenceEngine
from neurodeploy.support.memory import available_memory
from neurodeploy.target import load_target
from neurodeploy.workflow import memory
from neurodeploy.workflow.arrays import simulate_arrays, validate_arrays
from neurodeploy.workflow.samples import choose_samples, random_samples
from neurodeploy.workflow.simulate import simulate
from neurodeploy.workflow.validate import validate
from support.engine_memory import integers
from support.wording import refused

FACTOR = 2.0
"""How far an estimate may be off, either way, where an engine takes more than ``SMALL``."""

SMALL = 150 * 2**20

GIGABYTE = 10**9


def measured(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", "support.engine_memory", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LARGE = [
    (*network, engine, *batch)
    for network, batch in (
        (("resnet18", 6), (1, 1, 1)),
        (("resnet18", 6), (10, 1, 2)),
        (("vgg11", 10), (1, 1, 1)),
        (("vgg11", 10), (4, 0, 2)),
        (("mlp-2000-4000-10", 8), (16, 0, 2)),
    )
    for engine in ("reference", "lava-fused", "lava")
]


@pytest.mark.lava
@pytest.mark.parametrize(
    "case",
    [
        ("conv-64-32-32-10", 8, "reference", 8, 1, 2),
        ("conv-64-32-32-10", 8, "lava", 8, 1, 2),
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in (("conv-64-32-32-10", 8, "lava-fused", 8, 1, 2), *LARGE)
        ),
    ],
    ids=lambda case: "-".join(map(str, case)),
)
def test_an_estimate_is_within_a_factor_of_what_the_kernel_counts(case: tuple[object, ...]) -> None:
    found = measured(*case)
    used = max(found["used"], SMALL)
    assert used / FACTOR < found["estimate"] < FACTOR * used, found


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("resnet18", 6), ("vgg11", 10)])
def test_networks_of_the_paper_fit_and_agree_on_all_engines(name: str, steps: int) -> None:
    """u, v and s of every neuron and step, in two gigabytes instead of all there is."""
    from neurodeploy.lava.fused import FusedLavaEngine
    from neurodeploy.lava.stock import LavaEngine

    network = integers(name, steps)
    (source,) = network.inputs
    samples = random_samples(1, 0.1, 0, network.contract, source.shape)
    ((_, expected),) = ReferenceEngine(network).run(samples.batches(1), state=True)
    for kind in (FusedLavaEngine, LavaEngine):
        engine = kind(network, capacity=1, state=True, timeout=300)
        ((_, found),) = engine.run(samples.batches(1), state=True)
        for population, record in expected.populations.items():
            other = found.populations[population]
            for variable in "suv":
                left, right = getattr(record, variable), getattr(other, variable)
                assert (left is None) == (right is None), (population, variable)
                if left is not None:
                    np.testing.assert_array_equal(left, right, f"{population}.{variable}")
    # Equality means little in a network that is silent.
    rates = {p: r.s.mean() for p, r in expected.populations.items() if p != network.output}
    assert min(rates.values()) > 0.005, rates


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "batch", "most", "seconds"), [("lava", 1, 8e9, 300), ("lava-fused", 32, 2e9, 3)]
)
@pytest.mark.parametrize(("name", "steps"), [("resnet18", 6), ("vgg11", 10)])
def test_networks_of_the_paper_take_little_memory_and_time(
    name: str, steps: int, engine: str, batch: int, most: float, seconds: float
) -> None:
    """Seconds of one core, building included: those of a clock depend on what else runs."""
    from neurodeploy.bench.simulate import in_own_process

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    row = in_own_process(engine, name, steps, 0.01, batch)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert row.peak_mb * 2**20 < most
    samples = 2 * batch  # one batch that is not timed, and one that is
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert 0 < spent / samples < seconds


def free(monkeypatch: pytest.MonkeyPatch, bytes_: float) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: int(bytes_))


def needs(monkeypatch: pytest.MonkeyPatch, **gigabytes: float) -> None:
    """Have engines need so much, whatever the network; ``_`` stands for ``-`` in their names."""
    given = {name.replace("_", "-"): int(GIGABYTE * need) for name, need in gigabytes.items()}

    def needed(name: str, network: Any, batch: int, *, state: bool) -> int:
        return given.get(name, 0)

    monkeypatch.setattr(memory, "needed", needed)


@pytest.fixture
def deployed(workspace: Path) -> Any:
    return read_deployment(workspace / "deployments" / "digits_conv-loihi2-001")


@pytest.mark.lava
def test_an_engine_that_does_not_fit_is_refused_before_it_is_built(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = choose_samples(deployed.network, samples=2)
    monkeypatch.setattr(
        "neurodeploy.workflow.simulate.make_engine", lambda *a, **k: pytest.fail("was built")
    )
    needs(monkeypatch, lava=22.1, lava_fused=3, reference=0.4)
    free(monkeypatch, 19.6e9)
    words = (
        r"engine lava would need about 22\.5 GB of memory for 2 samples at a time, "
        r"19\.6 GB are free; use --engine lava-fused, about 3\.4 GB"
    )
    with refused(SimulationError, words, by="simulate"):
        simulate(deployed, samples, "lava", progress=False)
    free(monkeypatch, 3e9)
    with refused(SimulationError, r"use --engine reference, about 0\.4 GB", by="simulate"):
        simulate(deployed, samples, "lava", progress=False)
    free(monkeypatch, 0.1e9)
    with pytest.raises(SimulationError, match="free some, or simulate on a machine with more"):
        simulate(deployed, samples, "lava", progress=False)


@pytest.mark.lava
def test_two_engines_have_to_fit_together(deployed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = choose_samples(deployed.network, samples=2)
    needs(monkeypatch, lava=6, lava_fused=3, reference=2)
    free(monkeypatch, 7e9)
    words = r"engines reference and lava would need about 8\.0 GB .* use --engines "
    with refused(SimulationError, words + "reference,lava-fused", by="validate"):
        validate(deployed, samples, ("reference", "lava"), progress=False)
    x = np.full((1, *deployed.network.inputs[0].shape), 9, np.uint8)
    with pytest.raises(SimulationError, match="use engines=reference,lava-fused, about 5"):
        validate_arrays(deployed.network, x, ("reference", "lava"))
    free(monkeypatch, 2.5e9)
    with pytest.raises(SimulationError, match="use engine=reference, about 2"):
        simulate_arrays(deployed.network, x, "lava-fused")


@pytest.mark.lava
def test_the_default_is_the_first_engine_that_fits(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: QuantizedNetwork = deployed.network
    needs(monkeypatch, lava=6, lava_fused=3, reference=2)
    chosen = []
    for room in (9e9, 7e9, 3e9, 1e9):
        free(monkeypatch, room)
        chosen.append(memory.default_engine(network, 1, state=False))
    assert [name for name, _ in chosen] == ["lava", "lava-fused", "reference", "lava"]
    assert chosen[0][1] is None
    assert chosen[1][1] == (
        "lava-fused was chosen: lava would need about 8.0 GB of memory, 7.0 GB are free"
    )
    free(monkeypatch, 7e9)
    samples = choose_samples(network, samples=2)
    result = simulate(deployed, samples, progress=False)
    assert result.engine == "lava-fused"
    assert result.warnings[0] == chosen[1][1]
    compared = validate(deployed, samples, progress=False)
    assert compared.report.engines == ("reference", "lava-fused")
    assert compared.warnings[0].startswith("lava-fused was chosen")
    x = np.full((1, *network.inputs[0].shape), 9, np.uint8)
    with pytest.warns(DataWarning, match="lava-fused was chosen"):
        assert validate_arrays(network, x).engines == ("reference", "lava-fused")


def test_without_lava_the_default_is_the_reference(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neurodeploy.lava.compat.lava_available", lambda: False)
    result = simulate(deployed, choose_samples(deployed.network, samples=2), progress=False)
    assert result.engine == "reference"
    assert result.warnings[0] == "reference was chosen: Lava is not installed"


def test_what_is_free_is_what_the_machine_and_every_group_leave(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    assert available_memory(proc, groups) is None
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert available_memory(proc, groups) == 5000 * 1024
    second = groups / "batch" / "job"
    second.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/batch/job\n")
    (second / "memory.max").write_text("max\n")
    (second / "memory.current").write_text("1000\n")
    assert available_memory(proc, groups) == 5000 * 1024
    (second.parent / "memory.max").write_text("4000000\n")
    (second.parent / "memory.current").write_text("1500000\n")
    (second.parent / "memory.stat").write_text("anon 7\ninactive_file 500000\n")
    assert available_memory(proc, groups) == 3000000
    first = groups / "memory" / "box"
    first.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("3:cpu:/other\n4:hugetlb,memory:/box\n")
    (first / "memory.limit_in_bytes").write_text("2000000\n")
    (first / "memory.usage_in_bytes").write_text("2500000\n")
    assert available_memory(proc, groups) == 0
    (first / "memory.usage_in_bytes").write_text("600000\n")
    assert available_memory(proc, groups) == 1400000


def peak(folder: Path, *command: str) -> int:
    """Bytes that the command's process had resident at most."""
    process = subprocess.Popen(
        [sys.executable, "-m", "neurodeploy", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    with process.stdout as stream:
        said = stream.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "compressed", "uncompressed"])
def test_memory_does_not_grow_with_the_samples(tmp_path: Path, kind: str) -> None:
    """The spikes of 100,000 samples alone would be 240 MB."""
    network = quantize(bench_network("mlp-196-600-10", 4), load_target("loihi2"))
    nd.deploy(network, "loihi2", tmp_path / "deployed")
    used = []
    for count in (5_000, 100_000):
        given: tuple[str, ...] = ("--random", str(count))
        if kind != "random":
            x = np.random.default_rng(0).integers(0, 2, (count, 4, 196), dtype=np.uint8)
            save = np.savez if kind == "uncompressed" else np.savez_compressed
            save(tmp_path / f"{count}.npz", x=x)
            given = ("--data", f"{count}.npz")
        command = ("simulate", "deployed", "--engine", "reference", "--workers", "1", *given)
        used.append(peak(tmp_path, *command))
    # The samples themselves, should they lie in memory, and what is said of each: its class.
    spare = (0 if kind == "random" else 100_000 * 4 * 196) + 40 * 2**20
    assert used[1] < used[0] + spare, [f"{each / 2**20:.0f} MB" for each in used]
