"""What tests call rounding is as large as the terms that were added up, and no larger."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support.rounding import (
    assert_equal_but_for_rounding,
    gradient_magnitudes,
    statistic_magnitudes,
)


def test_magnitudes_of_a_dense_layer_by_hand() -> None:
    layer = nn.Linear(2, 1).double()
    with gradient_magnitudes(layer) as found:
        outputs = layer(torch.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=torch.float64))
        (outputs * torch.tensor([[1.0], [-1.0]])).sum().backward()
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [0]
    assert {name: value.tolist() for name, value in found.items()} == {
        "bias": [2],
        "weight": [[4, 6]],
    }


def test_magnitudes_reach_through_convolutions_and_batch_norm() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.BatchNorm2d(3), nn.Flatten()).double()
    with gradient_magnitudes(network) as found:
        for _ in range(2):
            outputs = network(torch.randn(4, 2, 7, 7, dtype=torch.float64))
            (outputs * torch.randn_like(outputs)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        magnitude = found.pop(name)
        assert magnitude.shape == parameter.shape
        assert (magnitude >= parameter.grad.abs()).all()
        assert (magnitude > 1).all()
    assert found == {}
    before_norm = network[0].bias
    assert isinstance(before_norm, nn.Parameter) and before_norm.grad is not None
    assert before_norm.grad.abs().max() < 1e-12


@pytest.mark.parametrize(("dtype", "least"), [(torch.float64, 1e-12), (torch.float32, 5e-4)])
def test_more_than_rounding_is_told(dtype: torch.dtype, least: float) -> None:
    zero = torch.zeros(3, dtype=dtype)
    terms = torch.tensor([1.0, 10.0, 0.0])
    assert_equal_but_for_rounding(zero, zero + 9 * least, terms)
    with pytest.raises(AssertionError, match="here"):
        assert_equal_but_for_rounding(zero, zero + 11 * least, terms, "here")
    with pytest.raises(AssertionError):
        assert_equal_but_for_rounding(zero, zero[:2], terms)
    with pytest.raises(AssertionError):
        assert_equal_but_for_rounding(zero, zero.half(), terms)


def test_running_statistics_are_as_large_as_the_values_behind_them() -> None:
    statistics = {
        "bn.running_mean": torch.tensor([-3.0]),
        "bn.running_var": torch.tensor([4.0]),
        "count": torch.tensor(7),
    }
    found = {name: value.item() for name, value in statistic_magnitudes(statistics).items()}
    assert found == {"bn.running_mean": 5, "bn.running_var": 25, "count": 7}
