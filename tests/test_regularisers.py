"""Prices on spikes: their formulas, the gradients that rules make of them, and what they cost.

The rules' equations are written out in numpy for two hidden layers, with errors of the loss and of
the prices apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.mapping.fan_out import fan_out
from neurodeploy.nn.loss import InstantaneousLoss
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.recipe import NeuronRecipe
from neurodeploy.rules import RULES, SLTT, SLTTK, Batch, Rate, Rule
from neurodeploy.sparsity import (
    REGULARISERS,
    MeanRate,
    PricedLoss,
    Regulariser,
    Saturated,
    Silent,
    SynapticOperations,
    Wiring,
    build_regularisers,
)
from neurodeploy.training import train
from support.kept_for_backward import peak_kept
from support.learned_mlp import CLASSES, HIDDEN, SAMPLES, make_batch, make_network
from support.small_runs import assert_same_run, make_recipe, metrics_of

STEPS = 6
NEURON = NeuronRecipe(2.0)
FAN_OUT = {"lif1": np.arange(1, HIDDEN[0] + 1), "lif2": np.arange(HIDDEN[1])[::-1].copy()}
PRICES: dict[str, tuple[Regulariser, ...]] = {
    "mean_rate": (MeanRate(2.0),),
    "mean_rate_down_to": (MeanRate(2.0, target=0.203),),
    "synaptic_operations": (SynapticOperations(3.0),),
    "synaptic_operations_down_to": (SynapticOperations(3.0, target=83.9),),
    "silent": (Silent(1.5, floor=0.4),),
    "saturated": (Saturated(1.5, ceiling=0.3),),
    "together": (MeanRate(1.0), SynapticOperations(0.5), Silent(0.5, 0.3), Saturated(0.5, 0.5)),
}
assert {type(p) for prices in PRICES.values() for p in prices} == {*REGULARISERS.values()}


def slopes_in_numpy(
    regularisers: Sequence[Regulariser], rates: Mapping[str, np.ndarray], steps: int
) -> dict[str, np.ndarray]:
    """dP/dr_j as the formulas in the docstrings have it; rates (neurons,) by layer."""
    everyone = np.concatenate([*rates.values()])
    found = {name: np.zeros_like(rate) for name, rate in rates.items()}
    for regulariser in regularisers:
        for name, r in rates.items():
            if isinstance(regulariser, MeanRate):
                slope = np.full_like(r, everyone.mean() > regulariser.target) / everyone.size
            elif isinstance(regulariser, SynapticOperations):
                ops = sum(FAN_OUT[n] @ rate for n, rate in rates.items())
                behind = sum(f.sum() for f in FAN_OUT.values())
                slope = (ops > regulariser.target / steps) * FAN_OUT[name] / behind
            elif isinstance(regulariser, Silent):
                lacking = np.maximum(0, 1 - r / regulariser.floor)
                slope = -2 * lacking / regulariser.floor / everyone.size
            else:
                assert isinstance(regulariser, Saturated)
                above = np.maximum(0, r - regulariser.ceiling) / (1 - regulariser.ceiling)
                slope = 2 * above / (1 - regulariser.ceiling) / everyone.size
            found[name] = found[name] + regulariser.weight * slope
    return found


class Equations:
    """fc1 - lif1 - fc2 - lif2 - fc, its errors and its traces."""

    def __init__(
        self,
        network: SpikingNetwork,
        frames: np.ndarray,
        labels: np.ndarray,
        regularisers: Sequence[Regulariser],
        lengths: np.ndarray | None = None,
    ) -> None:
        self.p = {
            name.removeprefix("layers."): value.detach().numpy().copy()
            for name, value in network.named_parameters()
        }
        self.keep, steps = 0.5, len(frames)
        self.given, self.u = {"fc1": frames}, {}
        for name, above in (("fc1", "fc2"), ("fc2", "fc")):
            v, us, spikes = 0.0, [], []
            for x in self.drive(name, self.given[name]):
                u = self.keep * v + x
                s = (u >= 1) * 1.0
                v = u - s
                us.append(u)
                spikes.append(s)
            self.u[name], self.given[above] = np.stack(us), np.stack(spikes)
        o = self.drive("fc", self.given["fc"])
        softmax = np.exp(o - o.max(2, keepdims=True))
        softmax /= softmax.sum(2, keepdims=True)
        lasts = np.full(SAMPLES, steps) if lengths is None else lengths
        own = (np.arange(steps)[:, None] < lasts)[..., None] * 1.0
        self.of_outputs = own * (softmax - np.eye(CLASSES)[labels]) / SAMPLES / lasts[:, None]
        # What prices add to dL/ds, by the layer that reads the spikes.
        self.prices = {
            "fc2": np.zeros_like(self.given["fc2"]),
            "fc": np.zeros_like(self.given["fc"]),
        }
        for t in range(steps):
            rates = {
                name: (own * self.given[above])[: t + 1].sum((0, 1)) / own[: t + 1].sum()
                for name, above in (("lif1", "fc2"), ("lif2", "fc"))
            }
            slopes = slopes_in_numpy(regularisers, rates, steps)
            for name, above in (("lif1", "fc2"), ("lif2", "fc")):
                self.prices[above][t] = own[t] * slopes[name] / lasts.sum()

    def drive(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def psi(self, name: str) -> np.ndarray:
        return np.maximum(0, 1 - np.abs(self.u[name] - 1))

    def errors(self) -> dict[str, np.ndarray]:
        """Within each step: at the drive of each layer."""
        found = {"fc": self.of_outputs}
        for name, above in (("fc2", "fc"), ("fc1", "fc2")):
            spread = found[above] @ self.p[f"{above}.weight"] + self.prices[above]
            found[name] = spread * self.psi(name)
        return found

    def summed(self, errors: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> Any:
        found = {}
        for name, e in errors.items():
            found[f"{name}.weight"] = np.einsum("tno,tni->oi", e, given[name])
            found[f"{name}.bias"] = e.sum((0, 1))
        return found

    def sltt(self) -> Any:
        return self.summed(self.errors(), self.given)

    def ottt(self) -> Any:
        traces = {}
        for name, s in self.given.items():
            traces[name] = np.stack(
                [sum(self.keep ** (t - k) * s[k] for k in range(t + 1)) for t in range(len(s))]
            )
        return self.summed(self.errors(), traces)

    def bptt(self) -> Any:
        found = {"fc": self.of_outputs}
        for name, above in (("fc2", "fc"), ("fc1", "fc2")):
            spread = found[above] @ self.p[f"{above}.weight"] + self.prices[above]
            psi, later, errors = self.psi(name), 0.0, []
            for t in reversed(range(len(spread))):
                later = spread[t] * psi[t] + self.keep * later * (1 - psi[t])
                errors.append(later)
            found[name] = np.stack(errors[::-1])
        return self.summed(found, self.given)

    def eprop(self) -> Any:
        found = self.summed({"fc": self.of_outputs}, self.given)
        errors = self.errors()
        for name, above in (("fc2", "fc"), ("fc1", "fc2")):
            given = np.concatenate([self.given[name], np.ones((*self.given[name].shape[:2], 1))], 2)
            psi, kept = self.psi(name), self.keep * (1 - self.psi(name))
            of_loss = errors[above] @ self.p[f"{above}.weight"]
            total = np.zeros((psi.shape[2], given.shape[2]))
            e = m = 0.0
            for t in range(len(psi)):
                before = kept[t - 1][..., None] if t else 0.0
                e = before * e + given[t][:, None, :]
                f = psi[t][..., None] * e
                if name == "fc1":
                    above_kept = self.keep * (1 - self.psi("fc2"))
                    m = (above_kept[t - 1].mean(1)[:, None, None] if t else 0.0) * m + f
                else:
                    m = f
                total += np.einsum("nj,nji->ji", of_loss[t], m)
                total += np.einsum("nj,nji->ji", self.prices[above][t], f)
            found[f"{name}.weight"], found[f"{name}.bias"] = total[:, :-1], total[:, -1]
        return found


def priced_gradients(
    rule: Rule,
    network: SpikingNetwork,
    frames: np.ndarray,
    labels: np.ndarray,
    regularisers: Sequence[Regulariser],
    lengths: np.ndarray | None = None,
    chunk: int = 0,
) -> tuple[dict[str, np.ndarray], float]:
    """What a rule makes of a loss with prices, and the loss that it tells."""
    network.zero_grad()
    steps, y = len(frames), torch.from_numpy(labels)
    fan_outs = {name: torch.from_numpy(each) for name, each in FAN_OUT.items()}
    lasts = None if lengths is None else torch.from_numpy(lengths)
    of_step = InstantaneousLoss()
    of_outputs = of_step.of_batch(lasts, y, steps) or of_step
    loss = PricedLoss(of_outputs, regularisers, SAMPLES, Wiring(steps, fan_outs), lasts)
    batch = Batch(map(torch.from_numpy, frames), steps, y, time_chunk=chunk)
    generator = torch.Generator().manual_seed(0)
    with loss.watching(network):
        result = rule.train_batch(network, batch, loss, lambda: None, generator)
    assert network.watch is None
    named = network.named_parameters()
    return {
        name.removeprefix("layers."): p.grad.numpy().copy()
        for name, p in named
        if p.grad is not None
    }, float(result.loss)


def assert_close(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        error = np.linalg.norm(found[name] - gradient) / np.linalg.norm(gradient)
        assert error < 1e-10, (name, error)


@pytest.mark.parametrize("lasting", [False, True], ids=["", "own_steps"])
@pytest.mark.parametrize("prices", PRICES)
@pytest.mark.parametrize("name", ["sltt", "sltt-k", "ottt", "eprop", "bptt"])
def test_gradients_are_those_of_the_equations(name: str, prices: str, lasting: bool) -> None:
    network = make_network(NEURON)
    frames, labels = make_batch(STEPS)
    lengths = np.array([6, 2, 5, 1, 4]) if lasting else None
    rule = SLTTK(K=STEPS) if name == "sltt-k" else RULES[name]()
    equations = Equations(network, frames, labels, PRICES[prices], lengths)
    expected = getattr(equations, "sltt" if name == "sltt-k" else name)()
    found, loss = priced_gradients(rule, network, frames, labels, PRICES[prices], lengths)
    assert_close(found, expected)
    plain, told = priced_gradients(rule, network, frames, labels, (), lengths)
    assert loss == told
    assert any(np.abs(found[key] - plain[key]).max() > 1e-3 for key in plain)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_steps_at_once_change_nothing(chunk: int) -> None:
    network, batch = make_network(NEURON), make_batch(STEPS)
    one, _ = priced_gradients(SLTT(), network, *batch, PRICES["together"], chunk=STEPS)
    other, _ = priced_gradients(SLTT(), network, *batch, PRICES["together"], chunk=chunk)
    assert_close(one, other)


def test_steps_that_are_not_drawn_have_no_price() -> None:
    """SLTT-K at K steps: the errors of those alone, their prices among them, all rates known."""
    network, (frames, labels) = make_network(NEURON), make_batch(STEPS)
    drawn = torch.randperm(STEPS, generator=torch.Generator().manual_seed(0))[:2].tolist()
    equations = Equations(network, frames, labels, PRICES["silent"])
    undrawn = [t for t in range(STEPS) if t not in drawn]
    for errors in (equations.of_outputs, *equations.prices.values()):
        errors[undrawn] = 0
    found, _ = priced_gradients(SLTTK(K=2), network, frames, labels, PRICES["silent"])
    assert_close(found, equations.sltt())


def test_mean_rates_have_the_price_of_the_rates() -> None:
    """In one hidden layer dL/dr is plainly 1/N of the slope at the batch's rates."""
    network, (frames, labels) = make_network(NEURON), make_batch(STEPS)
    prices = PRICES["together"]
    plain, loss = priced_gradients(Rate(), network, frames, labels, ())
    found, told = priced_gradients(Rate(), network, frames, labels, prices)
    assert loss == told
    equations = Equations(network, frames, labels, prices)
    u, s = equations.u["fc2"], equations.given["fc"]
    rates = {"lif1": equations.given["fc2"].mean((0, 1)), "lif2": s.mean((0, 1))}
    rho = [1.0]
    for _ in range(STEPS - 1):
        rho.append(1 + 0.5 * rho[-1])
    slope = np.einsum("t,tnj->nj", rho, equations.psi("fc2")) / STEPS
    assert u.shape[0] == STEPS
    error = slopes_in_numpy(prices, rates, STEPS)["lif2"] / SAMPLES * slope
    expected = error.T @ equations.given["fc2"].mean(0)
    np.testing.assert_allclose(found["fc2.weight"] - plain["fc2.weight"], expected, atol=1e-12)


