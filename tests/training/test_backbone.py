"""A backbone at inference: faster than the module, with equal features."""

import pytest
import torch
from tests.subjects import lively

import convwright as cw
from convwright.modules import build
from convwright.training import allocator
from convwright.training.allocator import kept_memory
from convwright.training.backbone import split

FAMILIES = (
    *(
        "cifar_resnet8",
        "cifar_seresnet8",
        "densenet_bc_l16_k8",
        "resnext50_32x4d|scale:w=0.25",
        "googlenet|scale:w=0.25",
    ),
    *("efficientnet_b0|scale:d=0.3,w=0.5", "efficientnet_lite0", "mobilenet_v2", "vgg11|scale:w=0.1"),
    *("inception_v3|scale:w=0.25", "googlenet|scale:w=0.25"),
)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_equal_those_of_the_module(name: str) -> None:
    network = cw.network(name + ("|resolution:75" if "inception" in name else "|resolution:64"))
    module = build(network, seed=0)
    lively(module)
    backbone, classifier = split(module)
    backbone.eval()
    classifier.eval()
    module.eval()
    images = torch.randn(3, network.channels, *[network.resolution] * 2, generator=torch.Generator().manual_seed(0))
    found = backbone.inference()(images)
    with torch.no_grad():
        expected = backbone(images)
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
        logits = module(images)
        assert torch.allclose(classifier(found), logits, rtol=1e-3, atol=1e-3 * logits.abs().max().item())


def test_images_of_another_size_are_taken() -> None:
    module = build(cw.network("cifar_seresnet8|resolution:32"), seed=0)
    backbone = split(module)[0].eval()
    images = torch.randn(2, 3, 48, 40)
    with torch.no_grad():
        assert torch.allclose(backbone.inference()(images), backbone(images), rtol=1e-4, atol=1e-5)


def test_weights_of_the_network_count_once() -> None:
    module = build(cw.network("cifar_seresnet8"), seed=0)
    backbone, classifier = split(module)
    both = [*backbone.parameters(), *classifier.parameters()]
    assert [id(each) for each in both] == [id(each) for each in module.parameters()]


def test_settings_of_the_allocator_are_put_back() -> None:
    before = allocator.settings()
    with kept_memory():
        pass
    assert allocator.settings() == before
