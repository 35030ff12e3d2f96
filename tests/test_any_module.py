"""Rules on modules of a user's own, in a loop written by hand, against the same network as ours."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurodeploy.errors import InputError, UnsupportedError
from neurodeploy.nn.network import SpikingNetwork
from neurodeploy.nn.neuron import LIF
from neurodeploy.nn.steps import reset
from neurodeploy.rules.bptt import BPTT
from neurodeploy.rules.ottt import OTTT
from neurodeploy.rules.rate import Rate
from neurodeploy.rules.rule import Rule
from neurodeploy.rules.sltt import SLTT, SLTTK

STEPS, SAMPLES, CLASSES = 5, 6, 3


class Residual(nn.Module):
    """Two convolutions with a shortcut of spikes around the second, as anybody would write it."""

    def __init__(self, taus: tuple[float, float]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.first = LIF(taus[0], v_threshold=0.6)
        self.branch = nn.Conv2d(4, 4, 3, padding=1)
        self.second = LIF(taus[1], v_threshold=0.8, reset="zero", surrogate="sigmoid")
        self.head = nn.Linear(4 * 3 * 3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(self.stem(x))
        spikes = self.second(self.branch(spikes) + spikes)
        return self.head(torch.flatten(F.avg_pool2d(spikes, 2), 1))


def as_network(module: Residual) -> SpikingNetwork:
    """The same parameters, described as our families are."""
    layers: dict[str, nn.Module] = {
        "conv": module.stem[0],
        "bn": module.stem[1],
        "first": module.first,
        "branch": module.branch,
        "second": module.second,
        "pool": nn.AvgPool2d(2),
        "flatten": nn.Flatten(),
        "head": module.head,
    }
    return SpikingNetwork(layers, (2, 6, 6), {"second": ("branch", "first")})


def make_module(taus: tuple[float, float] = (1.7, 2.5)) -> Residual:
    torch.manual_seed(0)
    return Residual(taus).double()


def make_batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(STEPS, SAMPLES, 2, 6, 6, generator=generator, dtype=torch.float64)
    return 2 * frames, torch.randint(CLASSES, (SAMPLES,), generator=generator)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


ANY_RULE = [
    SLTT(),
    SLTTK(K=2),
    SLTTK(K=2, scale="unbiased", early_exit=False),
    BPTT(),
    OTTT(),
    Rate("m"),
    Rate("s"),
]


@pytest.mark.parametrize("rule", ANY_RULE, ids=str)
@pytest.mark.parametrize("constant", [False, True])
def test_the_gradient_is_that_of_the_same_network_as_a_family_builds_it(
    rule: Rule, constant: bool
) -> None:
    """To 1e-12, of the layers' own parameters and of the running statistics beside them."""
    taus = (2.0, 2.0) if isinstance(rule, OTTT) else (1.7, 2.5)
    module, twin = make_module(taus), make_module(taus)
    network = as_network(twin)
    frames, labels = make_batch()
    if constant:
        frames = frames[0].expand(STEPS, *frames[0].shape)
    losses = [
        rule.backward(
            net, frames, labels, F.cross_entropy, generator=torch.Generator().manual_seed(3)
        )
        for net in (module, network)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-12)
    found, expected = gradients(module), gradients(twin)
    assert found.keys() == expected.keys() == dict(module.named_parameters()).keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-12, msg=name)
    for name, statistic in twin.named_buffers():
        torch.testing.assert_close(
            dict(module.named_buffers())[name], statistic, rtol=1e-12, atol=1e-12, msg=name
        )


def test_the_loss_is_any_function_of_one_step() -> None:
    """Regression: the gradient of the readout is that of the mean squared error, by hand."""
    module, (frames, _) = make_module(), make_batch()
    target = torch.randn(SAMPLES, CLASSES, dtype=torch.float64)
    loss = SLTT().backward(module, frames, target, F.mse_loss)
    found = gradients(module)["head.bias"]
    with torch.no_grad():
        reset(module)
        twin = make_module()
        outputs = torch.stack([twin(frame) for frame in frames])
    errors = 2 * (outputs - target) / target.numel() / STEPS
    torch.testing.assert_close(found, errors.sum((0, 1)))
    torch.testing.assert_close(loss, (outputs - target).square().mean((1, 2)).mean())


