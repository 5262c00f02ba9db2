import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from convwright.curation.duplicates import Duplicates, find_duplicates
from convwright.curation.neighbours import nearest, reduced


def crops(side: int = 64) -> list[Image.Image]:
    return [
        Image.fromarray(photo[top : top + 96, left : left + 96]).resize((side, side))
        for photo in load_sample_images().images
        for top in range(0, 300, 100)
        for left in range(0, 500, 100)
    ]


def compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


CHANGES = {
    "same": lambda image: image,
    "compressed": compressed,
    "smaller": lambda image: image.resize((40, 40)).resize(image.size),
    "darker": lambda image: image.point(lambda value: int(0.7 * value)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)).resize(image.size),
}


def found_in(pool_of, images):
    pixels = np.stack([np.asarray(image.convert("RGB")).transpose(2, 0, 1) for image in images])
    pool = pool_of(pixels)
    small = np.stack([np.asarray(image.convert("RGB").resize((8, 8)), np.float32) for image in images])
    features = (small + small[:, :, ::-1]).reshape(len(images), -1)  # equal for mirrored images
    return find_duplicates(pool, nearest(reduced(features), 10))


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(pool_of, change):
    images = crops()
    copied = [1, 8, 20]
    found = found_in(pool_of, [*images, *(CHANGES[change](images[one]) for one in copied)])
    assert found.choose_kept(lambda one: (-one,)) == {len(images) + place: one for place, one in enumerate(copied)}
    assert found.choose_kept(lambda one: (one,)) == {one: len(images) + place for place, one in enumerate(copied)}
    if change == "same":
        assert all(found.links[one] == {len(images) + place: 1} for place, one in enumerate(copied))


def test_images_without_contrast_are_duplicates_only_if_they_are_equal(pool_of):
    plain = [Image.new("RGB", (16, 16), (level, level, level)) for level in (0, 1, 2, 3, 200, 200)]
    assert found_in(pool_of, plain).links == {4: {5: 1}, 5: {4: 1}}


def test_colours_distinguish_images(pool_of):
    drawn = np.zeros((8, 16, 16, 3), np.uint8)
    for place, shape in enumerate(np.random.default_rng(0).integers(0, 2, (4, 16, 16))):
        drawn[2 * place, ..., 0] = 255 * shape
        drawn[2 * place + 1, ..., 2] = 255 * shape
    assert found_in(pool_of, list(map(Image.fromarray, drawn))).links == {}


def test_contrast_distinguishes_images(pool_of):
    disc = np.random.default_rng(0).integers(0, 2, (16, 16))
    drawn = [Image.fromarray((255 - depth * disc).astype(np.uint8)) for depth in (30, 250)]
    assert found_in(pool_of, drawn).links == {}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.floats(0, 1)), max_size=40), st.integers(0, 9))
def test_one_of_each_pair_is_kept_and_each_other_image_is_a_duplicate_of_a_kept_one(pairs, seed):
    links = {}
    for first, second, value in pairs:
        if first != second:
            links.setdefault(first, {})[second] = links.setdefault(second, {})[first] = value
    ranks = np.random.default_rng(seed).permutation(13).tolist()
    duplicate_of = Duplicates(links).choose_kept(lambda one: (ranks[one],))
    kept = set(links) - set(duplicate_of)
    assert not any(other in kept for one in kept for other in links[one])
    assert all(
        other in kept and other in links[one] and ranks[other] > ranks[one] for one, other in duplicate_of.items()
    )
