"""Random resized crops are cut from images that are larger than the network's input."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import convwright as cw
from convwright.data import Augmentation, Batches
from convwright.data.geometry import resized_crops
from convwright.data.larger import enlarged, with_larger
from convwright.errors import ArgumentError, ConvwrightError, DataError
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

from ..training.test_loop import StopAfter, assert_same, last_state


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder of noise, 40 x 60 pixels: what is lost when an image is made smaller is seen at once."""
    root = tmp_path_factory.mktemp("larger")
    generator = torch.Generator().manual_seed(0)
    for name in ("dark", "light"):
        (root / name).mkdir()
        for index in range(12):
            pixels = torch.randint(128, (40, 60, 3), generator=generator, dtype=torch.uint8) + 127 * (name == "light")
            Image.fromarray(pixels.numpy()).save(root / name / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("resolution", "smallest", "expected"),
    [(16, 0.25, 32), (16, 0.01, 32), (16, 1.0, 16), (20, 0.64, 25), ((12, 20), 0.25, (24, 40))],
)
def test_the_smallest_crops_are_not_magnified_within_a_factor_of_two(resolution, smallest, expected) -> None:
    assert enlarged(resolution, smallest) == expected


@pytest.mark.parametrize(
    ("resolution", "size"), [(16, (32, 32)), (30, (40, 40)), (40, None), (48, None), ((10, 15), (20, 30))]
)
def test_larger_images_have_at_most_the_pixels_of_the_files(folder, resolution, size) -> None:
    data = cw.open_data(folder, cache_gb=0)
    plain = data.dataset(resolution)
    made = data.with_larger(plain, 0.1)
    assert (made.train.larger and made.train.larger.size) == size
    assert made.fingerprint == plain.fingerprint
    assert data.with_larger(plain, 0.0) is plain


def test_crops_are_cut_from_the_larger_images_of_the_same_rows(folder) -> None:
    data = cw.open_data(folder, cache_gb=0)
    made = data.with_larger(data.dataset(16), 0.25)
    some = made.train.choose(torch.tensor([5, 2, 9, 11]))
    assert some.larger is not None
    assert made.train.larger is not None
    assert torch.equal(some.larger.images, made.train.larger.images[[5, 2, 9, 11]])
    drawn: list[torch.Tensor] = []

    class Watched(Augmentation):
        def distort(self, images, generator, size=None):
            drawn.append(images)
            return resized_crops(images, self.crop_scale, size, generator, self.crop_ratio)

    batches = Batches(some, made, 4, augmentation=Watched(crop_scale=0.25))
    images, _ = batches.at(0)
    assert images.shape == (4, 3, 16, 16)
    assert torch.equal(drawn[0], some.larger.take(batches.rows_at(0)))
    Batches(some, made, 4, augmentation=Augmentation(flip=True)).at(0)  # reads the images of the network's size


def test_images_that_changed_between_the_two_sizes_are_noticed(folder) -> None:
    data = cw.open_data(folder, cache_gb=0)
    small, large = data.dataset(16), data.dataset(32)
    names = list(large.train.names or ())
    for changed in (
        replace(large.train, names=tuple(names[::-1])),
        replace(large.train, labels=1 - large.train.labels),
    ):
        with pytest.raises(DataError, match="changed while they were read"):
            with_larger(small, replace(large, train=changed))


def test_a_stopped_run_resumes_with_the_same_crops_in_any_number_of_workers(folder, tmp_path) -> None:
    request = cw.TrainRequest(
        **{"data": folder, "network": "cifar_resnet8", "resolution": 16, "epochs": 4, "batch_size": 8, "crop": 0},
        **{"crop_scale": 0.2, "crop_ratio": 1.5, "rotation": 20, "hue": 0.1, "cache_gb": 0, "sampling": "balanced"},
    )
    whole = cw.train(request.changed(out=tmp_path / "whole", workers=2), progress=False)
    assert Run.open(whole.path).data.crops_from == 32
    with pytest.raises(Interrupted):
        cw.train(request.changed(out=tmp_path / "stopped"), callbacks=[StopAfter(3)], progress=False)
    stopped = Run.open(tmp_path / "stopped")
    with pytest.raises(ConvwrightError, match="images of another size"):
        resume(stopped, open_run_data(stopped, cache_gb=0))
    cw.resume(tmp_path / "stopped", workers=1, cache_gb=0, progress=False)
    assert_same(last_state(tmp_path / "stopped"), last_state(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"sampling": "balanced", "class_weights": "balanced"}, "class_weights", "would count twice"),
        ({"sampling": "balanced", "class_weights": "effective"}, "class_weights", "would count twice"),
        ({"crop_ratio": 2}, "crop_ratio", "no effect without `crop_scale`"),
        ({"effective_beta": 0.9, "class_weights": "balanced"}, "effective_beta", "without `class_weights` effective"),
    ],
)
def test_options_without_effect_and_contradictions_are_refused(fields, field, reason) -> None:
    with pytest.raises(ArgumentError, match=reason) as error:
        cw.TrainRequest(data="digits", **fields)
    assert error.value.argument == field


@pytest.mark.parametrize(("resolution", "scale"), [(64, 0.08), (48, 0.0)])
def test_recipes_of_papers_cut_crops_from_photographs_only(folder, tmp_path, resolution, scale) -> None:
    plan = cw.prepare(
        cw.TrainRequest(
            data=folder, network="cifar_resnet8", recipe="senet", resolution=resolution, out=tmp_path / "a"
        ),
        progress=False,
    )
    assert plan.config.recipe.crop_scale == scale
