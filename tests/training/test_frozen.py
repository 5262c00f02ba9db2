"""Features of a frozen backbone: computed once, and shared by runs where that is asked for."""

from dataclasses import replace

import pytest
import torch

import convwright as cw
from convwright.data import open_dataset
from convwright.modules import build
from convwright.training import frozen
from convwright.training.frozen import features_of, has_features, keeping_features, split

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    return open_dataset("digits")


def backbone(seed: int = 0):
    return split(build(cw.network("cifar_resnet8|channels:1"), seed=seed))[0].eval()


def test_kept_features_are_those_of_the_same_backbone_and_images(images) -> None:
    fewer = replace(images, train=images.train.choose(torch.arange(100)))
    scaled = replace(images, std=tuple(2 * each for each in images.std))
    expected = features_of(backbone(), images, CPU)
    with keeping_features():
        first = features_of(backbone(), images, CPU)
        assert has_features(backbone(), images)
        assert features_of(backbone(), images, CPU) is first
        for other, data in ((backbone(1), images), (backbone(), fewer), (backbone(), scaled)):
            assert not has_features(other, data)
            assert features_of(other, data, CPU) is not first
    assert not has_features(backbone(), images)
    assert torch.equal(first.train.store[:], expected.train.store[:])
    assert torch.equal(first.val.store[:], expected.val.store[:])


def test_few_sets_of_features_are_kept(images) -> None:
    with keeping_features():
        for seed in range(frozen.MOST_KEPT + 1):
            features_of(backbone(seed), images, CPU)
        kept = [has_features(backbone(seed), images) for seed in range(frozen.MOST_KEPT + 1)]
    assert kept == [False] + [True] * frozen.MOST_KEPT
