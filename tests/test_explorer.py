"""What one can look at in the report: samples, neurons, cores and classes, in a browser too."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import nir
import numpy as np
import pytest
from markupsafe import escape

from neurodeploy.artifacts.deployment import read_deployment
from neurodeploy.artifacts.results import write_result
from neurodeploy.artifacts.shown import read_shown
from neurodeploy.interchange.nir.file import write_nir
from neurodeploy.ir.quantized import QuantizedNetwork
from neurodeploy.reporting.report import write_report
from neurodeploy.reporting.report.glossary import GLOSSARY
from neurodeploy.reporting.report.packing import Pack
from neurodeploy.reporting.report.rendering import embedded
from neurodeploy.reporting.report.trained import learnt_cards, learnt_lead
from neurodeploy.simulation.trace import PopulationTrace, SampleBatch, SpikeTrace
from neurodeploy.workflow.samples import choose_samples
from neurodeploy.workflow.shown import SPIKE_BITS, SampleCollector, shares, spread
from neurodeploy.workflow.simulate import simulate
from support.browser import CHROMIUM, Tab, browser
from support.command import run_json
from support.page import Page, arrays_of

pytestmark = pytest.mark.pictures

COUNT = 40

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@dataclass(frozen=True)
class Explored:
    """A deployment that was simulated, and the whole trace of that."""

    path: Path
    trace: dict[str, np.ndarray]

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def page(self) -> Page:
        return Page(self.report.read_text(encoding="utf-8"))

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.path / "results/reference/summary.json").read_text())


@pytest.fixture(scope="module")
def explored(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Explored:
    path = tmp_path_factory.mktemp("explored") / "d"
    source = workspace / "deployments/digits_conv-loihi2-001"
    shutil.copytree(source, path, ignore=shutil.ignore_patterns("results"))
    deployment = read_deployment(path)
    samples, file = choose_samples(deployment.network, default_count=COUNT), path.parent / "t.npz"
    simulate(deployment, samples, "reference", trace=file, trace_state=True, progress=False)
    with np.load(file) as trace:
        return Explored(path, dict(trace))


# --- what is kept ---


def test_samples_are_shown_as_they_were_simulated(explored: Explored) -> None:
    """Against the trace, which the engine wrote with its states the first time."""
    data, array = arrays_of(explored.page)
    numbers = [entry["number"] for entry in data["samples"]["listed"]]
    populations = data["samples"]["populations"]
    assert [p["name"] for p in populations] == ["input", "lif1", "lif2", "readout"]
    network = read_deployment(explored.path).network
    for p in populations:
        neurons, traced = array(p["neurons"]), array(p["traced"])
        wanted = {key: explored.trace[f"{p['name']}.{key}"][numbers] for key in ("s", *p["states"])}
        flat = {key: values.reshape(*values.shape[:2], -1) for key, values in wanted.items()}
        np.testing.assert_array_equal(array(p["s"]), flat["s"][:, :, neurons])
        for name, place in p["states"].items():
            np.testing.assert_array_equal(array(place), flat[name][:, :, traced])
        assert set(p["states"]) == (set() if p["kind"] == "input" else {"u", "v"})
        assert len(neurons) == p["size"], "all of a small population"
    lif1, neuron = populations[1], network.population("lif1").leaky
    assert neuron.threshold is not None
    threshold = np.broadcast_to(neuron.threshold << 6, (16, 8, 8)).ravel()
    np.testing.assert_array_equal(array(lif1["threshold"]), threshold[array(lif1["traced"])])
    assert populations[-1]["threshold"] is None and populations[-1]["shows"] == "v"


def test_cores_have_the_spikes_of_their_neurons(explored: Explored) -> None:
    data, array = arrays_of(explored.page)
    numbers = [entry["number"] for entry in data["samples"]["listed"]]
    cores, mapping = array(data["samples"]["cores"]), read_deployment(explored.path).mapping
    for place, part in enumerate(mapping.placements):
        box = tuple(slice(*ends) for ends in part.ranges)
        s = explored.trace[f"{part.population}.s"][(slice(None), slice(None), *box)]
        by_step = (s != 0).reshape(*s.shape[:2], -1).sum(axis=2)
        np.testing.assert_array_equal(cores[:, :, place], by_step[numbers])
        mean = data["cores"]["parts"][place]["spikes"]
        assert mean == pytest.approx(by_step.sum() / COUNT)


def test_the_first_samples_are_kept_and_then_those_that_are_wrong(explored: Explored) -> None:
    data, _ = arrays_of(explored.page)
    found = data["samples"]["listed"]
    predicted, labels = (explored.trace[name] for name in ("predicted", "labels"))
    wrong = [n for n in range(6, COUNT) if predicted[n] != labels[n]][:6]
    assert wrong, "the network of this test is a bad one"
    others = [n for n in range(6, COUNT) if n not in wrong][: 6 - len(wrong)]
    assert [entry["number"] for entry in found] == [*range(6), *sorted(wrong + others)]
    for entry in found:
        assert entry["predicted"] == predicted[entry["number"]]
        assert entry["label"] == labels[entry["number"]]


def test_shares_are_equal_where_not_all_fits() -> None:
    sizes, costs = {"a": 3, "b": 1000, "c": 5000, "d": 0}, {"a": 10, "b": 10, "c": 20, "d": 7}
    found = shares(sizes, costs, 10_030)
    assert found == {"a": 3, "b": 500, "c": 250, "d": 0}
    assert shares(sizes, costs, 10**9) == sizes
    assert shares(sizes, costs, 0) == dict.fromkeys(sizes, 0)
    assert spread(10, 4).tolist() == [0, 2, 5, 7] and spread(3, 3).tolist() == [0, 1, 2]
    assert spread(5, 0).tolist() == []


@pytest.mark.parametrize(("neurons", "steps"), [(2**18, 16), (100, 5000), (40, 2**15)])
def test_what_is_kept_is_bounded(neurons: int, steps: int) -> None:
    contract = SimpleNamespace(steps=steps)
    network = cast(QuantizedNetwork, SimpleNamespace(contract=contract, populations=[None, None]))
    collector, parts = SampleCollector(network), []
    s = np.zeros((1, steps, neurons), np.uint8)
    trace = SpikeTrace(0, {"a": PopulationTrace(s), "b": PopulationTrace(s[:, :, :7])}, "b")
    for number in range(30):
        batch, right = SampleBatch(number, s[:, 0], True), np.array([number % 2 == 0])
        collector.add(trace, batch, right)
        if number % 10 == 0:
            parts.append(SampleCollector(network))
        parts[-1].add(trace, batch, right)
    kept = sum(spikes.size for sample in collector.kept for spikes in sample.spikes.values())
    assert SPIKE_BITS / 4 < kept <= SPIKE_BITS
    assert [k.spikes["b"].shape[1] for k in collector.kept] == [7] * len(collector.kept)
    # Workers, each of which sees some of the samples, keep the same.
    whole = SampleCollector(network)
    for part in parts:
        whole.join(part)
    assert [k.number for k in whole.kept] == [k.number for k in collector.kept]


def test_states_of_other_spikes_are_not_shown(explored: Explored) -> None:
    """An engine that computes otherwise, of which the reference's states would be untrue."""
    deployment = read_deployment(explored.path)
    samples = choose_samples(deployment.network, default_count=2)
    collector = SampleCollector(deployment.network)
    (batch,) = samples.batches(2)
    populations = {
        p.name: PopulationTrace(explored.trace[f"{p.name}.s"][:2])
        for p in deployment.network.populations
    }
    trace = SpikeTrace(0, populations, "readout")
    collector.add(trace, batch, None)
    assert collector.finish(deployment, "lava").states_of == "reference"
    collector.kept[1].spikes["lif1"][0, 0] ^= 1
    found = collector.finish(deployment, "lava")
    assert found.states_of == "" and "spikes of reference differ" in found.missing
    assert not any(p.states for p in found.populations.values())


