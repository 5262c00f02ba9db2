import pytest
import torch

from convwright.data import Augmentation, Batches, Dataset, Split
from convwright.data.mixing import cutmix, mixup
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
    "options", [{"randaugment": 9}, {"erasing": 0.5}, {"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}]
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
    ],
)
def test_values_that_mean_nothing(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        Augmentation(**options)  # type: ignore[arg-type]
