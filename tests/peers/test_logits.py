"""With weights carried over, the same logits as torchvision and timm."""

import pytest
import torch
from torch import nn

import convwright as cw
from convwright.weights.module_transfer import transfer_weights

from .peers import build_peer

QUICK = {
    **{f"torchvision/{name}": name for name in ("resnet18", "resnet34", "resnet50", "resnet101")},
    **{f"torchvision/densenet{depth}": f"densenet{depth}" for depth in (121, 161, 169)},
    **{f"torchvision/efficientnet_b{index}": f"efficientnet_b{index}" for index in (0, 1, 2, 3, 5)},
    **{f"timm/{name}": name for name in ("seresnet18", "seresnet34", "seresnet50", "efficientnet_b0")},
    "timm/legacy_seresnet50": "seresnet50_v1",
    **{f"torchvision/{name}": name for name in ("vgg11", "vgg13_bn", "resnext50_32x4d", "mobilenet_v2")},
    "timm/mobilenetv1_100": "mobilenet_v1",
    **{f"torchvision/{name}": name for name in ("googlenet", "inception_v3")},
    "torchvision/efficientnet_v2_s": "efficientnet_v2_s",
    "timm/tf_efficientnetv2_b0": "efficientnet_v2_b0",
    **{f"timm/{name}": name for name in ("inception_v4", "inception_resnet_v2")},
    "timm/seresnext50_32x4d": "seresnext50_32x4d",
    **{f"timm/tf_efficientnet_lite{index}": f"efficientnet_lite{index}" for index in (0, 1, 2)},
}
SLOW = {
    "torchvision/resnet152": "resnet152",
    "torchvision/densenet201": "densenet201",
    **{f"torchvision/efficientnet_b{index}": f"efficientnet_b{index}" for index in (4, 6, 7)},
    "timm/seresnet101": "seresnet101",
    "timm/seresnet152": "seresnet152",
    "timm/legacy_seresnet101": "seresnet101_v1",
    "timm/legacy_seresnet152": "seresnet152_v1",
    **{f"torchvision/vgg{name}": f"vgg{name}" for name in ("13", "16", "19", "11_bn", "16_bn", "19_bn")},
    **{f"torchvision/{name}": name for name in ("resnext101_32x8d", "resnext101_64x4d")},
    **{f"torchvision/wide_resnet{depth}_2": f"wide_resnet{depth}_2" for depth in (50, 101)},
    **{f"timm/{name}": name for name in ("resnext101_32x4d", "seresnext101_32x4d", "seresnext101_32x8d")},
    **{f"timm/tf_efficientnet_lite{index}": f"efficientnet_lite{index}" for index in (3, 4)},
    **{f"torchvision/efficientnet_v2_{size}": f"efficientnet_v2_{size}" for size in "ml"},
    **{f"timm/tf_efficientnetv2_b{index}": f"efficientnet_v2_b{index}" for index in (1, 2, 3)},
    "timm/seresnext101_64x4d": "seresnext101_64x4d",
    "timm/tf_efficientnet_b8": "efficientnet_b8",
    "timm/legacy_senet154": "senet154",
    "timm/densenet264d": "densenet264d",
}
CASES = [
    *(pytest.param(peer, ours, id=peer) for peer, ours in QUICK.items()),
    *(pytest.param(peer, ours, id=peer, marks=pytest.mark.slow) for peer, ours in SLOW.items()),
    pytest.param("timm/seresnet50", "resnet50|se:16", id="timm/seresnet50-recalibrated"),
    pytest.param("torchvision/resnet50", "seresnet50|se:none", id="torchvision/resnet50-recalibrated"),
]


@torch.no_grad()
def randomise(module: nn.Module, images: torch.Tensor) -> None:
    """Set every normalisation and bias at random, near the statistics of the images so that none drowns."""
    module.eval()
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in module.modules():
        if getattr(part, "bias", None) is not None:
            part.bias.uniform_(-0.2, 0.2)
    for norm in norms:
        norm.weight.uniform_(0.8, 1.2)
        norm.momentum = 1.0
        norm.train()
    module(images)
    for norm in norms:
        norm.running_mean *= torch.empty_like(norm.running_mean).uniform_(0.8, 1.2)
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.8, 1.2)
        norm.eval()


@pytest.mark.parametrize(("peer", "ours"), CASES)
def test_logits_equal_the_peers(peer: str, ours: str) -> None:
    torch.manual_seed(0)
    size = 128 if "inception" in ours else 64  # convolutions without padding eat the edge
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    theirs = build_peer(peer).double()
    randomise(theirs, images)
    module = cw.build(cw.network(ours)).double().eval()
    transfer_weights(theirs, module, images[:1])
    with torch.no_grad():
        expected, logits = theirs(images), module(images)
    size = expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 0.01 * size, "equal logits of unlike images would prove nothing"
    assert (logits - expected).abs().max() < 1e-10 * size
