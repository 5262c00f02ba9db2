import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as arrays_of

from convwright.data import SOURCES
from convwright.data.arrays import as_pixels, hold, parts_of_arrays
from convwright.data.dataset import Parts
from convwright.data.registry import fault_of
from convwright.errors import ArgumentError

NONE = (None, None)


def parts(images: object, labels: object, classes: list[str] | None = None) -> Parts:
    return parts_of_arrays((images, *NONE), (labels, *NONE), classes)


def rgb(count: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)


@given(arrays_of.arrays(np.uint8, (2, 4, 5, 3)))
def test_every_layout_gives_the_same_pixels(array: np.ndarray) -> None:
    expected = torch.from_numpy(array).permute(0, 3, 1, 2)
    for given_ in (
        array,
        array.transpose(0, 3, 1, 2),
        torch.from_numpy(array),
        list(array),
        array / 255,
        (array / 255).astype(np.float32),
    ):
        assert torch.equal(as_pixels(given_, "images"), expected)
    assert torch.equal(as_pixels(array[..., 0], "images"), expected[:, :1])
    assert torch.equal(as_pixels(array[..., :1] > 99, "images"), (expected[:, :1] > 99).to(torch.uint8) * 255)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((2, 4, 4), np.int64), "must be uint8, or floats from 0 to 1, not int64"),
        (np.zeros((2, 4, 4), np.uint16), "not uint16; divide it by its largest possible value, such as 65535"),
        (np.full((2, 4, 4), 2.0), "between 0 and 1, and there are values from 2 to 2"),
        (np.full((2, 4, 4), -0.1), "between 0 and 1"),
        (np.array([[[0.5, np.nan]]]), "between 0 and 1"),
        (np.zeros((2, 3, 4, 3), np.uint8), "may be N x channels x height x width or"),
        (np.zeros((2, 4, 4, 4), np.uint8), "1 or 3 channels"),
        (np.zeros((4, 4), np.uint8), "N x H x W"),
        (np.zeros((2, 0, 4), np.uint8), "no pixels"),
        (np.zeros((0, 4, 4), np.uint8), "no images"),
        ([np.zeros((4, 4)), np.zeros((5, 4))], "one array"),
        (None, "must be one array"),
    ],
)
def test_unclear_images_are_refused(images: object, problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem) as error:
        as_pixels(images, "val_images")
    assert error.value.argument == "val_images"


def test_labels_are_numbers_or_names() -> None:
    images = rgb()
    assert parts(images, [0, 1, 1, 0]).classes == ("0", "1")
    named = parts(images, ["dog", "cat", "cat", "dog"])
    assert named.classes == ("cat", "dog")
    assert named.train.labels.tolist() == [1, 0, 0, 1]
    assert parts(images, np.array([7, 3, 3, 7], np.int32)).train.labels.tolist() == [1, 0, 0, 1]
    chosen = parts(images, ["dog", "cat", "cat", "dog"], ["dog", "cat"])
    assert chosen.classes == ("dog", "cat")
    assert chosen.train.labels.tolist() == [0, 1, 1, 0]
    assert parts(images, torch.tensor([1, 0, 1, 0]), ["a", "b"]).train.labels.tolist() == [1, 0, 1, 0]


def test_several_labels_of_an_image() -> None:
    images = rgb(3)
    named = parts(images, [["a", "b"], [], ["b"]])
    assert named.train.labels.tolist() == [[True, True], [False, False], [False, True]]
    assert named.train.multi_label
    assert not fault_of(parts(images, np.array([[1, 0], [1, 1], [0, 1]], bool)))
    with pytest.raises(ArgumentError, match="3 columns for 2 classes"):
        parts(images, np.ones((3, 3), bool), ["a", "b"])


@pytest.mark.parametrize(
    ("labels", "classes", "problem"),
    [
        ([0, 1, 2], None, "3 labels for 4 images"),
        ([0, 1, 2, 0], ["a", "b"], "2 is none of the 2 classes"),
        ([0, 1, -1, 0], ["a", "b"], "-1 is none of the 2 classes"),
        (["a", "b", "c", "a"], ["a", "b"], "c is none of the 2 classes"),
        ([0.0, 1.0, 0.0, 1.0], None, "whole numbers or names"),
        (np.zeros((4, 2)), None, "whole numbers or names"),
        ([0, 1, 0, 1], ["a", "a"], "two different names"),
        (None, None, "missing"),
    ],
)
def test_unclear_labels_are_refused(labels: object, classes: list[str] | None, problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem):
        parts(rgb(), labels, classes)


def test_validation_images_are_checked_against_the_training_images() -> None:
    made = parts_of_arrays((rgb(), rgb(2), None), ([0, 1, 0, 1], [1, 0], None))
    assert made.val is not None
    assert len(made.val) == 2
    with pytest.raises(ArgumentError, match="val_labels: missing"):
        parts_of_arrays((rgb(), rgb(2), None), ([0, 1, 0, 1], None, None))
    with pytest.raises(ArgumentError, match="val_images: 1 x 6 x 5"):
        parts_of_arrays((rgb(), rgb(2)[..., :1], None), ([0, 1, 0, 1], [1, 0], None))
    with pytest.raises(ArgumentError, match="val_labels: 5 is none"):
        parts_of_arrays((rgb(), rgb(2), None), ([0, 1, 0, 1], [5, 0], None))


def test_images_are_found_by_their_digest_while_they_are_held() -> None:
    one = hold(parts(rgb(), [0, 1, 0, 1]))
    assert hold(parts(rgb(), [0, 1, 0, 1])) is one
    assert hold(parts(rgb(seed=1), [0, 1, 0, 1])).spec != one.spec
    assert hold(parts(rgb(), [1, 1, 0, 0])).spec != one.spec
    spec = one.spec
    assert SOURCES[spec].read(True) is one.parts
    assert spec not in list(SOURCES)
    del one
    gc.collect()
    assert spec not in SOURCES