def test_a_file_of_samples_that_holds_something_else_is_refused(
    explored: Explored, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    names = ["input", "lif1"]
    arrays = load_file(explored.path / "results/reference/samples.safetensors")
    save_file({**arrays, "lif1.s": arrays["lif1.s"][:1]}, tmp_path / "short.safetensors")
    save_file({k: v for k, v in arrays.items() if k != "samples"}, tmp_path / "none.safetensors")
    for file in ("short.safetensors", "none.safetensors"):
        with pytest.raises(ValueError, match="tensor"):
            read_shown(tmp_path / file, names)


def test_an_older_result_has_a_report_without_samples(explored: Explored, tmp_path: Path) -> None:
    path = Path(shutil.copytree(explored.path, tmp_path / "d"))
    (path / "results/reference/samples.safetensors").unlink()
    page = Page(write_report(read_deployment(path)).read_text(encoding="utf-8"))
    assert arrays_of(page)[0]["samples"] is None and "samples are kept here" not in page.text


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 1, 0, 1, 0, 0, 0, 1], "b1"),
        ([-128, 127], "i1"),
        ([0, 2], "i1"),
        ([128], "i2"),
        ([-40_000, 5], "i4"),
        ([0.5, -1e30], "f4"),
    ],
)
def test_arrays_are_narrow_and_come_back(values: list[float], kind: str) -> None:
    pack = Pack()
    first, second = pack.add(np.array([7, 300])), pack.add(np.array(values))
    assert second["kind"] == kind and second["at"] % 8 == 0
    data = json.dumps({"arrays": pack.text()})
    _, array = arrays_of(Page(f'<script id="page-data">{data}</script>'))
    assert array(first).tolist() == [7, 300]
    assert array(second).tolist() == [float(np.float32(value)) for value in values]


