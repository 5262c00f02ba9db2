import threading
import time
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convwright.data import Augmentation, Batches, Dataset, Split, evaluation_batches
from convwright.data.dataset import channel_statistics, fingerprint
from convwright.data.threads import in_threads, prefetch
from convwright.errors import UsageError


def dataset(count: int, channels: int = 1, side: int = 6) -> Dataset:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(count))  # a label each, to follow the samples by
    mean, std = channel_statistics(split)
    return Dataset("made", tuple(map(str, range(count))), split, split, None, mean, std, "")


def batches(count: int, batch_size: int, seed: int = 0, **augmentation: int) -> Batches:
    data = dataset(count)
    return Batches(data.train, data, batch_size, seed, Augmentation(**augmentation))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_an_epoch_shows_each_sample_at_most_once(count: int, size: int, epoch: int) -> None:
    made = batches(count, size)
    start = epoch * made.steps_per_epoch
    labels = torch.cat([made.at(start + i)[1] for i in range(made.steps_per_epoch)]).tolist()
    assert len(set(labels)) == len(labels) == min(size, count) * made.steps_per_epoch
    assert count - len(labels) < size  # less than a batch is left out


def test_a_split_that_divides_is_shown_whole_in_another_order_each_epoch() -> None:
    made = batches(24, 8)
    epochs = [torch.cat([made.at(3 * e + i)[1] for i in range(3)]).tolist() for e in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(24))] * 2
    assert epochs[0] != epochs[1]


def test_at_is_a_pure_function_of_seed_and_step() -> None:
    requested = batches(20, 6, seed=3, crop=2, flip=True)
    in_order = [requested.at(step) for step in range(9)]
    for step in (8, 0, 5, 2, 5):
        torch.rand(2)  # the global generator plays no part
        images, labels = batches(20, 6, seed=3, crop=2, flip=True).at(step)
        assert torch.equal(images, in_order[step][0])
        assert torch.equal(labels, in_order[step][1])
        assert torch.equal(requested.at(step)[0], images)
    assert not torch.equal(batches(20, 6, seed=4).at(0)[1], in_order[0][1])


def test_images_belong_to_their_labels_and_are_normalised() -> None:
    data = dataset(50, channels=3)
    images, labels = Batches(data.train, data, 50).at(0)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert torch.equal(images, data.normalise(data.train.images[labels]))
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5)


def test_a_batch_larger_than_the_split_is_the_split() -> None:
    made = batches(5, 64)
    assert made.steps_per_epoch == 1
    assert sorted(made.at(7)[1].tolist()) == list(range(5))


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_refused(size: int) -> None:
    data = dataset(4)
    with pytest.raises(UsageError, match="batch size must be at least 1"):
        Batches(data.train, data, size)
    with pytest.raises(UsageError, match="batch size must be at least 1"):
        evaluation_batches(data.val, data, size)


def test_evaluation_shows_all_in_order() -> None:
    data = dataset(11)
    seen = list(evaluation_batches(data.val, data, 4))
    assert [len(labels) for _, labels in seen] == [4, 4, 3]
    assert torch.equal(torch.cat([labels for _, labels in seen]), data.val.labels)
    assert torch.equal(torch.cat([images for images, _ in seen]), data.normalise(data.val.images))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_iterate_gives_what_at_gives(workers: int) -> None:
    augmented = {"crop": 1, "flip": True, "randaugment": 9, "erasing": 0.5, "mixup": 0.2, "cutmix": 1.0}
    made = batches(20, 6, **augmented)
    steps = list(made.iterate(2, 9, workers))
    assert len(steps) == 7
    for step, (images, labels) in enumerate(steps, 2):
        assert torch.equal(images, made.at(step)[0])
        assert torch.equal(labels, made.at(step)[1])


def threads() -> int:
    return sum(thread.name.startswith("prefetch") for thread in threading.enumerate())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("taken", [1, 3])
def test_closing_ends_the_threads(taken: int, workers: int) -> None:
    made = batches(20, 2).iterate(0, 10**9, workers)
    for _ in range(taken):
        next(made)
    assert 1 <= threads() <= workers
    made.close()
    assert threads() == 0


def test_work_runs_ahead_by_no_more_than_asked() -> None:
    made: list[int] = []
    items = prefetch(made.append, iter(range(100)), workers=2, depth=3)
    next(items)
    time.sleep(0.1)
    assert 1 < len(made) <= 7
    assert len(list(items)) == 99
    assert threads() == 0


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_in_the_making_is_raised_in_its_turn(workers: int) -> None:
    def work(item: int) -> int:
        if item == 2:
            raise KeyError("gone")
        return item

    items = prefetch(work, range(10), workers)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(KeyError, match="gone"):
        next(items)
    assert threads() == 0


def test_in_threads_keeps_the_order_and_tells_of_progress() -> None:
    reported: list[tuple[int, int, str]] = []
    done = list(in_threads(lambda x: x * x, range(5), lambda *p: reported.append(p), "squaring"))
    assert done == [0, 1, 4, 9, 16]
    assert reported == [(i, 5, "squaring") for i in range(1, 6)]


def test_an_interrupt_drops_the_work_that_has_not_begun() -> None:
    started: list[int] = []

    def work(i: int) -> None:
        started.append(i)
        time.sleep(0.01)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(work, range(1000), interrupt, "waiting"))
    assert len(started) < 100


def test_statistics_are_exact_and_a_constant_channel_does_no_harm() -> None:
    data = dataset(30, channels=2)
    values = data.train.images.double() / 255
    assert data.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(values.std((0, 2, 3), unbiased=False).tolist(), abs=1e-12)
    flat = Split(torch.full((3, 1, 2, 2), 51, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    assert channel_statistics(flat) == ((0.2,), (1.0,))


def test_the_fingerprint_tells_any_change() -> None:
    def split(pixel: int = 0, label: int = 0) -> Split:
        images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
        images[1, 0, 1, 1] = pixel
        return Split(images, torch.tensor([0, label]))

    prints = [
        fingerprint(("a", "b"), split(), None),
        fingerprint(("a", "c"), split(), None),
        fingerprint(("a", "b"), split(pixel=1), None),
        fingerprint(("a", "b"), split(label=1), None),
        fingerprint(("a", "b"), split(), split()),
        fingerprint(("a", "b"), None, split()),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(("a", "b"), split(), None) == prints[0]


@pytest.mark.parametrize(
    "augmentation",
    [
        {},
        {"crop": 2, "flip": True, "erasing": 0.5},
        {"flip": True, "rotation": 20},
        {"crop_scale": 0.3},
        {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2},
        {"trivialaugment": True},
        {"randaugment": 9},
        {"mixup": 0.2, "cutmix": 1.0},
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_augmented_on_the_device_of_the_batches(augmentation: dict[str, Any], channels: int) -> None:
    """On torch's device without values, where every mixture of devices is an error as it is on a GPU."""
    data = dataset(24, channels, side=16)
    given = (data.train, data, 24, 3, Augmentation(**augmentation))
    expected = Batches(*given)
    made = Batches(*given, device=torch.device("meta"))
    for step in range(3):
        images, labels = made.at(step)
        assert images.device.type == "meta"
        assert (images.shape, images.dtype) == (expected.at(step)[0].shape, torch.float32)
        assert torch.equal(labels, expected.at(step)[1])
