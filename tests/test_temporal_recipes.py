"""What recipes say of neurons that live in time, and what they may not say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neurodeploy.errors import InputError
from neurodeploy.nn.current import LI, CubaLIF
from neurodeploy.nn.families import build_network
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.recipe import NeuronRecipe, TrainingRecipe
from neurodeploy.support.processes import Processes
from neurodeploy.support.schema import build
from neurodeploy.training.optimization import Updater, make_optimizer

DRAWN = {"per": "neuron", "draw": "uniform", "low": 2.0, "high": 20.0}
MLP = {"family": "mlp", "hidden": [30, 20]}


def network(neuron: dict[str, Any], options: dict[str, Any] | None = None) -> SpikingNetwork:
    torch.manual_seed(1)
    return build_network(options or MLP, (5,), 3, build(NeuronRecipe, neuron, "[neuron]"))


def neurons(model: SpikingNetwork, number: int) -> Any:
    return model.layers[f"lif{number}"]


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        ({"tau": 0.5}, "tau is in steps and must be above 1, found 0.5"),
        ({"tau": [3.0, 1.0]}, "tau is in steps and must be above 1, found 1.0"),
        ({"tau": 2, "tau_syn": 0.5}, "tau_syn is in steps and must be at least 1, found 0.5"),
        ({"tau": 2, "tau_syn": {"value": 1, "learn": True}}, "must be above 1 to be learned"),
        ({"tau": DRAWN | {"low": 0.5}}, "above 1, low, the shortest that is drawn 0.5"),
        ({"tau": DRAWN | {"low": 30.0}}, "low = 30 is above high = 20"),
        ({"tau": DRAWN | {"draw": "normal", "value": 5}}, "deviation of a normal draw is above 0"),
        (
            {"tau": DRAWN | {"draw": "normal", "value": 1, "deviation": 1}},
            "the mean, value = 1, is not from low = 2 to high = 20",
        ),
        ({"tau": {"value": 2, "low": 3}}, "low, high and deviation need a draw"),
        ({"tau": {"value": []}}, "an empty list"),
        ({"tau": {"value": [2, 3], "draw": "uniform"}}, "is not drawn"),
        ({"tau": {"value": [2, 3], "per": "network"}}, "is not one for the network"),
        ({"tau": {"val": 2}}, r"unknown key 'val'.*value"),
        ({"tau": {"value": 2, "per": "synapse"}}, "'synapse' is not one of 'network', 'layer'"),
        ({"tau": [2, 3, 4]}, "lists 3 values for 2 layers of hidden neurons"),
        ({"tau": [2]}, "lists 1 values, and the network has more layers"),
        ({"tau": 2, "refractory_period": -1}, "refractory_period is in steps, at least 0"),
    ],
)
def test_what_is_out_of_range_is_refused(neuron: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(neuron)


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ("leak", "a read-out that leaks needs its tau"),
        ("leek", "'leek' is not one of 'sum', 'integrate', 'leak', 'count'"),
        ({"kind": "leak", "tau": 0.9}, "tau is in steps and must be above 1, found 0.9"),
        ({"kind": "integrate", "tau_syn": 0.5}, "tau_syn is in steps and must be at least 1"),
        ({"kind": "integrate", "tau": 3.0}, "tau has no effect in a read-out of kind 'integrate'"),
        ({"kind": "sum", "learn": True}, "learn has no effect"),
        ({"kind": "count", "decode": "last_v"}, "has no v to decode"),
        ({"kind": "leak", "tau": 2.0, "tau_syn": 1.0, "learn": True}, "leave it out"),
    ],
)
def test_readouts_that_make_no_sense_are_refused(readout: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network({"tau": 2}, MLP | {"readout": readout})


def test_counted_neurons_are_those_of_the_recipe_or_their_own() -> None:
    out: Any = network({"tau": 4.0, "tau_syn": 2.0}, MLP | {"readout": "count"}).layers["out"]
    assert (out.lif.keep, out.u_keep) == (0.75, 0.5)
    own = MLP | {"readout": {"kind": "count", "tau": 8.0, "learn": True}}
    out = network({"tau": [4.0, 2.0]}, own).layers["out"]
    assert float(out.tau.detach()) == pytest.approx(8)
    with pytest.raises(InputError, match="tau lists one value per hidden layer"):
        network({"tau": [4.0, 2.0]}, MLP | {"readout": "count"})


def test_constants_are_drawn_from_the_seed() -> None:
    model = network({"tau": DRAWN, "tau_syn": DRAWN | {"draw": "log_uniform", "per": "layer"}})
    taus = [1 / (1 - neurons(model, i).lif.keep.double()) for i in (1, 2)]
    assert [tau.shape for tau in taus] == [(30,), (20,)]
    whole = torch.cat(taus)
    assert 2 <= whole.min() < 4 and 17 < whole.max() <= 20
    assert isinstance(neurons(model, 1).u_keep, float)
    assert neurons(model, 1).u_keep != neurons(model, 2).u_keep
    again = network({"tau": DRAWN, "tau_syn": DRAWN | {"draw": "log_uniform", "per": "layer"}})
    assert torch.equal(neurons(again, 2).lif.keep, neurons(model, 2).lif.keep)


def test_a_network_shares_what_is_its_own() -> None:
    drawn = network({"tau": DRAWN | {"per": "network"}})
    assert neurons(drawn, 1).keep == neurons(drawn, 2).keep
    learned = network({"tau": {"value": 4, "per": "network", "learn": True}})
    assert neurons(learned, 1).tau_w is neurons(learned, 2).tau_w
    assert float(neurons(learned, 1).tau.detach()) == pytest.approx(4)
    each = network({"tau": {"value": [4, 8], "learn": True}, "tau_syn": [1.5, 3]})
    assert [float(neurons(each, i).lif.tau.detach()) for i in (1, 2)] == pytest.approx([4, 8])
    assert [neurons(each, i).u_keep for i in (1, 2)] == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"family": "conv", "channels": [3, 4], "strides": [1, 2], "pool": [2, 1]}, (2, 8, 8)),
        pytest.param({"family": "vgg11_ws"}, (1, 8, 8), marks=pytest.mark.slow),
        pytest.param({"family": "resnet18"}, (1, 8, 8), marks=pytest.mark.slow),
        pytest.param({"family": "nf_resnet", "depth": 34}, (1, 32, 32), marks=pytest.mark.slow),
        pytest.param({"family": "nf_resnet", "depth": 50}, (1, 32, 32), marks=pytest.mark.slow),
    ],
)
def test_maps_have_constants_for_each_neuron(options: Any, shape: tuple[int, ...]) -> None:
    model = build_network(options, shape, 3, build(NeuronRecipe, {"tau": DRAWN}, "[neuron]"))
    found = {name: layer for name, layer in model.layers.items() if isinstance(layer, LIF)}
    assert len(found) > 1
    for name, layer in found.items():
        assert isinstance(layer.keep, torch.Tensor)
        assert layer.keep.shape == model.shapes[name]


def test_users_functions_are_told_how_to_make_them() -> None:
    for table in ({"tau": 2, "tau_syn": 2}, {"tau": DRAWN}):
        with pytest.raises(InputError, match=r"make layers with nn.Neurons\(neuron\)"):
            LIF.of(build(NeuronRecipe, table, "[neuron]"))


def test_learned_constants_can_be_set_and_read() -> None:
    layer = LIF(3.0, learn_tau=True)
    assert layer.learns == ("tau_w",) and layer.by_keep
    layer.tau = 5.0
    assert layer.learns == () and layer.keep == pytest.approx(0.8)
    both = CubaLIF(3.0, torch.tensor([2.0, 4.0]), learn_tau=True, learn_tau_syn=True)
    u_keep: Any = both.u_keep
    assert u_keep.detach().tolist() == pytest.approx([0.5, 0.75])
    assert "one per neuron from 0.5 to 0.75" in repr(both)
    readout = LI(4.0, 2.0, learn_tau=True, learn_tau_syn=True)
    assert {*readout.learns} == {"tau_w", "tau_syn_w"}
    for make in (lambda: LI(learn_tau=True), lambda: LI(2.0, learn_tau_syn=True)):
        with pytest.raises(InputError, match="starts above 1 step and is finite, found"):
            make()


@pytest.mark.parametrize("per", ["layer", "network"])
def test_constants_and_delays_have_a_learning_rate_of_their_own(per: str) -> None:
    """By plain gradient descent, with every gradient 1."""
    table = {"value": 4.0, "per": per, "learn": True}
    model = network({"tau": table, "tau_syn": table}, MLP | {"delays": {"max": 3, "learn": True}})
    training = TrainingRecipe(1, 1, 1, 0.1, "sgd", momentum=0.0, constants_rate=5.0)
    updater = Updater(model, training, Processes())
    updater.set_learning_rate(0.01)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for value in model.parameters():
        value.grad = torch.ones_like(value)
    updater()
    moved = {}
    for name, value in model.named_parameters():
        moved[name] = float((before[name] - value.detach()).mean())
    for name, distance in moved.items():
        own = name.endswith(("tau_w", "tau_syn_w", "delay"))
        assert distance == pytest.approx(0.05 if own else 0.01, rel=1e-3), name
    assert sum(name.endswith("_w") for name in moved) == (4 if per == "layer" else 2)
    # A checkpoint numbers parameters as it did where there is one rate for all.
    alike = TrainingRecipe(1, 1, 1, 0.1)
    (group,) = make_optimizer(model, alike).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]
    with pytest.raises(ValueError, match="constants_rate must be positive"):
        TrainingRecipe(1, 1, 1, 0.1, constants_rate=0)