@pytest.mark.parametrize("rule", [SLTT(), BPTT(), SLTTK(K=STEPS)], ids=str)
def test_a_target_may_differ_from_step_to_step(rule: Rule) -> None:
    module, (frames, _) = make_module(), make_batch()
    targets = torch.randn(STEPS, SAMPLES, CLASSES, dtype=torch.float64)
    rule.backward(module, frames, targets, F.mse_loss, each_step=True)
    found = gradients(module)["head.bias"]
    with torch.no_grad():
        outputs = torch.stack([make_once(frames)[t] for t in range(STEPS)])
    torch.testing.assert_close(
        found, (2 * (outputs - targets) / targets[0].numel() / STEPS).sum((0, 1))
    )


def make_once(frames: Tensor) -> list[Tensor]:
    module = make_module()
    return [module(frame) for frame in frames]


class ByHand(nn.Module):
    """Recurrence through an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.back = nn.Linear(4, 5), nn.Linear(5, 5, bias=False)
        self.lif = LIF(2.0, v_threshold=0.4)
        self.out = nn.Linear(5, CLASSES)
        self.spikes: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        drive = self.into(x)
        if self.spikes is not None:
            drive = drive + self.back(self.spikes)
        self.spikes = self.lif(drive)
        return self.out(self.spikes)


class ByHandWithReset(ByHand):
    def reset_state(self) -> None:
        self.spikes = None


def recurrent_twin(module: ByHand) -> SpikingNetwork:
    layers: dict[str, nn.Module] = {
        "into": module.into,
        "back": module.back,
        "lif": module.lif,
        "out": module.out,
    }
    return SpikingNetwork(
        layers, (4,), {"back": ("lif",), "lif": ("into", "back"), "out": ("lif",)}
    )


@pytest.mark.parametrize("rule", [SLTT(), SLTTK(K=2), BPTT(), OTTT()], ids=str)
def test_state_kept_by_hand_is_cut_and_reset_with_the_layers(rule: Rule) -> None:
    """Twice, since the second batch must not see what the first one left behind."""
    torch.manual_seed(0)
    module, twin = (ByHandWithReset().double() for _ in range(2))
    twin.load_state_dict(module.state_dict())
    network = recurrent_twin(twin)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        frames = 2 * torch.rand(STEPS, SAMPLES, 4, generator=generator, dtype=torch.float64)
        labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
        for net in (module, network):
            draws = torch.Generator().manual_seed(5)
            rule.backward(net, frames, labels, F.cross_entropy, generator=draws)
        found, expected = gradients(module), gradients(twin)
        assert expected["back.weight"].abs().max() > 0
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-12, msg=name)


def test_state_that_nothing_resets_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"ByHand\.spikes .* method reset_state"):
        SLTT().backward(ByHand(), torch.rand(2, 3, 4), torch.tensor([0, 1, 2]), F.cross_entropy)


def test_mean_rates_do_not_see_state_kept_by_hand() -> None:
    with pytest.raises(UnsupportedError, match="ByHandWithReset act on the next step"):
        Rate().backward(
            ByHandWithReset(), torch.rand(2, 3, 4), torch.tensor([0, 1, 2]), F.cross_entropy
        )


def test_ottt_refuses_two_time_constants_and_a_layer_used_twice() -> None:
    frames, labels = make_batch()
    with pytest.raises(UnsupportedError, match=r"one tau for all neurons, found \[1\.7, 2\.5\]"):
        OTTT().backward(make_module(), frames, labels, F.cross_entropy)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 4), LIF(2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.lif(self.fc(x)))

    with pytest.raises(UnsupportedError, match="a Linear is used twice in a step"):
        OTTT().backward(Twice(), torch.rand(2, 3, 4), torch.tensor([0, 1, 2]), F.cross_entropy)


def test_each_step_updates_need_to_know_how() -> None:
    module, (frames, labels) = make_module(), make_batch()
    with pytest.raises(InputError, match="give `update`"):
        SLTT(update="step").backward(module, frames, labels, F.cross_entropy)
    optimizer, updates = torch.optim.SGD(module.parameters(), lr=0.1), []

    def update() -> None:
        updates.append(1)
        optimizer.step()
        optimizer.zero_grad()

    SLTT(update="step").backward(module, frames, labels, F.cross_entropy, update=update)
    assert len(updates) == STEPS


@pytest.mark.parametrize(
    ("frames", "message"),
    [(torch.zeros(3), "expected \\(T, N"), ([], "no frames"), (torch.zeros(0, 2), "expected")],
)
def test_frames_that_are_none_are_refused(frames: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SLTT().backward(make_module(), frames, torch.zeros(2), F.mse_loss)


def test_a_loss_that_is_no_number_is_refused() -> None:
    frames, labels = make_batch()
    with pytest.raises(InputError, match=r"shape \(6,\); it must be one number"):
        SLTT().backward(
            make_module(), frames, labels, lambda o, y: F.cross_entropy(o, y, reduction="none")
        )


def test_more_steps_than_there_are_cannot_be_drawn() -> None:
    frames, labels = make_batch()
    with pytest.raises(InputError, match="K = 9 steps cannot be drawn from the T = 5"):
        SLTTK(K=9).backward(make_module(), frames, labels, F.cross_entropy)


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    """Bytes that are kept for backward at once, counted as they are saved and let go."""

    def peak(rule: Rule, steps: int) -> int:
        module, (frames, labels) = make_module(), make_batch()
        alive, highest = 0, 0

        class Kept:
            def __init__(self, value: Tensor) -> None:
                nonlocal alive, highest
                self.value = value
                alive += value.nbytes
                highest = max(highest, alive)

            def __del__(self) -> None:
                nonlocal alive
                alive -= self.value.nbytes

        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.value):
            shown = [frames[t % STEPS] for t in range(steps)]
            rule.backward(module, shown, labels, F.cross_entropy)
        return highest

    assert peak(SLTT(), 32) <= 1.05 * peak(SLTT(), 4)
    assert peak(BPTT(), 32) > 6 * peak(BPTT(), 4)


@pytest.mark.parametrize("cut", [True, False])
def test_another_batch_without_a_reset_is_refused(cut: bool) -> None:
    layer = LIF(2.0)
    reset(layer, cut=cut)
    layer(torch.zeros(3, 4))
    with pytest.raises(InputError, match=r"shape \(2, 4\) after steps of shape \(3, 4\); nn.reset"):
        layer(torch.zeros(2, 4))
    reset(layer, cut=cut)
    layer(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 1.0}, "tau, in steps, must be above 1, found 1"),
        ({"tau": torch.tensor([2.0, 0.5])}, "must be above 1, found 0.5"),
        ({"tau": 2.0, "v_threshold": 0.0}, "v_threshold must be above 0"),
        ({"tau": 2.0, "reset": "none"}, "reset 'none' is neither"),
        ({"tau": 2.0, "comparison": ">>"}, "comparison '>>' is neither"),
        ({"tau": 2.0, "surrogate": "triangel"}, "did you mean 'triangle'"),
        ({"tau": float("nan")}, "found nan"),
    ],
)
def test_neurons_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LIF(**options)


@pytest.mark.parametrize("mode", ["subtract", "zero"])
@pytest.mark.parametrize("rule", [SLTT(), BPTT(), Rate()], ids=str)
@pytest.mark.parametrize("surrogate", ["triangle", "rectangle", "sigmoid", "atan"])
def test_constants_of_each_neuron_are_those_of_one_layer_each(
    mode: Any, rule: Rule, surrogate: str
) -> None:
    """A layer of two kinds of neurons against two layers of one kind, spikes and gradients."""
    taus, thresholds = torch.tensor([1.5, 3.0]).double(), torch.tensor([0.4, 0.9]).double()

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(4, 2), nn.Linear(2, CLASSES)
            self.lifs = nn.ModuleList(
                LIF(float(t), float(v), mode, surrogate=surrogate)
                for t, v in zip(taus, thresholds, strict=True)
            )

        def forward(self, x: Tensor) -> Tensor:
            drive = self.fc(x)
            return self.out(torch.cat([lif(drive[:, [i]]) for i, lif in enumerate(self.lifs)], 1))

    torch.manual_seed(0)
    apart = Apart().double()
    lif = LIF(taus, thresholds, mode, surrogate=surrogate)
    together = nn.Sequential(apart.fc, lif, apart.out)
    frames = 3 * torch.rand(STEPS, SAMPLES, 4, dtype=torch.float64)
    labels = torch.randint(CLASSES, (SAMPLES,))
    losses, found = [], []
    for net in (apart, together):
        losses.append(rule.backward(net, frames, labels, F.cross_entropy))
        found.append(gradients(net)["fc.weight" if net is apart else "0.weight"])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-12)
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_a_new_tau_is_what_the_layer_keeps_by() -> None:
    layer = LIF(2.0)
    layer.tau = 4.0
    assert layer.keep == 0.75
    layer.tau = torch.tensor([2.0, 4.0])
    assert torch.equal(torch.as_tensor(layer.keep), torch.tensor([0.5, 0.75]))
    layer.tau = 2.0
    assert layer.keep == 0.5
    with pytest.raises(InputError, match="must be above 1"):
        layer.tau = 0.5


@pytest.mark.parametrize("value", [[2.0, 3.0], np.array([2.0, 3.0])])
def test_constants_may_be_arrays(value: Any) -> None:
    assert torch.equal(torch.as_tensor(LIF(value).tau), torch.tensor([2.0, 3.0]))


@pytest.mark.parametrize("value", ["2", None, nn.Parameter(torch.tensor([2.0, 3.0]))])
def test_constants_that_are_none_or_learnt_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="tau is a"):
        LIF(value)


def test_a_layer_with_a_graph_can_be_copied() -> None:
    layer = LIF(2.0)
    reset(layer, cut=False)
    layer(torch.ones(2, 3, requires_grad=True))
    twin = copy.deepcopy(layer)
    assert twin.v is not None and not twin.v.requires_grad


class InContainers(ByHandWithReset):
    """The state of ``ByHand`` in a list in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[Tensor]] = {}

    def reset_state(self) -> None:
        self.kept = {}

    def forward(self, x: Tensor) -> Tensor:
        drive = self.into(x)
        if self.kept:
            drive = drive + self.back(self.kept["spikes"][0])
        self.kept = {"spikes": [self.lif(drive)]}
        return self.out(self.kept["spikes"][0])