# --- the page ---


def test_the_page_runs_its_own_script_alone(explored: Explored) -> None:
    page = explored.page
    (data, _), (plain, script) = page.scripts
    assert data == {"type": "application/json", "id": "page-data"} and plain == {}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert name not in script


def test_terms_of_tables_lead_to_the_glossary(explored: Explored) -> None:
    page = explored.page
    keys = [term.key for term in GLOSSARY]
    assert len(set(keys)) == len(keys)
    assert {f"term-{key}" for key in keys} <= page.anchors
    assert {"#term-axon", "#term-sqnr", "#term-wrap", "#term-contract"} <= set(page.links)
    for term in ("axon", "wrap", "guard step", "contract", "sqnr"):
        assert term in page.text.lower()


def test_a_match_says_of_how_many_samples(explored: Explored, tmp_path: Path) -> None:
    path = Path(shutil.copytree(explored.path, tmp_path / "d"))
    deployment, folder = read_deployment(path), path / "results/reference-lava"
    folder.mkdir()
    report = {
        "engines": ["reference", "lava"], "samples": 64, "compared": 1000, "exact": True,
        "mismatches": 0, "silent": False, "populations": [], "first_divergence": None,
    }  # fmt: skip
    write_result(folder / "parity.json", report, deployment)
    text = Page(write_report(deployment).read_text(encoding="utf-8")).text
    assert "matches bit for bit on 64 samples: reference against lava" in text


def test_where_energy_and_time_go(explored: Explored) -> None:
    text, estimate = explored.page.text, explored.summary["estimate"]
    for title in ("Energy by operation", "Energy by population", "Time of a step by operation"):
        assert title in text
    shares = [p["energy_nj"]["high"] for p in estimate["populations"]]
    assert sum(shares) == pytest.approx(estimate["energy_nj"]["high"])
    ops = sum(p["synaptic_ops"] for p in estimate["populations"])
    assert ops == pytest.approx(estimate["synaptic_ops"])
    messages = sum(p["messages"] for p in estimate["populations"])
    assert messages == pytest.approx(estimate["traffic"]["messages"])
    slowest = max(p["step_ns"] for p in estimate["populations"])
    barrier = estimate["limit"]["barrier_ns"]
    assert slowest + barrier == pytest.approx(estimate["step_ns"]["high"])


def test_learning_opens_with_what_was_learnt() -> None:
    found = {
        "accuracies_before": {"set aside": 0.9, "upright": 0.99, "turned": 0.70},
        "accuracies_after": {"set aside": 0.95, "upright": 0.98, "turned": 0.96},
        "measure": "turned", "judge": "set aside", "kept_after": 500,
        "description": "500 samples",
    }  # fmt: skip
    first, *others = learnt_cards(found)
    assert (first["label"], first["value"]) == ("learnt", "70.0% to 96.0%")
    assert [card["value"] for card in others] == ["99.0% to 98.0%"]
    assert learnt_lead(found).startswith(
        "Accuracy on held-out samples: turned from 70.00% to 96.00% ("
    )
    assert learnt_lead({**found, "kept_after": 0}).endswith("The old weights were kept.")


HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\">",
    "'\"]};document.title='taken';--><!--<script>document.title='taken'<!--",
    "&lt;svg onload=document.title=1><svg onload=document.title='taken'>${1}{{ 7 * 7 }}",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment whose populations are named to be taken for HTML or for a script."""
    folder = tmp_path_factory.mktemp("hostile")
    ones, rng = np.ones(3), np.random.default_rng(0)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([3])})}
    edges, before = [], "input"
    for number, name in enumerate(HOSTILE):
        nodes[f"w{number}"] = nir.Linear(rng.uniform(0.2, 1, (3, 3)))
        nodes[name] = nir.LIF(tau=2e-4 * ones, r=ones, v_leak=0 * ones, v_threshold=0.3 * ones)
        edges += [(before, f"w{number}"), (f"w{number}", name)]
        before = name
    nodes["output"] = nir.Output({"output": np.array([3])})
    write_nir(folder / "a.nir", nir.NIRGraph(nodes, [*edges, (before, "output")], type_check=False))
    stated = ("--dt", "1e-4", "--reset", "zero", "--integrator", "euler", "--compare", "gt")
    out = ("--steps", "6", "--target", "loihi2", "--out", "d")
    run_json("export", "a.nir", *stated, *out, "--encoder", "rate", "--levels", "1", folder=folder)
    run_json("simulate", "d", "--engine", "reference", "--random", "3", "--rate", "0.9",
             folder=folder)  # fmt: skip
    return folder / "d" / "report.html"


def test_no_name_becomes_html_or_script(hostile: Path) -> None:
    text = hostile.read_text(encoding="utf-8")
    page = Page(text)
    data, _ = arrays_of(page)
    names = [p["name"] for p in data["samples"]["populations"]]
    assert set(HOSTILE) <= set(names)
    assert len(page.scripts) == 2 and all(image["src"] != "x" for image in page.images)
    for name in HOSTILE:
        assert name not in text and str(escape(name)) in text
    assert "<svg" not in text and "{{ 7 * 7 }}" in page.text


def test_data_in_a_page_end_no_element() -> None:
    text = str(embedded({"a": "</script><!--&'\u2028\udc80"}))
    assert not set("<>&'") & set(text) and text.isascii()
    assert json.loads(text) == {"a": "</script><!--&'\u2028\udc80"}


# --- in a browser ---


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def middle(tab: Tab, selector: str, number: int = 0) -> tuple[float, float, float, float]:
    """Left, top, width and height of an element, which is scrolled into sight."""
    tab.run(
        f"document.querySelectorAll({selector!r})[{number}].scrollIntoView({{block: 'center'}})"
    )
    box = f"document.querySelectorAll({selector!r})[{number}].getBoundingClientRect()"
    x, y, width, height = tab.run(f"(b => [b.x, b.y, b.width, b.height])({box})")
    return x, y, width, height


def choose(tab: Tab, selector: str, value: str) -> None:
    tab.run(
        f"(s => {{ s.value = {value!r}; s.dispatchEvent(new Event('change')); }})"
        f"(document.querySelector({selector!r}))"
    )


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_all_of_it(
    explored: Explored, tab: Tab, width: int, dark: bool, tmp_path: Path
) -> None:
    tab.asked.clear()
    tab.open(explored.report, width, dark=dark)
    found = tab.run(
        "(images => ({missing: images.filter(i => !i.complete || !i.naturalWidth).map(i => i.alt),"
        " count: images.length, scroll: document.documentElement.scrollWidth,"
        " failed: document.getElementById('failed') !== null,"
        " main: document.querySelector('main').clientWidth,"
        " page: getComputedStyle(document.body).backgroundColor}))([...document.images])"
    )
    assert found["missing"] == [] and found["count"] == 7 and not found["failed"]
    assert found["scroll"] <= width and found["main"] == width
    assert found["page"] == ("rgb(18, 24, 31)" if dark else "rgb(255, 255, 255)")
    assert [url for url in tab.asked if not url.startswith("data:")] == [explored.report.as_uri()]
    assert tab.said == []


@needs_browser
def test_it_opens_within_a_second(explored: Explored, tab: Tab) -> None:
    assert explored.report.stat().st_size < 3e6
    tab.open(explored.report, 1280)
    assert 0 < tab.busy < 1


@needs_browser
def test_the_switch_changes_between_light_and_dark(explored: Explored, tab: Tab) -> None:
    tab.open(explored.report, 1280)
    shade = "getComputedStyle(document.body).backgroundColor"
    before = tab.run(shade)
    tab.run("document.getElementById('theme').click()")
    after = tab.run(shade)
    tab.run("document.getElementById('theme').click()")
    assert before != after and tab.run(shade) == before


@needs_browser
def test_a_sample_and_a_neuron_are_chosen_and_read(explored: Explored, tab: Tab) -> None:
    tab.open(explored.report, 1280)
    data, _ = arrays_of(explored.page)
    place = 3
    number = data["samples"]["listed"][place]["number"]
    choose(tab, "#sample", str(place))
    steps, size = explored.trace["lif1.u"].shape[1], 1024
    x, y, width, height = middle(tab, "canvas.raster", 1)
    left, foot = 54 + 1, 18 + 1  # with the border
    step, neuron = steps // 2, 700
    px = x + left + (step + 0.5) * (width - left - 1) / steps
    tab.mouse("mouseMoved", px, y + 1 + (neuron + 0.5) * (height - foot - 1) / size)
    said = str(tab.run("document.getElementById('reading').textContent"))
    index = int(str(re.sub(r".*\(index ([\d,]+)\).*", r"\1", said)).replace(",", ""))
    assert abs(index - neuron) < 10, said
    u, v, s = (int(explored.trace[f"lif1.{k}"][number, step].ravel()[index]) for k in "uvs")
    c, row, column = np.unravel_index(index, (16, 8, 8))
    assert said == (
        f"lif1, neuron [{c}, {row}, {column}] (index {index:,}), step {step}: "
        f"u = {u:,}, v = {v:,}, s = {s}"
    )
    tab.run("document.querySelector('[data-still=explorer]').hidden || fail()")
    # A part of the neurons, by dragging: another neuron lies under the same point.
    y0, y1 = y + 5, y + 25
    for kind, at in (("mouseMoved", y0), ("mousePressed", y0), ("mouseMoved", y1)):
        tab.mouse(kind, px, at)
    tab.mouse("mouseReleased", px, y1)
    tab.mouse("mouseMoved", px, y + height / 2)
    near = str(tab.run("document.getElementById('reading').textContent"))
    # Back from there.
    tab.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'Reset').click()")
    tab.mouse("mouseMoved", px, y + height / 2 + 1)
    far = str(tab.run("document.getElementById('reading').textContent"))
    inside, outside = (
        int(there[1].replace(",", ""))
        for text in (near, far)
        if (there := re.search(r"index ([\d,]+)", text))
    )
    assert inside < 200 < 400 < outside
    assert tab.said == []


@needs_browser
def test_a_cell_of_the_matrix_lists_its_samples(explored: Explored, tab: Tab) -> None:
    tab.open(explored.report, 390)
    data, _ = arrays_of(explored.page)
    predicted, labels = (explored.trace[name] for name in ("predicted", "labels"))
    kept = [entry["number"] for entry in data["samples"]["listed"]]
    number = next(n for n in kept if predicted[n] != labels[n])
    label, found = int(labels[number]), int(predicted[number])
    cell = label * 10 + found
    tab.run(f"document.querySelectorAll('.matrix button')[{cell}].click()")
    said = tab.run("document.querySelector('#matrix .reading').textContent")
    listed = [n for n in range(COUNT) if (labels[n], predicted[n]) == (label, found)]
    assert said.startswith(f"Label {label}, predicted {found}: {len(listed)} samples")
    assert [int(n) for n in re.findall(r"\d+", said.split(". ")[-1])] == listed
    tab.run(
        "[...document.querySelectorAll('#matrix .reading button')]"
        f".find(b => b.textContent === '{number}').click()"
    )
    assert tab.run("document.getElementById('sample').value") == str(kept.index(number))


@needs_browser
def test_cores_tell_how_much_they_send(explored: Explored, tab: Tab) -> None:
    tab.open(explored.report, 1280)
    mean = explored.summary["spikes_per_sample"]["lif1"]
    choose(tab, "#shading", "mean")
    tab.run(
        "document.querySelectorAll('#chips rect[fill^=color-mix]')[0]"
        ".dispatchEvent(new Event('pointerenter'))"
    )
    said = str(tab.run("document.querySelector('#chips .reading').textContent"))
    assert "part of lif1, 1,024 neurons" in said
    value = re.search(r"([\d,.]+) spikes per sample, mean", said)
    assert value and float(value[1].replace(",", "")) == pytest.approx(mean, rel=1e-3)
    assert tab.said == []


@needs_browser
def test_tables_scroll_on_a_phone(explored: Explored, tab: Tab) -> None:
    tab.open(explored.report, 390)
    found = tab.run(
        "[...document.querySelectorAll('.wide')].map(w => { w.scrollLeft = 1e4;"
        " const c = w.querySelector('tbody td'); return {over: w.scrollWidth - w.clientWidth,"
        " moved: w.scrollLeft, first: c.clientWidth / w.clientWidth}; })"
    )
    wide = [table for table in found if table["over"] > 0]
    assert len(wide) >= 4
    assert all(table["moved"] == pytest.approx(table["over"], abs=1) for table in wide)
    assert all(0.08 < table["first"] < 0.5 for table in wide)


@needs_browser
def test_hostile_names_are_shown_as_they_are(hostile: Path, tab: Tab) -> None:
    tab.said.clear()
    tab.open(hostile, 1280)
    names = tab.run("[...document.querySelectorAll('.panel b')].map(b => b.textContent)")
    assert set(HOSTILE) <= set(names)
    assert tab.run("document.title") != "taken" and tab.said == []
    assert tab.run("document.querySelectorAll('script, main svg').length") == 3  # and the chips
