import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, TrivialAugmentWide

from convwright.data.trivialaugment import ONE_WAY, OPERATIONS, SIGNED, trivialaugment

THEIRS = {"colour": "Color", "autocontrast": "AutoContrast"}
MAPS = ("shear", "translate", "rotate")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 31, channels: int = 3, side: int = 96) -> torch.Tensor:
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in (*SIGNED, *ONE_WAY) if not name.startswith(MAPS)])
def test_each_change_of_colours_is_torchvisions_at_each_strength(name: str, channels: int) -> None:
    theirs = THEIRS.get(name, name.capitalize())
    magnitudes, signed = TrivialAugmentWide._AUGMENTATION_SPACE[theirs]
    assert signed == (name in SIGNED)
    values = magnitudes(31, 96, 96)
    given = images(channels=channels, side=16)
    for sign in (1, -1) if signed else (1,):
        made = (SIGNED | ONE_WAY)[name](given, sign * torch.arange(31) / 30)
        for index in range(31):
            value = 0.0 if values is None else sign * float(values[index])
            expected = TrivialAugmentWide()._apply_image_or_video_transform(
                given[index], theirs, value, InterpolationMode.NEAREST, {}
            )
            # Torchvision cuts the fraction off, twice.
            assert (made[index].int() - expected.int()).abs().max() <= 2 or (
                made[index] != expected
            ).float().mean() < 0.02


@pytest.mark.parametrize(
    ("name", "theirs"), [("translate x", "TranslateX"), ("translate y", "TranslateY"), ("rotate", "Rotate")]
)
def test_each_map_is_torchvisions_at_each_strength(name: str, theirs: str) -> None:
    magnitudes, _ = TrivialAugmentWide._AUGMENTATION_SPACE[theirs]
    given = images(channels=1)
    for sign in (1, -1):
        strengths = sign * torch.arange(31) / 30
        made = SIGNED[name](given, -strengths if name.startswith("translate") else strengths)
        for index, value in enumerate(magnitudes(31, 96, 96).tolist()):
            value = round(value) if name.startswith("translate") else value
            expected = TrivialAugmentWide()._apply_image_or_video_transform(
                given[index], theirs, sign * value, InterpolationMode.NEAREST, {}
            )
            assert (made[index] != expected).float().mean() < 0.02


def test_shears_keep_the_centre_and_one_direction() -> None:
    given = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    given[0, 0, 4] = 255  # a horizontal line
    assert torch.equal(SIGNED["shear x"](given, torch.ones(1)), given)
    sheared = SIGNED["shear y"](given, torch.ones(1))
    assert sheared[0, 0, 4, 4] == 255
    assert not torch.equal(sheared, given)


def test_each_image_draws_for_itself() -> None:
    same = images(1, side=24).expand(300, -1, -1, -1)
    made = trivialaugment(same, generator())
    assert len({image.numpy().tobytes() for image in made}) > 100
    assert torch.equal(same, images(1, side=24).expand(300, -1, -1, -1))  # what is stored is not written to


def test_it_is_a_function_of_the_generator() -> None:
    assert torch.equal(trivialaugment(images(), generator(1)), trivialaugment(images(), generator(1)))
    assert not torch.equal(trivialaugment(images(), generator(1)), trivialaugment(images(), generator(2)))


@pytest.mark.parametrize("side", [1, 2, 8])
def test_tiny_images(side: int) -> None:
    assert trivialaugment(images(100, 1, side), generator()).shape == (100, 1, side, side)


def test_small_images_stay_in_view() -> None:
    made = SIGNED["translate x"](images(2, side=10), torch.tensor([1.0, -1.0]))
    assert (made.flatten(1) > 0).float().mean() > 0.4


def test_there_are_fourteen_operations() -> None:
    assert len(OPERATIONS) == len(TrivialAugmentWide._AUGMENTATION_SPACE) == 14
