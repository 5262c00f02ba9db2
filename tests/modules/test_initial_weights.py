"""How weights start, and where the randomness comes from."""

import math

import pytest
import torch
from torch import nn

import convwright as cw
from convwright.errors import NetworkError
from convwright.modules.init import initialise

FAMILIES = ("cifar_seresnet20", "densenet_bc_l40_k12", "resnet18", "efficientnet_b0")


@pytest.mark.parametrize("expression", FAMILIES)
def test_statistics_of_initial_weights(expression: str) -> None:
    network = cw.network(expression)
    for name, part in cw.build(network, seed=0).named_modules():
        if isinstance(part, nn.Conv2d):
            count = part.weight.numel()
            wanted = math.sqrt(2 / (part.kernel_size[0] * part.kernel_size[1] * part.out_channels / part.groups))
            error = 5 / math.sqrt(2 * count)  # five standard deviations of an estimate from so many samples
            assert part.weight.std(correction=0).item() == pytest.approx(wanted, rel=error + 1 / count), name
            assert abs(part.weight.mean().item()) < 5 * wanted / math.sqrt(count), name
        elif isinstance(part, nn.Linear):
            fan = part.out_features if network.init == "efficientnet" else part.in_features
            largest = part.weight.abs().max().item()
            assert 0.99 / math.sqrt(fan) < largest <= 1 / math.sqrt(fan), name
        elif isinstance(part, nn.BatchNorm2d):
            for tensor, value in (
                (part.weight, 1), (part.bias, 0), (part.running_mean, 0), (part.running_var, 1),
                (part.num_batches_tracked, 0),
            ):  # fmt: skip
                assert (tensor == value).all(), name
        if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            assert (part.bias == 0).all(), name


@pytest.mark.parametrize("expression", FAMILIES)
def test_logits_of_a_new_network_are_of_moderate_size(expression: str) -> None:
    network = cw.network(f"{expression}|resolution:64")
    with torch.no_grad():
        logits = cw.build(network, seed=0)(torch.randn(8, 3, 64, 64))
    assert 0.01 < logits.std() < 10


def test_a_seed_fixes_the_weights() -> None:
    network = cw.network("cifar_seresnet8")
    one, again, other = (cw.build(network, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if name.endswith("conv1.weight"))


def test_a_seed_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    cw.build(cw.network("cifar_seresnet8"), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_weights_come_from_the_global_generator() -> None:
    network = cw.network("cifar_resnet8")
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(cw.build(network).stem.conv.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(NetworkError, match="unknown initialisation 'magic'; known are he, efficientnet"):
        initialise(nn.Conv2d(1, 1, 1), "magic")
