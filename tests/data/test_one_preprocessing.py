"""Images in memory are trained on with the pixels that prediction reads from the same images, in every form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.arch.resolution import resolution_of
from convwright.data import open_dataset
from convwright.data.framing import Framing, Resize
from convwright.data.opened import Data
from convwright.data.resizing import resized_pixels
from convwright.prediction.network import Predictor


class Pictures:
    """A data set of Pillow's images, with two classes in turn."""

    def __init__(self, pictures: list[Image.Image]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, position: int) -> tuple[Image.Image, int]:
        return self.pictures[position], position % 2


def picture(seed: int, height: int, width: int, channels: int) -> np.ndarray:
    """Return sharp edges and noise, H x W or H x W x 3."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 2, (height // 4 + 1, width // 4 + 1, channels)) * 200
    values = np.kron(coarse, np.ones((4, 4, 1), int))[:height, :width] + generator.integers(0, 56, (height, width, 1))
    array = values.astype(np.uint8)
    return array[..., 0] if channels == 1 else array


def predictor(size: tuple[int, int], channels: int, framing: Framing) -> Predictor:
    network = cw.at(
        cw.network("cifar_resnet8|scale:w=0.25"), resolution=resolution_of(*size), channels=channels, classes=2
    )
    return Predictor(network, cw.build(network), ("a", "b"), [0.5] * channels, [0.5] * channels, framing=framing)


def in_order(data: Data, size: tuple[int, int]) -> torch.Tensor:
    """Return the training images; all are in this split."""
    return data.dataset(resolution_of(*size)).train.images


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(16, 16), (48, 48), (24, 40), (30, 41)])
def test_training_and_prediction_see_the_same_pixels(
    channels: int, resize: Resize, size: tuple[int, int], tmp_path: Path
) -> None:
    arrays = [picture(seed, 30, 41, channels) for seed in range(4)]
    pictures = [Image.fromarray(array) for array in arrays]
    labels = {"labels": [0, 1, 0, 1], "val_labels": [0, 1, 0, 1], "val_images": np.stack(arrays)}
    trained = in_order(cw.open_data(images=np.stack(arrays), resize=resize, **labels), size)
    splits = {"train": Pictures(pictures), "val": Pictures(pictures)}
    assert torch.equal(in_order(cw.open_data(splits, resize=resize), size), trained)
    predicting = predictor(size, channels, Framing(resize=resize))
    for number, (array, image) in enumerate(zip(arrays, pictures, strict=True)):
        image.save(path := tmp_path / f"{number}.png")
        tensor = torch.from_numpy(array)
        for form in (image, array, path, tensor[None] if channels == 1 else tensor.permute(2, 0, 1)):
            assert np.array_equal(predicting.read(form), trained[number])


@pytest.mark.parametrize("resize", ["crop", "pad", "squash"])
def test_data_sets_of_mixed_sizes_are_read_at_the_requested_size_and_framing(resize: Resize) -> None:
    pictures = [Image.fromarray(picture(seed, 30 + seed, 60 - 5 * seed, 3)) for seed in range(4)]
    splits = {"train": Pictures(pictures), "val": Pictures(pictures)}
    data = cw.open_data(splits, resize=resize)
    for size in (16, (24, 40), None):
        dataset = data.dataset(size)
        assert dataset.framing == Framing(resize=resize)
        predicting = predictor(dataset.train.size, 3, dataset.framing)
        for image, pixels in zip(pictures, dataset.train.images, strict=True):
            assert np.array_equal(predicting.read(image), pixels)


def test_the_crop_of_published_weights_holds_at_every_size() -> None:
    array = picture(0, 16, 16, 3)
    framing = Framing(0.875)
    data = cw.open_data(images=np.stack([array] * 2), labels=[0, 1], val_images=array[None], val_labels=[0])
    pixels = data.dataset(16, framing=framing).train.images[0]
    for form in (array, Image.fromarray(array)):
        assert np.array_equal(predictor((16, 16), 3, framing).read(form), pixels)


def test_sources_at_their_own_size_are_unchanged_and_runs_of_decoder_1_keep_their_pixels() -> None:
    native = open_dataset("digits")
    assert open_dataset("digits", resolution=8).fingerprint == native.fingerprint
    old = open_dataset("digits", resolution=12, framing=Framing(decoder=1)).val.images
    by_torch = torch.nn.functional.interpolate(native.val.images, size=(12, 12), mode="bicubic", antialias=True)
    assert torch.equal(old, by_torch)
    assert torch.equal(open_dataset("digits", resolution=12).val.images, resized_pixels(native.val.images, (12, 12)))