def test_slopes_are_the_derivatives_of_prices() -> None:
    rng = np.random.default_rng(0)
    rates = {name: rng.random((3, len(f))) for name, f in FAN_OUT.items()}
    wiring = Wiring(STEPS, {name: torch.from_numpy(f) for name, f in FAN_OUT.items()})
    for regulariser in (p for prices in PRICES.values() for p in prices):
        given = {name: torch.from_numpy(r) for name, r in rates.items()}
        price = regulariser.price(given, wiring)
        assert price.shape == (3,)
        slopes = regulariser.slopes(given, wiring)
        for name, index in (("lif1", 4), ("lif2", 2)):
            step = 1e-7
            moved = {key: value.clone() for key, value in given.items()}
            moved[name][:, index] += step
            changed = (regulariser.price(moved, wiring) - price) / step
            torch.testing.assert_close(slopes[name][:, index], changed, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["sltt", "sltt-k", "ottt", "eprop", "bptt"])
def test_memory_stays_constant_in_the_number_of_steps(name: str) -> None:
    network = make_network(NEURON)

    def peak(steps: int, prices: Sequence[Regulariser]) -> int:
        batch = make_batch(steps)
        rule = RULES[name]()
        return peak_kept(lambda: priced_gradients(rule, network, *batch, prices, chunk=1)).bytes

    few, many = (peak(steps, PRICES["together"]) for steps in (8, 64))
    if name == "bptt":
        assert many > 6 * few
    else:
        assert many == few
    # What prices add is at most the spikes of one step once more.
    assert few >= peak(8, ())


