"""Altered images: stand-ins for unknown images, from which an out-of-distribution score is chosen."""

import pytest
import torch

from convwright.prediction.altered import altered_images
from convwright.stats.ood_selection import FAR, NEAR


def images_of(count, channels, height, width):
    return torch.randint(256, (count, channels, height, width), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 7), (4, 16)])
def test_images_are_altered_in_every_way_and_always_the_same(height, width):
    images, labels = images_of(30, 3, height, width), torch.arange(30) % 3
    found, again = altered_images(images, labels), altered_images(images.clone(), labels)
    assert set(found) == {*NEAR, *FAR}
    for kind, altered in found.items():
        assert altered.shape == images.shape
        assert altered.dtype == torch.uint8
        assert torch.equal(altered, again[kind])
        changed = (altered != images).flatten(1).any(1)
        assert changed.all(), kind
    for kind in ("quarters", "turned", "shuffled"):  # the pixels of an image stay its own
        one, other = (each.flatten(2).sort(2).values for each in (images, found[kind]))
        assert torch.equal(one, other)


def test_mixed_images_are_of_two_classes():
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 1, 0, 2])
    images = labels.byte().view(-1, 1, 1, 1).expand(-1, 1, 8, 8).mul(100)
    found = altered_images(images, labels)
    assert (found["mixed"] != images).all()
    assert (found["halves"][..., 0] == images[..., 0]).all()
    assert (found["halves"][..., -1] != images[..., -1]).all()


def test_images_of_few_pixels_are_left_alone():
    assert altered_images(images_of(5, 1, 3, 30), torch.zeros(5, dtype=torch.long)) == {}
    assert altered_images(images_of(0, 1, 8, 8), torch.zeros(0, dtype=torch.long)) == {}
