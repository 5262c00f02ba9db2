"""Out-of-distribution scores: what their distances are, how they are combined, and that they survive being stored."""

from dataclasses import replace

import numpy as np
import pytest

from convwright.stats import ood as module
from convwright.stats.limits import area_under_roc, energy
from convwright.stats.ood import RULES, OodModel, features_of_maps, fit_ood, shrunk_covariance
from convwright.stats.ood_selection import FAR, NEAR, Seen, choose_rule, rule_ratings


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
    assert area_under_roc(model.distances(known), model.distances(strange)) > 0.99


def test_distances_are_those_of_mahalanobis():
    features, labels = clusters(500, 5, 1)
    model = fit_ood(features, labels)
    roots = np.sqrt(features)
    means = np.stack([roots[labels == label].mean(0) for label in range(4)])
    inverse = np.linalg.inv(shrunk_covariance(roots - means[labels]))
    rows = np.sqrt(clusters(50, 5, 7)[0])[:, None] - means
    expected = np.sqrt(np.einsum("nkp,pq,nkq->nk", rows, inverse, rows).min(1))
    assert model.distances(clusters(50, 5, 7)[0]) == pytest.approx(expected, rel=1e-3)


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
    assert np.array_equal(OodModel.from_arrays(arrays).distances(known), model.distances(known))
    wrong = [
        {name: array for name, array in arrays.items() if name != "means"},
        arrays | {"centre": arrays["centre"][:-1]},
        arrays | {"means": arrays["means"][:, :-1]},
        arrays | {"centre": arrays["centre"].astype(np.float64)},
        arrays | {"combination": np.array([1, 0, 1, 0], np.float32)},
        arrays | {"combination": np.array([4, 0, 1, 0, 1], np.float32)},
        arrays | {"combination": np.array([1, 0, 0, 0, 1], np.float32)},
        arrays | {"combination": np.array([1, np.nan, 1, 0, 1], np.float32)},
    ]
    for damaged in wrong:
        with pytest.raises(ValueError, match="arrays of an out-of-distribution score"):
            OodModel.from_arrays(damaged)


def test_features_are_mean_and_deviation_of_each_map():
    maps = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    features = features_of_maps(maps)
    assert features[2, 1] == pytest.approx(maps[2, 1].mean())
    assert features[2, 4 + 1] == pytest.approx(maps[2, 1].std())


@pytest.mark.parametrize("rule", RULES)
def test_a_combination_is_of_normalised_distance_and_energy(fitted, rule):
    model, size = fitted
    features, _ = clusters(50, size, 3)
    logits = np.random.default_rng(4).normal(size=(50, 4))
    assert model.rule == "distance"
    assert np.array_equal(model.scores(features, logits), model.distances(features))
    numbers = np.array([RULES.index(rule), 2, 4, -1, 0.5], np.float32)
    both = replace(model, combination=numbers)
    distances, energies = (model.distances(features) - 2) / 4, (energy(logits) + 1) / 0.5
    expected = {
        "distance": distances,
        "larger": np.maximum(distances, energies),
        "sum": distances + energies,
        "energy": energies,
    }
    assert both.rule == rule
    assert both.scores(features, logits) == pytest.approx(expected[rule])
    again = OodModel.from_arrays(both.to_arrays())
    assert np.array_equal(again.scores(features, logits), both.scores(features, logits))


def seen(count, seed, *, strange_features=False, strange_logits=False):
    """Return features and logits of images; strange ones are unlike those of the known images."""
    features, labels = clusters(count, 6, seed)
    generator = np.random.default_rng(seed)
    logits = 10.0 * np.eye(4)[labels] + generator.normal(size=(count, 4))
    if strange_features:
        features = generator.uniform(1, 4, features.shape) ** 2
    if strange_logits:
        logits = generator.normal(size=(count, 4))
    return Seen(features, logits, labels)


@pytest.mark.parametrize(
    ("features", "logits", "best"),
    [(True, False, ("distance",)), (False, True, ("energy",)), (True, True, RULES)],
    ids=["features", "logits", "both"],
)
def test_what_recognises_unknown_images_is_chosen(features, logits, best):
    training, held = seen(400, 1), seen(200, 2)
    model = fit_ood(training.features, training.labels)
    outliers = {
        kind: seen(100, 10 + number, strange_features=features, strange_logits=logits)
        for number, kind in enumerate((*NEAR, *FAR))
    }
    ratings = rule_ratings(model, training, held, outliers)
    assert all(ratings[rule] > 0.9 for rule in best)
    chosen = choose_rule(model, training, held, outliers)
    assert ratings[chosen.rule] == max(ratings.values())
    assert choose_rule(model, training, held, outliers).to_arrays().keys() == chosen.to_arrays().keys()
    scores = [chosen.scores(images.features, images.logits) for images in (held, outliers["noise"])]
    assert area_under_roc(*scores) > 0.9
    if chosen.rule != "distance":  # the share of held-out images below 1 is that of known images
        assert np.mean((energy(held.logits) - chosen.combination[3]) / chosen.combination[4] <= 1) == pytest.approx(
            0.95, abs=0.01
        )


@pytest.mark.parametrize(("rule", "shift", "confidence"), [("distance", 3, 14), ("sum", 1.4, 8.5), ("energy", 0, 7)])
def test_the_rule_that_recognises_most_is_chosen(rule, shift, confidence):
    """Unknown images with features further away, with lower logits, or with a little of both."""

    def images(count, seed, spread, logit):
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, 4, count)
        features = (np.eye(6)[labels] + 2 + spread * generator.normal(size=(count, 6))) ** 2
        return Seen(features, logit * np.eye(4)[labels] + generator.normal(size=(count, 4)), labels)

    training, held = images(400, 1, 0.1, 10), images(200, 2, 0.1, 10)
    model = fit_ood(training.features, training.labels)
    outliers = {kind: images(100, 10 + at, 0.1 * shift, confidence) for at, kind in enumerate((*NEAR, *FAR))}
    ratings = rule_ratings(model, training, held, outliers)
    assert ratings[rule] > max(found for other, found in ratings.items() if other != rule)
    assert choose_rule(model, training, held, outliers).rule == rule


def test_without_stand_ins_the_score_is_the_distance():
    training, held = seen(400, 1), seen(3, 2)  # too few images of any class
    model = fit_ood(training.features, training.labels)
    assert choose_rule(model, training, held, {}) is model
