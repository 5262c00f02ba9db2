from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convwright as cw
from convwright.curation.crossfit import probabilities_of
from convwright.curation.features import PIXELS
from convwright.curation.folds import FEWEST_SEEN, are_judgeable, assign_folds, folds_of
from convwright.curation.pool import Pool
from convwright.errors import ArgumentError


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 9))
def test_folds_are_balanced_in_each_class(labels, folds, seed):
    values = np.array(labels)
    found = folds_of(values, folds, seed)
    for rows in (slice(None), *(values == label for label in set(labels))):
        counts = np.bincount(found[rows], minlength=folds)
        assert counts.max() - counts.min() <= 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=60),
    st.integers(2, 6),
)
def test_clusters_stay_together(images, folds):
    labels, clusters = np.array([label for label, _ in images]), [cluster for _, cluster in images]
    found = folds_of(labels, folds, 0, clusters)
    assert set(found.tolist()) <= set(range(folds))
    for name in set(clusters) - {""}:
        assert len({found[row] for row, cluster in enumerate(clusters) if cluster == name}) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 2)), min_size=1, max_size=60))
def test_labels_are_judged_where_all_models_have_seen_their_class(images):
    labels, fold_of = (np.array(column) for column in zip(*images, strict=True))
    for one, judgeable in enumerate(are_judgeable(labels, fold_of).tolist()):
        models = [fold_of[one]] if fold_of[one] >= 0 else range(fold_of.max() + 1)
        seen = [((labels == labels[one]) & (fold_of >= 0) & (fold_of != fold)).sum() for fold in models]
        assert judgeable == (min(seen, default=0) >= FEWEST_SEEN)


@pytest.fixture(scope="module")
def digits() -> Pool:
    return Pool.of(cw.open_data("digits").dataset())


def with_groups(pool: Pool, groups: list[str]) -> Pool:
    """The pool with groups for its training images; its validation images are in no group."""
    return replace(pool, data=replace(pool.data, train=replace(pool.data.train, groups=tuple(groups))))


def test_groups_and_copies_are_in_one_fold(digits):
    count = len(digits.data.train)
    groups = [str(row % 7) if row % 2 else "" for row in range(count)]
    pool = with_groups(digits, groups)
    copies = torch.arange(len(pool))
    copies[100:200:2] = copies[0:100:2]
    pool = replace(pool, images=pool.images.choose(copies))
    found = assign_folds(pool, 3, 0)
    assert (found[pool.roles == 2] == -1).all()
    assert set(found[pool.learnable].tolist()) == {0, 1, 2}
    assert (found[100:200:2] == found[0:100:2]).all()
    for name in set(groups) - {""}:
        assert len({found[row] for row in range(count) if groups[row] == name}) == 1


def test_fewer_groups_than_folds_are_refused(digits):
    groups = [str(row % 2) for row in range(len(digits.data.train))]
    pool = with_groups(digits, groups)
    pool = replace(pool, images=pool.images.choose(torch.arange(len(groups))), roles=pool.roles[: len(groups)])
    with pytest.raises(ArgumentError, match="3 are more than there are groups of images"):
        assign_folds(pool, 3, 0)


def test_a_class_in_one_group_is_not_judged_and_a_note_says_so(digits, tmp_path):
    rows, labels = digits.rows[:500].tolist(), digits.data.train.labels[:500].tolist()
    lines = ["path,label,group"]
    for row, label in zip(rows, labels, strict=True):
        lines.append(f"digits:train/{row},{label},{'one' if label == 4 else ''}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    found = cw.curate(cw.open_data(tmp_path / "list.csv", group_column="group"), features=PIXELS)
    suspects = {each.label for kind in ("label", "unlike") for each in found.of(kind)}
    assert "4" not in suspects
    assert any(f"labels of {labels.count(4)} images were not judged" in note for note in found.notes)


class OnMeta(torch.nn.Module):
    """A network on another device than the images, without a GPU: its result is on the processor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, device="meta"))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.device == self.weight.device
        return torch.zeros(len(images), 10)


def test_images_are_moved_to_the_device_of_the_network(digits):
    assert probabilities_of(OnMeta(), digits, digits.images.choose(torch.arange(5))).shape == (5, 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_results_of_a_network_on_a_gpu_are_in_memory(digits):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10)).cuda()
    assert probabilities_of(module, digits, digits.images.choose(torch.arange(5))).shape == (5, 10)
