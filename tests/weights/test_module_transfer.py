"""Weights carried between modules that name their parts differently."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.weights.module_transfer import transfer_weights

IMAGE = torch.randn(1, 3, 8, 8)


def small(out: int = 4, **options: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, out, 3, **options), nn.BatchNorm2d(out), nn.ReLU(), nn.Conv2d(out, out, 1))  # type: ignore[arg-type]


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Renamed(nn.Module):
    """The small network, its layers registered in another order under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(4, 4, 1)
        self.bn = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.bn(self.first(x)).relu())


def test_layers_are_paired_in_order_of_execution() -> None:
    source, target = small(), Renamed()
    nn.init.normal_(source[1].running_mean)
    source[1].num_batches_tracked.fill_(7)
    transfer_weights(source, target, IMAGE)
    assert torch.equal(target.first.weight, source[0].weight)
    assert torch.equal(target.last.bias, source[3].bias)
    assert torch.equal(target.bn.running_mean, source[1].running_mean)
    assert target.bn.num_batches_tracked == 7
    assert torch.equal(target.eval()(IMAGE), source.eval()(IMAGE))


@pytest.mark.parametrize(("first", "then"), [("linear", "conv"), ("conv", "linear")])
def test_a_linear_layer_carries_into_a_1x1_convolution_and_back(first: str, then: str) -> None:
    made = {
        "linear": nn.Sequential(nn.Flatten(), nn.Linear(3, 5)),
        "conv": nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 5, 1), flatten=nn.Flatten())),
    }
    x = torch.randn(2, 3, 1, 1)
    transfer_weights(made[first], made[then], x)
    torch.testing.assert_close(made[then](x), made[first](x))


def test_precision_follows_the_target() -> None:
    source, target = small().double(), small()
    with pytest.raises(RuntimeError):
        transfer_weights(source, target, IMAGE)  # no example fits both
    transfer_weights(source.float(), target, IMAGE)
    assert target[0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (small(), small(5), r"no layer of the source fits 0: convolution or linear layer with weight \(5, 3, 3, 3\)"),
        (small(), small(stride=2), "no layer of the source fits 0"),
        (small(), small(bias=False), "no layer of the source fits 0"),
        (small(), nn.Sequential(*small(), nn.Conv2d(4, 4, 1)), "no layer of the source fits 4"),
        (
            nn.Sequential(*small(), nn.BatchNorm2d(4)),
            small(),
            r"no layer of the target fits 4: layer with weight \(4,\)",
        ),
        (small(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)), "no layer of the target fits 1"),
        (small(), nn.Sequential(*small(), nn.BatchNorm2d(4, affine=False)), None),
    ],
)
def test_a_layer_without_counterpart_is_named_and_nothing_is_carried(
    source: nn.Module, target: nn.Module, message: str | None
) -> None:
    before = state(target)
    if message is None:
        transfer_weights(source, target, IMAGE)  # layers without parameters need no counterpart
        assert not equal(state(target), before)
        return
    with pytest.raises(ConvwrightError, match=message):
        transfer_weights(source, target, IMAGE)
    assert equal(state(target), before)


def test_modes_of_training_and_source_stay_as_they_were() -> None:
    source, target = small(), small()
    source[1].eval()
    target.eval()
    before = state(source)
    transfer_weights(source, target, IMAGE)
    assert source.training
    assert not source[1].training
    assert not target.training
    assert equal(state(source), before), "running statistics must not see the example"


def test_no_hook_is_left_behind_even_if_the_example_does_not_fit() -> None:
    source, target = small(), small()
    with pytest.raises(RuntimeError):
        transfer_weights(source, target, torch.randn(1, 5, 8, 8))
    transfer_weights(source, target, IMAGE)
    assert not any(part._forward_pre_hooks for module in (source, target) for part in module.modules())
    assert source.training


def test_carried_copies_are_independent() -> None:
    network = cw.network("cifar_seresnet8")
    source, target = cw.build(network, seed=0), cw.build(network, seed=1)
    transfer_weights(source, target, torch.randn(1, 3, 32, 32))
    assert equal(state(source), state(target))
    nn.init.zeros_(source.stem.conv.weight)
    assert target.stem.conv.weight.any()
