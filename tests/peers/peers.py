"""The counterparts of our networks in other libraries."""

import pytest
from torch import nn

TORCHVISION = [
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"efficientnet_b{index}" for index in range(8)),
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
    *("mobilenet_v2", "googlenet", "inception_v3"),
    *(f"efficientnet_v2_{size}" for size in "sml"),
]
TIMM = {
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "efficientnet_b0": "efficientnet_b0",
    "tf_efficientnet_b8": "efficientnet_b8",
    "tf_efficientnet_l2": "efficientnet_l2",
    **{f"seresnet{depth}": f"seresnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"legacy_seresnet{depth}": f"seresnet{depth}_v1" for depth in (50, 101, 152)},
    **{name: name for name in ("resnext101_32x4d", "seresnext50_32x4d", "seresnext101_32x4d", "seresnext101_32x8d")},
    "seresnext101_64x4d": "seresnext101_64x4d",
    **{f"tf_efficientnet_lite{index}": f"efficientnet_lite{index}" for index in range(5)},
    **{"mobilenetv1_100": "mobilenet_v1", "legacy_senet154": "senet154", "wide_resnet50_2": "wide_resnet50_2"},
    **{f"tf_efficientnetv2_b{index}": f"efficientnet_v2_b{index}" for index in range(4)},
    **{f"resnetv2_{depth}": f"preact_resnet{depth}" for depth in (50, 101, 152)},
    **{name: name for name in ("densenet264d", "inception_v4", "inception_resnet_v2")},
}
COUNTERPARTS = {f"torchvision/{name}": name for name in TORCHVISION} | {
    f"timm/{peer}": ours for peer, ours in TIMM.items()
}
"""By the peer's library and name, the expression of ours."""


def build_peer(peer: str) -> nn.Module:
    """Build a peer's network with random weights."""
    library, _, name = peer.partition("/")
    if library == "torchvision":
        models = pytest.importorskip("torchvision.models")
        options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return models.get_model(name, weights=None, **options)
    return pytest.importorskip("timm").create_model(name, pretrained=False)
