"""Brightness, contrast, saturation and hue."""

import pytest
import torch
from torchvision.transforms.v2 import functional as ops

from convwright.data.colour import GREY, adjusted, jittered


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4, channels: int = 3) -> torch.Tensor:
    return torch.randint(256, (count, channels, 16, 12), dtype=torch.uint8, generator=seeded())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_torchvision_s(name: str, factor: float, channels: int) -> None:
    given = images(channels=channels)
    expected = getattr(ops, f"adjust_{name}")(given.double() / 255, factor) * 255
    made = adjusted(given, **{name: torch.full((4,), factor)})
    assert (made - expected).abs().max() < 0.51


def test_each_image_has_its_own_factors() -> None:
    given = images()
    factors = torch.tensor([0.2, 0.5, 1.0, 1.5])
    together = adjusted(given, factors, factors.flip(0), factors, factors / 4)
    for i in range(4):
        one = factors[i : i + 1]
        alone = adjusted(given[i : i + 1], one, factors.flip(0)[i : i + 1], one, one / 4)
        assert torch.equal(together[i : i + 1], alone)


def test_changes_are_made_in_the_order_of_the_arguments() -> None:
    given = (images() // 4 + 80).clamp(max=150)  # no value is limited on the way
    factors = [torch.tensor([value] * 4) for value in (1.1, 0.8, 1.2)]
    expected = given
    for name, factor in zip(("brightness", "contrast", "saturation"), factors, strict=True):
        expected = adjusted(expected, **{name: factor})
    assert (adjusted(given, *factors).int() - expected.int()).abs().max() <= 2


def test_hues_turn_around_grey() -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(adjusted(grey, hue=torch.tensor([0.3])), grey)
    given = images() // 4 + 90
    for turns in (-0.5, 0.2, 0.5):
        turned = adjusted(given, hue=torch.full((4,), turns))
        assert (turned.int() - given.int()).abs().float().mean() > 5
        values = [torch.einsum("nchw,c->nhw", each.double(), torch.tensor(GREY).double()) for each in (turned, given)]
        assert (values[0] - values[1]).abs().max() < 1.5
        back = adjusted(turned, hue=torch.full((4,), -turns))
        assert (back.int() - given.int()).abs().max() <= 2
    assert torch.equal(adjusted(given, hue=torch.ones(4)), given)


def test_a_third_of_the_circle_makes_red_mostly_one_other_primary() -> None:
    red = torch.tensor([130, 100, 100], dtype=torch.uint8).view(1, 3, 1, 1)
    turned = [adjusted(red, hue=torch.tensor([turns])).flatten().tolist() for turns in (1 / 3, -1 / 3)]
    assert sorted(values.index(max(values)) for values in turned) == [1, 2]


def test_jitter_stays_within_its_limits_and_takes_all_values() -> None:
    given = torch.full((500, 1, 2, 2), 100, dtype=torch.uint8)
    made = jittered(given, 0.4, 0.0, 0.0, 0.0, seeded()).float().flatten(1)
    assert made.amin(1).equal(made.amax(1))
    assert 60 <= made.min() < 63
    assert 137 < made.max() <= 140
    assert float(made.mean()) == pytest.approx(100, abs=3)
    dark = jittered(given, 5.0, 0.0, 0.0, 0.0, seeded()).float()
    assert dark.min() < 10
    assert dark.max() == 255


def test_jitter_is_a_function_of_the_generator() -> None:
    assert torch.equal(
        jittered(images(), 0.2, 0.2, 0.2, 0.1, seeded(1)), jittered(images(), 0.2, 0.2, 0.2, 0.1, seeded(1))
    )
    assert not torch.equal(
        jittered(images(), 0.2, 0.2, 0.2, 0.1, seeded(1)), jittered(images(), 0.2, 0.2, 0.2, 0.1, seeded(2))
    )
