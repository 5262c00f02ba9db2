import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, RandAugment

from convwright.data.randaugment import ONE_WAY, OPERATIONS, SIGNED, randaugment

THEIRS = {"colour": "Color", "shear x": "ShearX", "shear y": "ShearY"} | {
    **{"translate x": "TranslateX", "translate y": "TranslateY"},
    **{"autocontrast": "AutoContrast"},
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 40, channels: int = 3, side: int = 24) -> torch.Tensor:
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize("magnitude", [1, 9, 30])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*SIGNED, *ONE_WAY])
def test_each_operation_is_torchvisions(name: str, channels: int, magnitude: int) -> None:
    theirs = THEIRS.get(name, name.capitalize())
    magnitudes, signed = RandAugment._AUGMENTATION_SPACE[theirs]
    assert signed == (name in SIGNED)
    values = magnitudes(31, 24, 24)
    for sign in (1, -1) if signed else (1,):
        value = 0.0 if values is None else sign * float(values[magnitude])
        expected = RandAugment()._apply_image_or_video_transform(
            images(channels=channels), theirs, value, InterpolationMode.NEAREST, {}
        )
        made = (SIGNED | ONE_WAY)[name](images(channels=channels), sign * magnitude / 30)
        assert made.dtype == torch.uint8
        assert (made.int() - expected.int()).abs().max() <= 1 or (made != expected).float().mean() < 0.01


def test_each_image_draws_for_itself() -> None:
    same = images(1).expand(200, -1, -1, -1)
    made = randaugment(same, 0.3, generator())
    assert len({image.numpy().tobytes() for image in made}) > 60
    assert torch.equal(same, images(1).expand(200, -1, -1, -1))  # what is stored is not written to


def test_it_is_a_function_of_the_generator() -> None:
    assert torch.equal(randaugment(images(), 0.3, generator(1)), randaugment(images(), 0.3, generator(1)))
    assert not torch.equal(randaugment(images(), 0.3, generator(1)), randaugment(images(), 0.3, generator(2)))


@pytest.mark.parametrize("side", [1, 2, 8])
def test_tiny_images(side: int) -> None:
    assert randaugment(images(100, 1, side), 1, generator()).shape == (100, 1, side, side)


def test_there_are_fourteen_operations() -> None:
    assert len(OPERATIONS) == len(RandAugment._AUGMENTATION_SPACE) == 14
