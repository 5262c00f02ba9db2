import pytest
import torch

from convwright.data import Augmentation, Batches, Dataset, Split
from convwright.data.mixing import cutmix, mixup, weighted
from convwright.errors import UsageError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coloured(count: int = 8, side: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of one value each, their own label, so that what is mixed can be read off."""
    labels = torch.arange(count)
    return labels.float()[:, None, None, None].expand(count, 1, side, side).clone(), labels


def test_mixup_blends_labels_as_images() -> None:
    images, labels = coloured()
    mixed, soft = mixup(images, labels, 8, 1.0, generator())
    assert torch.allclose(soft.sum(1), torch.ones(8))
    assert torch.allclose(mixed.mean((1, 2, 3)), soft @ torch.arange(8.0), atol=1e-5)
    assert len(soft.max(1).values.unique()) == 8  # a share for each pair
    assert torch.equal(images, coloured()[0])


def test_cutmix_labels_go_by_area() -> None:
    images, labels = coloured()
    mixed, soft = cutmix(images, labels, 8, 1.0, generator())
    for i in range(8):
        own = (mixed[i] == i).float().mean()
        assert soft[i, i] == pytest.approx(float(own))
        assert soft[i, i - 1] == pytest.approx(float(1 - own), abs=1e-6)
        assert set(mixed[i].unique().tolist()) <= {float(i), float((i - 1) % 8)}
    assert 0.2 < soft.diagonal().mean() < 0.98


def test_two_images_of_one_class_keep_its_label() -> None:
    images, _ = coloured(2)
    _, soft = mixup(images, torch.tensor([3, 3]), 5, 0.4, generator())
    assert torch.allclose(soft, torch.eye(5)[[3, 3]])


def test_an_image_alone_stays_as_it_is() -> None:
    images, labels = coloured(1)
    for mix in (mixup, cutmix):
        mixed, soft = mix(images, labels, 1, 1.0, generator())
        assert torch.allclose(mixed, images)
        assert soft.tolist() == [[1.0]]


def test_with_both_each_batch_has_one_of_them() -> None:
    images, labels = coloured()
    both = Augmentation(mixup=0.5, cutmix=0.5)
    kinds = set()
    for seed in range(20):
        mixed, _ = both.mix(images, labels, 8, generator(seed))
        kinds.add(all(value == round(value) for value in mixed.flatten().tolist()))
    assert kinds == {True, False}


def batches(**augmentation: float) -> Batches:
    images = torch.randint(256, (32, 3, 12, 12), dtype=torch.uint8, generator=generator())
    split = Split(images, torch.arange(32) % 4)
    data = Dataset("made", tuple("abcd"), split, split, None, (0.5,) * 3, (0.25,) * 3, "")
    return Batches(split, data, 8, 0, Augmentation(**augmentation))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        *({"randaugment": 9}, {"erasing": 0.5}, {"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}),
        *({"crop_scale": 0.3}, {"rotation": 20}, {"brightness": 0.4}, {"contrast": 0.4}, {"saturation": 0.4}),
        *({"hue": 0.1}, {"trivialaugment": True}),
    ],
)
def test_a_batch_is_a_function_of_seed_and_step(options: dict[str, float]) -> None:
    made = batches(crop=1, flip=True, **options)
    images, labels = made.at(5)
    made.at(1)
    torch.rand(3)
    again, labels_again = batches(crop=1, flip=True, **options).at(5)
    assert torch.equal(images, again)
    assert torch.equal(labels, labels_again)
    assert not torch.equal(images, batches(crop=1, flip=True).at(5)[0])
    assert images.dtype == torch.float32
    if "mixup" in options or "cutmix" in options:
        assert labels.shape == (8, 4)
        assert labels.dtype == torch.float32
    else:
        assert labels.dtype == torch.int64


def test_erasing_takes_a_rectangle_of_some_images() -> None:
    erased = Augmentation(erasing=0.5).apply(torch.ones(400, 3, 20, 30), generator())
    areas = (erased == 0).float().mean((1, 2, 3))
    assert 0.4 < (areas > 0).float().mean() < 0.6
    assert 0 < areas[areas > 0].min() < 0.05
    assert 0.2 < areas.max() < 0.45
    for image in erased[areas > 0][:20]:
        rows, columns = (image[0] == 0).any(1).sum(), (image[0] == 0).any(0).sum()
        assert (image == 0).sum() == 3 * rows * columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": -1}, "crop must be at least 0, not -1"),
        ({"randaugment": 31}, "randaugment must be at least 0 and at most 30, not 31"),
        ({"erasing": 1.5}, "erasing must be at least 0 and at most 1, not 1.5"),
        ({"mixup": -0.1}, "mixup must be at least 0, not -0.1"),
        ({"cutmix": float("nan")}, "cutmix must be at least 0, not nan"),
        ({"crop_scale": 1.5}, "crop_scale must be at least 0 and at most 1, not 1.5"),
        ({"hue": 0.6}, "hue must be at least 0 and at most 0.5, not 0.6"),
        ({"rotation": -1}, "rotation must be at least 0 and at most 180, not -1"),
    ],
)
def test_values_that_mean_nothing(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        Augmentation(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_several_labels_and_weights_are_mixed_as_images_are(mix: object) -> None:
    images, labels = coloured(4)
    several = torch.eye(4).bool() | torch.eye(4).bool()[:, [0, 0, 0, 0]]  # each has two labels but the first
    _, alone = mix(images, several, 4, 1.0, generator())  # type: ignore[operator]
    _, shares = mix(images, labels, 4, 1.0, generator())  # type: ignore[operator]
    torch.testing.assert_close(alone, shares @ several.float())
    weights = torch.tensor([0.5, 1.0, 2.0, 0.5])
    _, both = mix(images, weighted(labels, weights, 4), 4, 1.0, generator())  # type: ignore[operator]
    torch.testing.assert_close(both[:, :4], shares)
    torch.testing.assert_close(both[:, 4], shares @ weights)


def test_batches_of_weighted_images_have_weights_with_a_mean_of_one() -> None:
    images = torch.zeros(32, 1, 8, 8, dtype=torch.uint8)
    split = Split(images, torch.arange(32) % 4, weights=torch.arange(1.0, 33))
    data = Dataset("made", tuple("abcd"), split, split, None, (0.5,), (0.25,), "")
    made = [Batches(split, data, 8).at(step)[1] for step in range(4)]
    labels = torch.cat(made)
    assert labels.shape == (32, 5)
    assert labels[:, 4].mean().item() == pytest.approx(1)
    order = torch.cat([Batches(split, data, 8).rows_at(step) for step in range(4)])
    torch.testing.assert_close(labels[:, 4], (order + 1) / 16.5)
    assert torch.equal(labels[:, :4].argmax(1), order % 4)


def test_crops_of_larger_images_have_the_size_of_the_data() -> None:
    large = torch.randint(256, (16, 3, 20, 30), dtype=torch.uint8, generator=generator())
    small = torch.zeros(16, 3, 12, 18, dtype=torch.uint8)
    splits = [Split(each, torch.arange(16) % 2) for each in (large, small)]
    data = Dataset("made", tuple("ab"), splits[1], splits[1], None, (0.5,) * 3, (0.25,) * 3, "")
    images, _ = Batches(splits[0], data, 8, 0, Augmentation(crop_scale=0.3, rotation=10)).at(0)
    assert images.shape == (8, 3, 12, 18)
    assert images.std() > 0.2  # the small ones are of one colour