def small_module() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nd.nn.LIF(2.0),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(3 * 2 * 2, 6),
        nd.nn.CubaLIF(2.0, 1.5),
        nn.Linear(6, 3),
    ).double()


def weight_of(module: nn.Sequential) -> Tensor:
    """The weight of its hidden fully connected layer."""
    layer = module[4]
    assert isinstance(layer, nn.Linear)
    return layer.weight


def test_synapses_behind_neurons_are_those_of_the_matrix() -> None:
    """Borders of a convolution, pooling, several projections, and weights of zero."""
    module = nn.Sequential(nd.nn.LIF(2.0), nn.Conv2d(2, 3, 3, stride=2, padding=1), nd.nn.LIF(2.0))
    network = nd.from_torch(module, (2, 5, 4), 2)
    found = fan_out(network)
    for projection in network.projections:
        matrix = np.abs(projection.operator.matrix().toarray()) > 0
        if projection.source == "0":
            np.testing.assert_array_equal(found["0"].ravel(), matrix.sum(0))
    corner, edge, inner = found["0"][0, 0, 0], found["0"][0, 0, 1], found["0"][0, 1, 1]
    assert (corner, edge, inner) == (3, 6, 12)

    pooled = small_module()
    with torch.no_grad():
        weight_of(pooled)[:, 0] = 0
        weight_of(pooled)[1:3, 1] = 0
    behind = nd.sparsity.fan_out_of(pooled, (1, 4, 4))
    assert behind["1"][0].tolist() == [[0, 0, 4, 4], [0, 0, 4, 4], [6] * 4, [6] * 4]
    assert behind["5"].tolist() == [3] * 6
    assert behind["input"][0, 0].tolist() == [12, 18, 18, 12]
    assert pooled.training


