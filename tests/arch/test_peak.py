"""Peak memory against the life of every tensor that torch makes."""

import pytest
import torch
from hypothesis import given, settings

import convwright as cw
from convwright.arch import Network

from ..tiny import RECALIBRATED, TINY
from .liveness import peak
from .strategies import networks, raw

FAMILIES = {
    "cifar_resnet20": "cifar_resnet20",
    "cifar_seresnet20": "cifar_seresnet20",
    "densenet_bc_l40_k12": "densenet_bc_l40_k12",
    "densenet121": "densenet121|resolution:64",
    "resnet18": "resnet18|resolution:64",
    "resnet50_v1": "resnet50_v1|resolution:64",
    "efficientnet_b0": "efficientnet_b0|resolution:64",
    "resnext50": "resnext50_32x4d|resolution:64",
    "vgg11": "vgg11|resolution:64",
    "mobilenet_v1": "mobilenet_v1|resolution:64",
    "wrn_16_8": "wrn_16_8",
    "senet154": "senet154|resolution:64",
} | {
    f"{name}-{placement}": f"{name}|resolution:64|se:4,placement={placement}"
    for name in ("efficientnet_b0", "resnet18", "densenet_bc_l40_k12")
    for placement in ("standard", "pre", "post", "identity")
}


def oracle(network: Network) -> int:
    image = torch.empty(1, network.channels, network.resolution, network.resolution, device="meta")
    return peak(cw.build(network, device="meta"), image)


CASES = FAMILIES | TINY | RECALIBRATED


@pytest.mark.parametrize("expression", CASES.values(), ids=CASES)
def test_peak_of_every_family(expression: str) -> None:
    network = cw.network(expression)
    assert cw.cost(network).peak == oracle(network)


def unpadded(network: Network) -> bool:
    """Eager torch copies a map to pad it as TensorFlow does; a compiler's convolution pads as it reads."""
    return '"same"' not in network.to_json_text()


@settings(max_examples=100)
@given((networks | raw).filter(unpadded))
def test_peak_of_random_networks(network: Network) -> None:
    assert cw.cost(network).peak == oracle(network)
