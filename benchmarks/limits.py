"""What a network does not know, on Fashion-MNIST: `python benchmarks/limits.py`, about 15 minutes of an idle core.

- Coverage of prediction sets and calibration error: over ten random splits of the test images, 2,000 to fit temperature
  and thresholds on, and the others to measure.
- Unknown images by several scores: the area under the ROC curve (AUROC) of test images against images that are far
  (digits and parts of photographs in scikit-learn) and near (three classes that a second network never saw).
  Scores are fitted on 2,000 training and 1,000 validation images of the networks, and on no others.

`--choose` compares weights of the score's two parts, and features with and without square roots, on other networks and
images than these: six other classes held out, three by each of two networks; drawings; noise. Nothing was chosen on the
images of the first table.

Runs are kept in the folder --out and are not trained again.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import describe
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

import convwright as cw
from convwright.data import Data, Dataset
from convwright.prediction.features import MOST_TRAINING, all_features
from convwright.prediction.network import Predictor, load
from convwright.stats import ood
from convwright.stats.limits import area_under_roc, calibration_error, energy, fit_limits, softmax
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

NETWORK, SIDE = "cifar_seresnet8|fit:28|channels:1", 28
COVERAGES = (0.8, 0.9, 0.95)
SPLITS, FITTED = 10, 2000
HELD_OUT = (7, 8, 9)
"""Sneaker, bag and ankle boot."""
OTHERS_HELD_OUT = ((0, 1, 2), (3, 4, 5))
"""Classes held out by the networks of `--choose`."""
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 1e6)
UNKNOWN = 1000
"""Images of each kind that was not trained on."""
VALIDATION = 1000
"""Validation images that scores are fitted on, as many as `export` uses."""
STAMPS = Path("/usr/share/tuxpaint/stamps")
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Computes scores, N, from features and logits."""


@dataclass(frozen=True)
class Trained:
    """A network with images to fit scores on."""

    predictor: Predictor
    features: np.ndarray
    """Of training images."""
    labels: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    """Features and logits of validation images."""

    def of(self, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return features and logits of images."""
        features, logits = all_features(self.predictor, images)
        assert features is not None
        return features.astype(np.float64), logits.astype(np.float64)


def trained(out: Path, data: Dataset, classes: list[int], epochs: float, images: int) -> Trained:
    """Return a network trained on some of the classes."""
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    rows = rows[torch.isin(data.train.labels[rows], torch.tensor(classes))][:images]
    pixels, labels = data.train.take(rows).numpy(), data.train.labels[rows].numpy()
    names = [data.classes[label] for label in labels]
    held: Data = cw.open_data(images=pixels, labels=names, resolution=SIDE, flip=False)
    if not (out / "summary.json").is_file():
        cw.train(held, network=f"{NETWORK}|classes:{len(classes)}", epochs=epochs, seed=0, out=out)
    opened = open_run_data(Run.of(out), held)
    predictor = load(out)
    found, _ = all_features(predictor, opened.train.take(torch.arange(MOST_TRAINING)))
    features, logits = all_features(predictor, opened.val.take(torch.arange(min(VALIDATION, len(opened.val)))))
    assert found is not None
    assert features is not None
    labels = opened.train.labels[:MOST_TRAINING].numpy()
    return Trained(
        predictor, found.astype(np.float64), labels, (features.astype(np.float64), logits.astype(np.float64))
    )


def digits() -> torch.Tensor:
    """Return the digits of scikit-learn at the resolution of the clothes."""
    found = [Image.fromarray((each * 15.9).astype(np.uint8)) for each in load_digits().images[:UNKNOWN]]
    return torch.stack([torch.from_numpy(np.array(each.resize((SIDE, SIDE))))[None] for each in found])


def photographs() -> torch.Tensor:
    """Return square parts of scikit-learn's photographs, in grey."""
    generator, photos, found = np.random.default_rng(0), load_sample_images().images, []
    for index in range(UNKNOWN):
        photo = photos[index % len(photos)]
        side = int(generator.integers(40, 400))
        top, left = (int(generator.integers(0, most - side)) for most in photo.shape[:2])
        part = Image.fromarray(photo[top : top + side, left : left + side]).convert("L")
        found.append(torch.from_numpy(np.array(part.resize((SIDE, SIDE))))[None])
    return torch.stack(found)


def drawings() -> torch.Tensor:
    """Return Debian's tuxpaint stamps on black, in grey."""
    found = []
    for path in sorted(STAMPS.rglob("*.png"))[:UNKNOWN]:
        image = Image.open(path).convert("RGBA")
        grey = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("L")
        found.append(torch.from_numpy(np.array(grey.resize((SIDE, SIDE))))[None])
    return torch.stack(found)


def noise(side: int) -> torch.Tensor:
    """Return images of random grey values that were `side` pixels wide and are enlarged."""
    generator = np.random.default_rng(1)
    small = (Image.fromarray(generator.integers(0, 256, (side, side), dtype=np.uint8)) for _ in range(UNKNOWN))
    return torch.stack([torch.from_numpy(np.array(each.resize((SIDE, SIDE))))[None] for each in small])


def coverage(logits: np.ndarray, labels: np.ndarray) -> None:
    """Print coverage and size of prediction sets, and calibration errors, over random splits."""
    rows: dict[float, list[tuple[float, float, float]]] = {each: [] for each in COVERAGES}
    errors = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(labels))
        fitting, other = order[:FITTED], order[FITTED:]
        limits = fit_limits(logits[fitting], labels[fitting])
        probabilities = limits.probabilities(logits[other])
        errors.append(
            (calibration_error(softmax(logits[other]), labels[other]), calibration_error(probabilities, labels[other]))
        )
        for each in COVERAGES:
            members = probabilities >= limits.threshold(each)
            inside = members[np.arange(len(other)), labels[other]].mean()
            rows[each].append((inside, members.sum(1).mean(), (members.sum(1) == 0).mean()))
    print("\n| requested | coverage, mean | least | most | classes in a set | empty sets |\n|--:|--:|--:|--:|--:|--:|")
    for each, found in rows.items():
        inside, size, empty = np.array(found).T
        cells = (
            f"{inside.mean():.2%} | {inside.min():.2%} | {inside.max():.2%} | {size.mean():.2f} | {empty.mean():.1%}"
        )
        print(f"| {each:.0%} | {cells} |")
    before, after = np.array(errors).T
    print(f"\ncalibration error: {before.mean():.2%} before, {after.mean():.2%} after (means of {SPLITS} splits)")


