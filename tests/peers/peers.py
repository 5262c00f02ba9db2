"""The counterparts of our networks in other libraries."""

import pytest
from torch import nn

TORCHVISION = [
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *(f"efficientnet_b{index}" for index in range(8)),
]
TIMM = {
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "efficientnet_b0": "efficientnet_b0",
    "tf_efficientnet_b8": "efficientnet_b8",
    "tf_efficientnet_l2": "efficientnet_l2",
    **{f"seresnet{depth}": f"seresnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"legacy_seresnet{depth}": f"seresnet{depth}_v1" for depth in (50, 101, 152)},
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
        return models.get_model(name, weights=None)
    return pytest.importorskip("timm").create_model(name, pretrained=False)
