"""Predictors compute with a folded program where it may take the module's place, and elsewhere with the module."""

import copy

import pytest
import torch

import convwright as cw
from convwright.modules import build
from convwright.prediction.network import Predictor

NETWORKS = ["cifar_resnet8|se:4", "densenet_bc_l16_k8", "efficientnet_b0|resolution:32"]


def random_predictor(name: str) -> Predictor:
    """A predictor of a network whose normalisations are not the identity."""
    network = cw.network(name)
    module = build(network, seed=0)
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            with torch.no_grad():
                part.weight.copy_(0.5 + torch.rand(len(part.weight), generator=generator))
                part.bias.copy_(torch.rand(len(part.bias), generator=generator) - 0.5)
    grey = [0.5] * network.channels
    predictor = Predictor(network, module, list(map(str, range(10))), grey, grey)
    predictor.module.train()
    with torch.no_grad():  # running statistics of images
        for _ in range(20):
            predictor.module(predictor.normalised(images_of(predictor, 16)))
    predictor.module.eval()
    return predictor


def images_of(predictor: Predictor, count: int = 5) -> torch.Tensor:
    side = predictor.resolution
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, predictor.channels, side, side), dtype=torch.uint8, generator=generator)


def by_module(predictor: Predictor, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return predictor.module(predictor.normalised(images)).float()


@pytest.fixture(scope="module", params=NETWORKS)
def predictor(request) -> Predictor:
    return random_predictor(request.param)


def count_calls(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the size of each batch that the module computes."""
    sizes: list[int] = []
    forward = type(predictor.module).forward

    def counted(module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return forward(module, images)

    monkeypatch.setattr(type(predictor.module), "forward", counted)
    return sizes


def test_logits_are_those_of_the_module(predictor, monkeypatch):
    images = images_of(predictor)
    expected = by_module(predictor, images)
    sizes = count_calls(predictor, monkeypatch)
    found = predictor.logits(images)
    assert sizes in ([], [1])  # one image, to compare
    assert not found.is_inference()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(found.argmax(1), expected.argmax(1))


def test_weights_that_change_count_at_once(predictor):
    images = images_of(predictor)
    before = predictor.logits(images)
    weight = next(part.weight for part in predictor.module.modules() if isinstance(part, torch.nn.Linear))
    with torch.no_grad():
        weight.mul_(2)
    after = predictor.logits(images)
    torch.testing.assert_close(after, by_module(predictor, images), rtol=1e-4, atol=1e-5 * float(after.abs().max()))
    assert not torch.allclose(before, after)


def test_hooks_are_called_for_all_images(predictor):
    images, sizes = images_of(predictor), []
    linear = next(part for part in predictor.module.modules() if isinstance(part, torch.nn.Linear))
    handle = linear.register_forward_hook(lambda _, inputs, output: sizes.append(len(output)))
    try:
        found = predictor.logits(images)
    finally:
        handle.remove()
    assert sizes == [len(images)]
    assert torch.equal(found, by_module(predictor, images))


def test_a_layer_that_was_replaced_is_not_ignored(predictor):
    images = images_of(predictor)
    expected = predictor.logits(images)
    name, linear = next((n, part) for n, part in predictor.module.named_modules() if isinstance(part, torch.nn.Linear))

    class Negative(type(linear)):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -super().forward(x)

    other = copy.deepcopy(linear)
    other.__class__ = Negative
    predictor.module.set_submodule(name, other)  # with the same weights
    try:
        torch.testing.assert_close(predictor.logits(images), -expected, rtol=1e-4, atol=1e-4)
    finally:
        predictor.module.set_submodule(name, linear)


def test_training_mode_and_other_types_are_left_to_the_module(predictor):
    images = images_of(predictor)
    predictor.module.train()
    try:
        torch.manual_seed(0)
        found = predictor.logits(images)
    finally:
        predictor.module.eval()
    assert not torch.allclose(found, predictor.logits(images))


def test_a_layer_that_was_taken_out_is_left_to_the_module(predictor):
    images = images_of(predictor)
    name, linear = next((n, part) for n, part in predictor.module.named_modules() if isinstance(part, torch.nn.Linear))
    predictor.module.set_submodule(name, torch.nn.Identity())  # as for features
    try:
        assert torch.equal(predictor.logits(images), by_module(predictor, images))
    finally:
        predictor.module.set_submodule(name, linear)