def fitted(network: Trained) -> ood.OodModel:
    """Return the score of Convwright for a network."""
    model = ood.fit_ood(network.features, network.labels, network.held[0], energy(network.held[1]))
    assert model is not None
    return model


def mahalanobis(network: Trained, *, relative: bool) -> Score:
    """Return the distance to the nearest class; relative: less the distance to all images (Ren et al. 2021)."""
    features, labels = network.features, network.labels
    means = np.stack([features[labels == label].mean(0) for label in np.unique(labels)])
    centre = features.mean(0)
    inverse = np.linalg.inv(ood.shrunk_covariance(features - means[labels]))
    overall = np.linalg.inv(ood.shrunk_covariance(features - centre))

    def score(rows: np.ndarray, _: np.ndarray) -> np.ndarray:
        apart = rows[:, None] - means
        nearest = np.einsum("nkp,pq,nkq->nk", apart, inverse, apart).min(1)
        off = rows - centre
        return np.asarray(nearest - ((off @ overall) * off).sum(1) if relative else nearest)

    return score


def neighbours(network: Trained, count: int = 10) -> Score:
    """Return the distance to the k-th nearest training image, by normalised features (Sun et al. 2022)."""

    def normalised(rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    known = normalised(network.features)
    return lambda rows, _: -np.partition(normalised(rows) @ known.T, -count, axis=1)[:, -count]


def vim(network: Trained) -> Score:
    """Return virtual-logit matching (Wang et al. 2022): the residual of the principal space, plus the energy."""
    linear = [part for part in network.predictor.module.modules() if isinstance(part, torch.nn.Linear)][-1]
    weight, bias = (tensor.detach().numpy().astype(np.float64) for tensor in (linear.weight, linear.bias))
    origin = -np.linalg.pinv(weight) @ bias
    rows = network.features - origin
    _, vectors = np.linalg.eigh(rows.T @ rows)
    rest = vectors[:, : len(origin) // 2]
    held, logits = network.held
    scale = logits.max(1).mean() / np.linalg.norm((held - origin) @ rest, axis=1).mean()
    return lambda features, logits: scale * np.linalg.norm((features - origin) @ rest, axis=1) + energy(logits)


def scores_of(network: Trained) -> dict[str, Score]:
    """Return all scores that are compared, by name."""
    model = fitted(network)
    return {
        "1 - confidence": lambda _, logits: -softmax(logits).max(1),
        "energy": lambda _, logits: energy(logits),
        "Mahalanobis distance": mahalanobis(network, relative=False),
        "relative Mahalanobis distance": mahalanobis(network, relative=True),
        "10th nearest neighbour": neighbours(network),
        "ViM": vim(network),
        "distance of square roots": lambda features, _: model.distances(features),
        "**energy + distance of square roots**": lambda features, logits: model.scores(features, energy(logits)),
    }


def unknown(cases: list[tuple[str, Trained, torch.Tensor, torch.Tensor]]) -> None:
    """Print the AUROC of each score for each kind of unknown images."""
    rows: dict[str, list[float]] = {}
    for _, network, known, other in cases:
        one, two = network.of(known), network.of(other)
        for name, score in scores_of(network).items():
            rows.setdefault(name, []).append(area_under_roc(score(*one), score(*two)))
    print(f"\n| AUROC | {' | '.join(name for name, *_ in cases)} |\n|---|{'--:|' * len(cases)}")
    for name, found in rows.items():
        print(f"| {name} | {' | '.join(f'{each:.3f}' for each in found)} |")


def choose(out: Path, data: Dataset, epochs: float, images: int) -> None:
    """Print the AUROC of weights of the distance, and of features instead of their square roots."""
    assert data.test is not None
    test, labels = data.test.images, data.test.labels
    far = {"drawings": drawings(), "noise": noise(SIDE), "coarse noise": noise(5)}
    rows: dict[tuple[str, float], list[float]] = {}
    roots, weight = ood._roots, ood.DISTANCE_WEIGHT
    for number, held in enumerate(OTHERS_HELD_OUT):
        network = trained(
            out / f"other{number}", data, [each for each in range(10) if each not in held], epochs, images
        )
        near = torch.isin(labels, torch.tensor(held))
        known, *others = (network.of(each) for each in (test[~near], test[near], *far.values()))
        for kind in ("square roots", "features"):
            ood._roots = roots if kind == "square roots" else np.asarray
            model = fitted(network)
            for ood.DISTANCE_WEIGHT in WEIGHTS:
                one = model.scores(known[0], energy(known[1]))
                found = [area_under_roc(one, model.scores(rows_, energy(logits))) for rows_, logits in others]
                rows.setdefault((kind, ood.DISTANCE_WEIGHT), []).extend(found)
    ood._roots, ood.DISTANCE_WEIGHT = roots, weight
    names = [f"{name}, network {number + 1}" for number in range(2) for name in ("held-out classes", *far)]
    print(f"\n| distance of | weight | {' | '.join(names)} | mean |\n|---|--:|{'--:|' * (len(names) + 1)}")
    for (kind, each), found in rows.items():
        cells = " | ".join(f"{one:.3f}" for one in found)
        print(f"| {kind} | {'distance alone' if each > 1e3 else f'{each:g}'} | {cells} | {np.mean(found):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/limits"))
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--choose", action="store_true", help="compare weights on other networks and images")
    arguments = parser.parse_args()
    print(describe())
    data = cw.open_data("fashion-mnist").dataset(SIDE)
    if arguments.choose:
        choose(arguments.out, data, arguments.epochs, arguments.images)
        return
    assert data.test is not None
    test, labels = data.test.images, data.test.labels
    every = trained(arguments.out / "all", data, list(range(10)), arguments.epochs, arguments.images)
    order = [every.predictor.classes.index(name) for name in data.classes]
    known, truth = every.of(test)[1], np.array(order)[labels.numpy()]
    print(f"{NETWORK}, {arguments.epochs:g} epochs, accuracy on test images {(known.argmax(1) == truth).mean():.2%}")
    coverage(known, truth)
    seen = [label for label in range(10) if label not in HELD_OUT]
    some = trained(arguments.out / "seven", data, seen, arguments.epochs, arguments.images)
    near = torch.isin(labels, torch.tensor(HELD_OUT))
    unknown(
        [
            ("far: digits", every, test, digits()),
            ("far: photographs", every, test, photographs()),
            ("near: three classes held out", some, test[~near], test[near]),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
