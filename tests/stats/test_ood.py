"""Out-of-distribution scores: what their distances are, and that they survive being stored."""

import numpy as np
import pytest

from convwright.stats import ood as module
from convwright.stats.limits import area_under_roc
from convwright.stats.ood import OodModel, features_of_maps, fit_ood, shrunk_covariance


def clusters(count, size, seed, classes=4):
    """Return positive features around one centre for each class, and the classes."""
    centres = np.random.default_rng(0).uniform(1, 4, (classes, size))
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    return (centres[labels] + generator.normal(size=(count, size)) * np.linspace(0.05, 0.2, size)) ** 2, labels


@pytest.fixture(params=[6, 40])
def fitted(request, monkeypatch):
    """A model of all features, and one whose features are more than its components."""
    monkeypatch.setattr(module, "MOST_COMPONENTS", 10)
    features, labels = clusters(600, request.param, 1)
    return fit_ood(features, labels), request.param


def test_other_features_are_further_away(fitted):
    model, size = fitted
    assert model.has_residual is (size == 40)
    known, _ = clusters(200, size, 5)
    strange = np.random.default_rng(6).uniform(1, 4, (200, size)) ** 2
    assert area_under_roc(model.scores(known), model.scores(strange)) > 0.99


def test_distances_are_those_of_mahalanobis():
    features, labels = clusters(500, 5, 1)
    model = fit_ood(features, labels)
    roots = np.sqrt(features)
    means = np.stack([roots[labels == label].mean(0) for label in range(4)])
    inverse = np.linalg.inv(shrunk_covariance(roots - means[labels]))
    rows = np.sqrt(clusters(50, 5, 7)[0])[:, None] - means
    expected = np.sqrt(np.einsum("nkp,pq,nkq->nk", rows, inverse, rows).min(1))
    assert model.scores(clusters(50, 5, 7)[0]) == pytest.approx(expected, rel=1e-3)


def test_covariance_is_shrunk_where_there_are_few_rows():
    rows = np.random.default_rng(0).normal(size=(8, 30))
    assert np.linalg.eigvalsh(shrunk_covariance(rows - rows.mean(0)))[0] > 0.1
    many = np.random.default_rng(0).normal(size=(50_000, 4)) * [1, 2, 3, 4]
    assert shrunk_covariance(many) == pytest.approx(many.T @ many / len(many), abs=0.05)


def test_there_is_no_score_where_nothing_can_be_learnt():
    features, labels = clusters(500, 5, 1)
    assert fit_ood(features[:19], labels[:19]) is None
    assert fit_ood(np.ones((100, 5)), np.zeros(100, int)) is None


def test_arrays_come_back(fitted):
    model, size = fitted
    arrays = model.to_arrays()
    known, _ = clusters(20, size, 5)
    assert np.array_equal(OodModel.from_arrays(arrays).scores(known), model.scores(known))
    wrong = [
        {name: array for name, array in arrays.items() if name != "means"},
        arrays | {"centre": arrays["centre"][:-1]},
        arrays | {"means": arrays["means"][:, :-1]},
        arrays | {"centre": arrays["centre"].astype(np.float64)},
    ]
    for damaged in wrong:
        with pytest.raises(ValueError, match="arrays of an out-of-distribution score"):
            OodModel.from_arrays(damaged)


def test_features_are_mean_and_deviation_of_each_map():
    maps = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    features = features_of_maps(maps)
    assert features[2, 1] == pytest.approx(maps[2, 1].mean())
    assert features[2, 4 + 1] == pytest.approx(maps[2, 1].std())