@pytest.mark.parametrize("rule", [SLTT(), SLTTK(K=2), BPTT(), OTTT()], ids=str)
def test_state_in_lists_and_dicts_is_cut_too(rule: Rule) -> None:
    torch.manual_seed(0)
    module, twin = InContainers().double(), ByHandWithReset().double()
    twin.load_state_dict(module.state_dict())
    frames = 2 * torch.rand(STEPS, SAMPLES, 4, dtype=torch.float64)
    labels = torch.randint(CLASSES, (SAMPLES,))
    found = []
    for net in (module, twin):
        draws = torch.Generator().manual_seed(5)
        rule.backward(net, frames, labels, F.cross_entropy, generator=draws)
        found.append(gradients(net)["back.weight"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_state_in_a_dict_that_nothing_resets_is_refused() -> None:
    class Forgetful(InContainers):
        reset_state = None  # type: ignore[assignment]

    with pytest.raises(InputError, match=r"Forgetful\.kept"):
        SLTT().backward(Forgetful(), torch.rand(2, 3, 4), torch.tensor([0, 1, 2]), F.cross_entropy)


def test_mean_rates_have_one_target_and_one_membrane_for_each_layer() -> None:
    frames, labels = make_batch()
    targets = torch.randn(STEPS, SAMPLES, CLASSES, dtype=torch.float64)
    with pytest.raises(UnsupportedError, match="one target"):
        Rate().backward(make_module(), frames, targets, F.mse_loss, each_step=True)
    lif = LIF(2.0)
    twice = nn.Sequential(nn.Flatten(), nn.Linear(72, 8), lif, nn.Linear(8, 8), lif).double()
    with pytest.raises(UnsupportedError, match="used twice in a step"):
        Rate().backward(twice, frames, labels, F.cross_entropy)


@pytest.mark.parametrize("product", ["x @ w.T", "torch.einsum('ni,oi->no', x, w)"])
def test_ottt_refuses_synapses_that_are_no_layers(product: str) -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 5), LIF(2.0)
            self.weight = nn.Parameter(torch.randn(3, 5))

        def forward(self, x: Tensor) -> Tensor:
            names = {"x": self.lif(self.fc(x)), "w": self.weight, "torch": torch}
            return eval(product, names)

    with pytest.raises(UnsupportedError, match="no trace for products"):
        OTTT().backward(Product(), torch.rand(2, 3, 4), torch.tensor([0, 1, 2]), F.cross_entropy)


@pytest.mark.parametrize(
    "rule",
    [SLTT(update="stepss"), Rate(variant="x"), SLTTK(1, scale="foo"), OTTT(update="")],  # type: ignore[arg-type]
    ids=str,
)
def test_choices_that_there_are_not_are_refused(rule: Rule) -> None:
    frames, labels = make_batch()
    with pytest.raises(InputError, match="is one of"):
        rule.backward(make_module(), frames, labels, F.cross_entropy)


@pytest.mark.parametrize("target", [[0, 1], np.zeros(6), None])
def test_a_target_that_is_no_tensor_is_refused(target: Any) -> None:
    with pytest.raises(InputError, match="the target is a"):
        SLTT().backward(make_module(), make_batch()[0], target, F.cross_entropy)
