"""The same maps as the package grad-cam, on our networks and on torchvision's."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import convwright as cw
from convwright.arch import at
from convwright.errors import UsageError
from convwright.explain import activation_maps

from ..installed import skip_without
from .peers import build_peer

skip_without("pytorch_grad_cam")

OURS = {
    "cifar_resnet14": "cifar_resnet14|resolution:32",
    "seresnet18": "seresnet18|resolution:64",
    "densenet": "densenet_bc_l22_k12|resolution:32",
    "efficientnet": "efficientnet_b0|fit:32|scale:d=0.4,w=0.5",
}
# Behind torchvision's last normalisation of a DenseNet stands a function that overwrites what grad-cam has kept, so
# that its own maps are not of the layer that it is given; the layers here are followed by none.
THEIRS = {
    "resnet18": "layer3",
    "densenet121": "features.denseblock4",
    "efficientnet_b0": "features.8",
    "vgg11": "features",
}


@torch.no_grad()
def lively(module: nn.Module, images: torch.Tensor) -> nn.Module:
    """Normalise by these images' own statistics, so that random weights do not make all maps alike."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    module.train()(images)
    return module.eval()


class Pair(NamedTuple):
    """A map of ours beside the map of grad-cam."""

    difference: float
    """Largest absolute difference of a pixel; maps are from 0 to 1."""
    correlation: float | None
    """None for an empty map: random weights may say nothing for a class in an image."""


def pairs_by_method(module: nn.Module, layer: str, images: torch.Tensor) -> dict[str, list[Pair]]:
    """Compare maps of each method, for the most likely class of each image and for class 3."""
    import pytorch_grad_cam as gradcam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    found: dict[str, list[Pair]] = {}
    for method, peer in (("grad-cam", gradcam.GradCAM), ("grad-cam++", gradcam.GradCAMPlusPlus)):
        pairs = found[method] = []
        for target in (None, 3):
            ours = activation_maps(module, images, method=method, layer=layer, target=target)
            with peer(module, [module.get_submodule(layer)]) as theirs:
                expected = theirs(images.clone(), [ClassifierOutputTarget(index) for index in ours.targets])
            for mine, other in zip(ours.maps, expected, strict=True):
                alike = np.corrcoef(mine.ravel(), other.ravel())[0, 1] if other.any() else None
                pairs.append(Pair(float(np.abs(mine - other).max()), alike))
    return found


def are_same(pairs: list[Pair]) -> bool:
    """Whether all maps are the same, and at least two of them are not empty: empty ones would prove nothing."""
    correlations = [each.correlation for each in pairs if each.correlation is not None]
    return len(correlations) > 1 and min(correlations) > 0.999 and max(each.difference for each in pairs) < 0.02


@pytest.mark.parametrize("expression", OURS.values(), ids=OURS)
def test_maps_of_our_networks(expression):
    torch.manual_seed(0)
    network = at(cw.network(expression), classes=10)
    images = torch.randn(4, 3, network.resolution, network.resolution)
    module = lively(cw.build(network, seed=0), images)
    for layer in (activation_maps(module, images).layer, [name for name, _ in module.named_children()][-3]):
        for method, pairs in pairs_by_method(module, layer, images[:2]).items():
            assert are_same(pairs), (layer, method, pairs)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"])
def test_transformers_are_refused(name):
    with pytest.raises(UsageError, match=r"from norm: .* CAM is for convolutional networks; name a layer"):
        activation_maps(build_peer(f"timm/{name}"), torch.randn(1, 3, 224, 224))


@pytest.mark.parametrize(
    ("peer", "layer"),
    [("timm/convnext_atto", "norm_pre"), ("timm/resnet18", "layer4"), ("torchvision/swin_t", "permute")],
)
def test_the_last_maps_of_others_networks_are_found(peer, layer):
    found = activation_maps(build_peer(peer), torch.randn(1, 3, 224, 224))
    assert (found.layer, found.raw.shape) == (layer, (1, 7, 7))


@pytest.mark.parametrize(("name", "layer"), THEIRS.items())
def test_maps_of_torchvisions_networks(name, layer):
    torch.manual_seed(0)
    images = torch.randn(4, 3, 96, 96)
    module = lively(build_peer(f"torchvision/{name}"), images)
    for method, pairs in pairs_by_method(module, layer, images[:2]).items():
        assert are_same(pairs), (method, pairs)
