import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convwright.data.split import assign_parts, held_out_rows, stratified_split
from convwright.errors import DataError

LABELS = st.lists(st.integers(2, 30), min_size=1, max_size=6).flatmap(
    lambda counts: st.permutations([label for label, n in enumerate(counts) for _ in range(n)])
)


@given(LABELS, st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_each_class_is_in_both_parts_by_its_share(labels: list[int], share: float, seed: int) -> None:
    labels_ = torch.tensor(labels)
    kept, held = stratified_split(labels_, share, seed)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert kept.tolist() == sorted(kept.tolist())
    for label in set(labels):
        total = labels.count(label)
        out = int((labels_[held] == label).sum())
        assert 1 <= out <= total - 1
        assert abs(out - share * total) <= 1


def test_it_depends_on_seed_and_labels_alone() -> None:
    labels = torch.arange(200) % 4
    first = stratified_split(labels, 0.25, 7)[1]
    torch.rand(3)
    assert torch.equal(first, stratified_split(labels, 0.25, 7)[1])
    assert not torch.equal(first, stratified_split(labels, 0.25, 8)[1])


def test_a_lone_sample_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="class 1 has one sample"):
        stratified_split(torch.tensor([0, 0, 1]), 0.5, 0)


GROUPED = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=8, max_size=120)


@given(GROUPED, st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5), (0.2,) * 5, (0.9, 0.1)]), st.integers(0, 2**31))
def test_groups_are_in_one_part(images: list[tuple[int, int]], shares: tuple[float, ...], seed: int) -> None:
    labels = torch.tensor([label for label, _ in images])
    groups = ["" if group == 0 else f"group {group}" for _, group in images]
    parts = assign_parts(labels, shares, seed, "test", groups)
    assert set(parts.tolist()) <= set(range(len(shares)))
    for group in set(groups) - {""}:
        assert len({part for part, own in zip(parts.tolist(), groups, strict=True) if own == group}) == 1
    if len(set(shares)) > 1:
        assert {label for label, part in zip(labels.tolist(), parts.tolist(), strict=True) if part == 0} == set(
            labels.tolist()
        )
    assert torch.equal(parts, assign_parts(labels, shares, seed, "test", groups))


@given(LABELS, st.integers(2, 6), st.integers(0, 2**31))
def test_folds_differ_by_one_image_of_a_class_at_most(labels: list[int], folds: int, seed: int) -> None:
    parts = assign_parts(torch.tensor(labels), [1 / folds] * folds, seed, "folds")
    for label in set(labels):
        counts = [int(((parts == fold) & (torch.tensor(labels) == label)).sum()) for fold in range(folds)]
        assert max(counts) - min(counts) <= 1
    assert max(torch.bincount(parts, minlength=folds)) - min(torch.bincount(parts, minlength=folds)) <= len(set(labels))


@given(st.integers(0, 2**31))
def test_several_labels_are_distributed_by_the_shares(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.rand(400, 6, generator=rng) < torch.tensor([0.5, 0.3, 0.2, 0.1, 0.05, 0.02])
    parts = assign_parts(labels, (0.6, 0.2, 0.2), seed, "test")
    for part, share in enumerate((0.6, 0.2, 0.2)):
        assert abs(int((parts == part).sum()) - 400 * share) <= 12
        expected = labels.sum(0) * share
        assert bool(((labels[parts == part].sum(0) - expected).abs() <= 2 + 0.12 * expected).all())


@pytest.mark.parametrize("several", [False, True])
def test_the_work_is_linear(several: bool) -> None:
    def calls(count: int) -> int:
        labels = torch.arange(count) % 7
        given_labels = torch.nn.functional.one_hot(labels).bool() if several else labels
        groups = [f"{number // 5}" for number in range(count)]
        found = 0

        def counted(frame: object, event: str, argument: object) -> None:
            nonlocal found
            found += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            assign_parts(given_labels, (0.8, 0.2), 0, "test", groups)
        finally:
            sys.setprofile(None)
        return found

    assert calls(4000) <= 4.5 * calls(1000)


def test_a_group_is_held_out_even_where_all_are_large() -> None:
    labels = torch.tensor([0, 1] * 30)
    kept, held = held_out_rows(labels, 0.1, 0, [f"{number // 30}" for number in range(60)])
    assert len(kept) == len(held) == 30
    with pytest.raises(DataError, match="no group can be held out"):
        held_out_rows(labels, 0.1, 0, ["one"] * 60)
