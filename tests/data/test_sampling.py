import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convwright.data.sampling import epoch_order


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=60), seed=st.integers(0, 9), epoch=st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_balanced_epochs_show_classes_equally_often_and_images_within_a_class_too(
    labels: list[int], seed: int, epoch: int
) -> None:
    given_labels = torch.tensor(labels)
    order = epoch_order(given_labels, seed, epoch, "balanced")
    assert len(order) == len(labels)
    counts = torch.bincount(given_labels[order])[given_labels.unique()]
    assert counts.max() - counts.min() <= 1
    for label in given_labels.unique():
        often = torch.bincount(order, minlength=len(labels))[given_labels == label]
        assert often.max() - often.min() <= 1
    assert torch.equal(order, epoch_order(given_labels, seed, epoch, "balanced"))


def test_uniform_epochs_show_each_image_once() -> None:
    order = epoch_order(torch.zeros(50, dtype=torch.int64), 0, 3)
    assert order.sort().values.tolist() == list(range(50))


def test_epochs_differ() -> None:
    labels = torch.tensor([0] * 40 + [1] * 4)
    for sampling in ("uniform", "balanced"):
        assert not torch.equal(epoch_order(labels, 0, 0, sampling), epoch_order(labels, 0, 1, sampling))
        assert not torch.equal(epoch_order(labels, 0, 0, sampling), epoch_order(labels, 1, 0, sampling))


def test_all_images_of_a_large_class_occur_in_time() -> None:
    labels = torch.tensor([0] * 40 + [1] * 4)
    seen = torch.cat([epoch_order(labels, 0, epoch, "balanced") for epoch in range(20)])
    assert seen.unique().tolist() == list(range(44))


@pytest.mark.parametrize("classes", [1, 3])
def test_images_with_several_labels(classes: int) -> None:
    labels = torch.zeros(60, classes, dtype=torch.bool)
    labels[:50, 0] = True
    labels[48:52, -1] = True  # some have both
    order = epoch_order(labels, 0, 0, "balanced")
    assert len(order) == 60
    none = (~labels.any(1))[order].sum()
    assert none >= 60 // (labels.any(0).sum() + 1)
    assert labels[order].sum(0)[labels.any(0)].min() >= 60 // (labels.any(0).sum() + 1)
