import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.curation import crossfit, neighbours
from convwright.curation.neighbours import nearest, reduced
from convwright.errors import ConvwrightWarning
from convwright.training.backbone import Backbone


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_blocks_give_the_neighbours_of_the_whole_matrix(count, wanted, block, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", block)
        found = nearest(vectors, wanted)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    kept = min(wanted, count - 1)
    assert found.positions.shape == (count, kept)
    np.testing.assert_allclose(found.similarities, -np.sort(-similar, 1)[:, :kept], atol=1e-5)
    rows = np.arange(count)[:, None]
    assert (found.positions != rows).all()
    np.testing.assert_allclose(similar[rows, found.positions], found.similarities, atol=1e-5)


def test_directions_keep_what_distinguishes_images():
    random = np.random.default_rng(0)
    groups = random.normal(size=(20, 300))
    features = np.repeat(groups, 5, 0) + 0.01 * random.normal(size=(100, 300))
    found = nearest(reduced(features.astype(np.float32)), 4)
    assert (found.positions // 5 == np.arange(100)[:, None] // 5).all()


@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 99))
def test_the_neighbours_of_some_rows_are_those_among_all(count, wanted, seed):
    random = np.random.default_rng(seed)
    vectors = reduced(random.normal(size=(count, 5)))
    rows = random.permutation(count)[: count // 2]
    whole, some = nearest(vectors, wanted), nearest(vectors, wanted, rows=rows)
    np.testing.assert_array_equal(some.positions, whole.positions[rows])
    np.testing.assert_allclose(some.similarities, whole.similarities[rows], atol=1e-6)


def test_an_approximate_search_finds_copies_and_most_neighbours(monkeypatch):
    random = np.random.default_rng(0)
    groups = random.normal(size=(100, 20))
    features = np.repeat(groups, 20, 0) + 0.5 * random.normal(size=(2000, 20))
    features[1000:1010] = features[:10]
    vectors = reduced(features)
    exact = nearest(vectors, 5)
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 10**5)
    monkeypatch.setattr(neighbours, "PART", 200)
    found = nearest(vectors, 5)
    assert exact.exact
    assert not found.exact
    assert (found.positions != np.arange(2000)[:, None]).all()
    assert all(len(set(row)) == 5 for row in found.positions.tolist())
    true = (vectors[:, None] * vectors[found.positions]).sum(2)
    np.testing.assert_allclose(found.similarities, true, atol=1e-5)
    assert (found.positions[:10, 0] == np.arange(1000, 1010)).all()
    shared = [len(set(one) & set(other)) for one, other in zip(found.positions, exact.positions, strict=True)]
    assert np.mean(shared) > 0.75 * 5


def test_a_long_comparison_is_announced_with_its_duration(monkeypatch):
    vectors = reduced(np.random.default_rng(0).normal(size=(50, 5)))
    monkeypatch.setattr(neighbours, "LONG", 0)
    with pytest.warns(ConvwrightWarning, match="comparing 50 images with each other takes about 0 minutes"):
        nearest(vectors, 3)


def test_principal_directions_bound_the_memory_of_features(pool_of, monkeypatch):
    import torch

    pixels = np.random.default_rng(0).integers(0, 256, (200, 1, 10, 10), dtype=np.uint8)
    pool, flat = pool_of(pixels), Backbone(torch.nn.Identity(), torch.nn.Flatten())
    whole = crossfit.features_of(flat, pool)
    monkeypatch.setattr(crossfit, "MOST_VALUES", 200 * 70)
    monkeypatch.setattr(crossfit, "SAMPLE", 200)
    fewer = crossfit.features_of(flat, pool)
    assert whole.shape == (200, 100)
    assert fewer.shape == (200, 70)
    assert np.var(fewer, axis=0).sum() > 0.7 * np.var(whole, axis=0).sum()
