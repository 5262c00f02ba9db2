"""Data sets of torch and torchvision as data."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import convwright as cw
from convwright.errors import ArgumentError, DataError


class Items:
    """A data set of given items."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Any:
        return self.items[position]


def tensors(count: int = 20, seed: int = 0) -> TensorDataset:
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return TensorDataset(images, torch.arange(count) % 2)


def test_images_and_labels_of_a_data_set() -> None:
    given = tensors()
    data = cw.open_data(given, val_share=0.2)
    assert (data.classes, len(data.train), len(data.val)) == (("0", "1"), 16, 4)
    both = torch.cat([data.train.images, data.val.images]).flatten(1).tolist()
    assert sorted(both) == sorted(given.tensors[0].flatten(1).tolist())
    named = cw.open_data({"train": given, "val": tensors(4, 1), "test": tensors(6, 2)}, classes=["cat", "dog"])
    assert (named.classes, len(named.train), len(named.val), len(named.test or ())) == (("cat", "dog"), 20, 4, 6)


def test_pictures_of_a_folder_of_torchvision(cats_and_dogs: Path) -> None:
    whole = ImageFolder(str(cats_and_dogs))
    data = cw.open_data(whole)
    assert (data.classes, data.train.size) == (("cats", "dogs"), (12, 16))
    part = Subset(whole, [0, 1, 2, 10, 11, 12])
    assert cw.open_data(part).classes == ("cats", "dogs")
    floats = ImageFolder(str(cats_and_dogs), v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]))
    assert cw.open_data(floats).dataset().fingerprint == data.dataset().fingerprint


def test_pictures_of_several_sizes_and_colours_get_one(noise: Callable[..., Image.Image]) -> None:
    items = [(noise(20 + number, 30, number).convert("L" if number < 5 else "RGB"), number % 2) for number in range(12)]
    data = cw.open_data(Items(items))
    assert (data.train.size, data.train.channels) == ((25, 25), 3)


@pytest.mark.parametrize(
    ("labels", "classes", "several"),
    [
        ([np.int64(3), np.int64(5)], ("3", "5"), False),
        (["cat", "dog"], ("cat", "dog"), False),
        ([["cat"], ["cat", "dog"]], ("cat", "dog"), True),
        ([torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0])], ("0", "1", "2"), True),
    ],
)
def test_forms_of_labels(labels: list[Any], classes: tuple[str, ...], several: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 9, 7), np.uint8)
    data = cw.open_data(Items([{"image": image, "label": labels[n % 2]} for n, image in enumerate(images)]))
    assert data.classes == classes
    assert data.train.multi_label == several


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Broken(Items):
    def __getitem__(self, position: int) -> Any:
        raise RuntimeError("disk\nlost")


PIXELS = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Endless(), "must be a folder, a name, or a data set with a length and numbered items, not Endless"),
        (Items([]), "has no items"),
        (Items([PIXELS]), r"train\[0\] must be an image and its label, not ndarray"),
        (Items([(PIXELS, None)]), r"train\[0\] must be an image and its label"),
        (Items([(PIXELS, 0.5)]), r"train\[0\]: 0.5 is no label"),
        (Items([(PIXELS, 0), (PIXELS[1:], 1)]), r"train\[1\]: images of 1 x 8 x 8 and 1 x 7 x 8; resize them"),
        (Items([(PIXELS - 1.5, 0)]), r"train\[0\]: floats must lie between 0 and 1.*; leave out `Normalize`"),
        ({"val": Items([(PIXELS, 0)])}, "must have the splits train, and val and test if wanted, not val"),
    ],
)
def test_what_is_wrong_is_named(given: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        cw.open_data(given)
    assert caught.value.argument == "data"


def test_an_item_that_fails_and_arguments_that_do_not_belong_together() -> None:
    with pytest.raises(DataError, match=r"train\[0\] cannot be read: RuntimeError: disk lost"):
        cw.open_data(Broken([1]))
    with pytest.raises(ArgumentError, match="cannot be given beside `data`"):
        cw.open_data(tensors(), labels=[1])


def test_a_run_of_a_data_set(tmp_path: Path) -> None:
    given = tensors(40)
    run = cw.train(given, network="cifar_resnet8", epochs=1, out=tmp_path / "run", progress=False)
    assert run.config.data.startswith("arrays:")
    assert run.evaluate(data=cw.open_data(given)).images == 4
