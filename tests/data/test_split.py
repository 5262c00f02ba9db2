import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convwright.data.split import stratified_split

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