def test_a_loop_of_ones_own_takes_them() -> None:
    module, x = small_module(), 3 * torch.rand(4, 5, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        weight_of(module).mul_(4)
    y, weights = torch.tensor([0, 1, 2, 0, 1]), [*module.parameters()]

    def found(**options: Any) -> tuple[Tensor, list[Tensor]]:
        module.zero_grad()
        loss = SLTT().backward(module, x, y, F.cross_entropy, **options)
        return loss, [w.grad.clone() for w in weights if w.grad is not None]

    plain, before = found()
    behind = nd.sparsity.fan_out_of(module, (1, 4, 4))
    loss, after = found(regularisers=[SynapticOperations(5.0)], fan_out=behind)
    assert loss == plain
    # The same written plainly: the share of synapses read, of spikes that hooks catch.
    module.zero_grad()
    total = sum(float(behind[name].sum()) for name in ("1", "5"))
    price = torch.zeros((), dtype=torch.float64)
    spikes: dict[str, Tensor] = {}
    handles = [
        module[int(n)].register_forward_hook(lambda m, a, out, n=n: spikes.update({n: out}))
        for n in ("1", "5")
    ]
    nd.nn.reset(module)
    for frame in x:
        o = module(frame)
        for name, s in spikes.items():
            f = torch.from_numpy(behind[name]).double()
            price = price + 5.0 * (s * f).sum() / (4 * 5) / total
        price = price + F.cross_entropy(o, y) / 4
    for handle in handles:
        handle.remove()
    price.backward()
    for gradient, weight, old in zip(after, weights, before, strict=True):
        torch.testing.assert_close(gradient, weight.grad, atol=1e-12, rtol=1e-10)
        assert weight is weights[-1] or weight is weights[-2] or not torch.equal(gradient, old)


def test_what_is_missing_is_said_before_training() -> None:
    module, x, y = small_module(), torch.rand(2, 1, 1, 4, 4).double(), torch.tensor([0])
    with pytest.raises(InputError, match=r"SynapticOperations counts .* behind 1, 5; give fan_out"):
        SLTT().backward(module, x, y, F.cross_entropy, regularisers=[SynapticOperations(1.0)])
    with pytest.raises(InputError, match="Linear has no hidden layer of neurons"):
        SLTT().backward(
            nn.Linear(2, 2), torch.rand(2, 1, 2), y, F.cross_entropy, regularisers=[MeanRate(1.0)]
        )


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"mean_rat": {"weight": 1.0}}, "'mean_rat' is not known; did you mean 'mean_rate'"),
        ({"mean_rate": {}}, "mean_rate: key 'weight' is missing"),
        ({"mean_rate": {"weight": -1.0}}, "weight is above 0, found -1"),
        ({"mean_rate": {"weight": 1.0, "target": 1.0}}, "from 0 to below 1, found 1"),
        ({"silent": {"weight": 1.0, "floor": 0.0}}, "above 0 and below 1, found 0"),
        ({"saturated": {"weight": 1.0, "floor": 0.5}}, "unknown key 'floor'"),
        ({"synaptic_operations": {"weight": 1.0, "target": -2.0}}, "from 0; found -2"),
    ],
)
def test_tables_that_cannot_be_are_refused(tables: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_regularisers(tables)


def test_a_weight_of_zero_is_none() -> None:
    assert build_regularisers({"mean_rate": {"weight": 0}, "silent": {"weight": 2}}) == (
        Silent(2.0),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small run, and the same with a price on synaptic operations."""
    place = tmp_path_factory.mktemp("runs")
    recipe = make_recipe()
    priced = replace(recipe, regularisers={"synaptic_operations": {"weight": 10.0}})
    train(recipe, place / "plain", progress=False)
    train(priced, place / "priced", progress=False)
    return place / "plain", place / "priced"


def test_a_recipe_reads_fewer_synapses(runs: tuple[Path, Path]) -> None:
    plain, priced = (metrics_of(run) for run in runs)
    for rows in (plain, priced):
        for row in rows:
            ops, rates = row["synaptic_operations"], row["firing_rates"]
            # 3 steps: 24 neurons with 10 synapses each, 64 pixels with 24.
            assert ops["lif1"] == pytest.approx(rates["lif1"] * 3 * 24 * 10)
            assert ops["input"] == pytest.approx(rates["input"] * 3 * 64 * 24)
            assert 0 <= row["silent"]["lif1"] <= 1
            assert row["saturated"]["lif1"] <= 1
    assert (
        priced[-1]["synaptic_operations"]["lif1"] < 0.7 * plain[-1]["synaptic_operations"]["lif1"]
    )


def test_the_loss_that_is_told_has_no_price_in_it(runs: tuple[Path, Path]) -> None:
    plain, priced = (metrics_of(run)[0]["train_loss"] for run in runs)
    # A price of 10 times the share of synapses read would be ten times as large.
    assert priced < plain + 0.5


def test_a_run_on_integers_goes_on_with_its_prices(tmp_path: Path) -> None:
    recipe = make_recipe(regularisers={"mean_rate": {"weight": 1.0}, "silent": {"weight": 0.1}})
    recipe = replace(recipe, quantize=replace(recipe.quantize, bits=4, first_epoch=2))
    train(recipe, tmp_path / "whole", progress=False)
    rows = metrics_of(tmp_path / "whole")
    assert [set(row["synaptic_operations"]) for row in rows] == [{"input", "lif1"}] * len(rows)
    train(recipe, tmp_path / "again", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "again")


def test_old_epochs_still_read(runs: tuple[Path, Path]) -> None:
    from neurodeploy.artifacts.epochs import EpochMetrics
    from neurodeploy.support.schema import build

    row = json.loads((runs[0] / "metrics.jsonl").read_text().splitlines()[0])
    for name in ("synaptic_operations", "silent", "saturated"):
        del row[name]
    assert build(EpochMetrics, row, "old").silent == {}
