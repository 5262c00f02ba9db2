"""What a network does not know, on Fashion-MNIST: `python benchmarks/limits.py`, about 15 minutes of an idle core.

- Coverage of prediction sets and calibration error: over ten random splits of the test images, 2,000 to fit temperature
  and thresholds on, and the others to measure.
- Unknown images by several scores: the area under the ROC curve (AUROC) of test images against images that are far
  (digits and parts of photographs in scikit-learn) and near (three classes that a second network never saw).
  Scores are fitted on 2,000 training and 1,000 validation images of the networks, and on no others.

`--others` repeats the second table with other networks and images: six other classes held out, three by each of two
networks; drawings; noise.

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
"""Classes held out by the networks of `--others`."""
UNKNOWN = 1000
"""Images of each kind that was not trained on."""
VALIDATION = 1000
"""Validation images that scores are fitted on, as many as `export` uses."""
STAMPS = Path("/usr/share/tuxpaint/stamps")


@dataclass(frozen=True)
class Found:
    """What scores are computed from, for some images."""

    pooled: np.ndarray
    """What the last linear layer reads, N x C."""
    features: np.ndarray
    """Mean and standard deviation of the last feature maps, N x 2C."""
    logits: np.ndarray


Score = Callable[[Found], np.ndarray]
"""Computes scores, N."""


@dataclass(frozen=True)
class Trained:
    """A network with images to fit scores on."""

    predictor: Predictor
    fitted_on: Found
    """Training images."""
    labels: np.ndarray
    """Classes of the training images."""
    held: Found
    """Validation images."""


def found_in(predictor: Predictor, images: torch.Tensor) -> Found:
    """Run a network over images."""
    features, logits = all_features(predictor, images)
    assert features is not None
    features = features.astype(np.float64)
    return Found(features[:, : features.shape[1] // 2], features, logits.astype(np.float64))


def trained(out: Path, data: Dataset, classes: list[int], epochs: float, images: int) -> Trained:
    """Return a network trained on some of the classes."""
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    rows = rows[torch.isin(data.train.labels[rows], torch.tensor(classes))][:images]
    pixels, labels = data.train.take(rows).numpy(), data.train.labels[rows].numpy()
    names = [data.classes[label] for label in labels]
    held: Data = cw.open_data(images=pixels, labels=names, resolution=SIDE, flip=False)
    if not (out / "summary.json").is_file():
        cw.train(held, network=f"{NETWORK}|classes:{len(classes)}", epochs=epochs, seed=0, out=out)
    opened, predictor = open_run_data(Run.of(out), held), load(out)
    training, validation = (
        found_in(predictor, split.take(torch.arange(min(most, len(split)))))
        for split, most in ((opened.train, MOST_TRAINING), (opened.val, VALIDATION))
    )
    return Trained(predictor, training, opened.train.labels[:MOST_TRAINING].numpy(), validation)


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


def mahalanobis(network: Trained, *, relative: bool) -> Score:
    """Return the distance to the nearest class; relative: less the distance to all images (Ren et al. 2021)."""
    features, labels = network.fitted_on.pooled, network.labels
    means = np.stack([features[labels == label].mean(0) for label in range(labels.max() + 1)])
    centre = features.mean(0)
    inverse = np.linalg.inv(ood.shrunk_covariance(features - means[labels]))
    overall = np.linalg.inv(ood.shrunk_covariance(features - centre))

    def score(images: Found) -> np.ndarray:
        apart = images.pooled[:, None] - means
        nearest = np.einsum("nkp,pq,nkq->nk", apart, inverse, apart, optimize=True).min(1)
        off = images.pooled - centre
        return np.asarray(nearest - ((off @ overall) * off).sum(1) if relative else nearest)

    return score


def neighbours(network: Trained, count: int = 10) -> Score:
    """Return the distance to the k-th nearest training image, by normalised features (Sun et al. 2022)."""

    def normalised(rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    known = normalised(network.fitted_on.pooled)
    return lambda images: -np.partition(normalised(images.pooled) @ known.T, -count, axis=1)[:, -count]


def vim(network: Trained) -> Score:
    """Return virtual-logit matching (Wang et al. 2022): the residual of the principal space, plus the energy."""
    linear = [part for part in network.predictor.module.modules() if isinstance(part, torch.nn.Linear)][-1]
    weight, bias = (tensor.detach().numpy().astype(np.float64) for tensor in (linear.weight, linear.bias))
    origin = -np.linalg.pinv(weight) @ bias
    rows = network.fitted_on.pooled - origin
    _, vectors = np.linalg.eigh(rows.T @ rows)
    rest = vectors[:, : len(origin) // 2]
    held = network.held
    scale = held.logits.max(1).mean() / np.linalg.norm((held.pooled - origin) @ rest, axis=1).mean()
    return lambda images: scale * np.linalg.norm((images.pooled - origin) @ rest, axis=1) + energy(images.logits)


def scores_of(network: Trained) -> dict[str, Score]:
    """Return all scores that are compared, by name; the last one is Convwright's."""
    model, pooled_model = (
        ood.fit_ood(rows, network.labels) for rows in (network.fitted_on.features, network.fitted_on.pooled)
    )
    assert model is not None
    assert pooled_model is not None

    def standardised(score: Score) -> Score:
        values = score(network.held)
        return lambda images: (score(images) - values.mean()) / values.std()

    by_energy, distance = (
        standardised(score)
        for score in (lambda images: energy(images.logits), lambda images: model.scores(images.features))
    )
    return {
        "1 - confidence": lambda images: -softmax(images.logits).max(1),
        "energy": by_energy,
        "Mahalanobis distance": mahalanobis(network, relative=False),
        "relative Mahalanobis distance": mahalanobis(network, relative=True),
        "10th nearest neighbour": neighbours(network),
        "ViM": vim(network),
        "Mahalanobis distance of square roots": lambda images: pooled_model.scores(images.pooled),
        "**... with deviations of the maps**": distance,
        "... plus energy": lambda images: by_energy(images) + distance(images),
        "... or energy, the larger": lambda images: np.maximum(by_energy(images), distance(images)),
    }


def unknown(cases: list[tuple[str, Trained, torch.Tensor, torch.Tensor]]) -> None:
    """Print the AUROC of each score for each kind of unknown images."""
    rows: dict[str, list[float]] = {}
    for _, network, known, other in cases:
        one, two = (found_in(network.predictor, images) for images in (known, other))
        for name, score in scores_of(network).items():
            rows.setdefault(name, []).append(area_under_roc(score(one), score(two)))
    print(f"\n| AUROC | {' | '.join(name for name, *_ in cases)} |\n|---|{'--:|' * len(cases)}")
    for name, found in rows.items():
        print(f"| {name} | {' | '.join(f'{each:.3f}' for each in found)} |")


def others(out: Path, data: Dataset, epochs: float, images: int) -> None:
    """Print the AUROC of each score with other networks and images."""
    assert data.test is not None
    test, labels = data.test.images, data.test.labels
    cases = []
    for number, held in enumerate(OTHERS_HELD_OUT, 1):
        seen = [each for each in range(10) if each not in held]
        network = trained(out / f"other{number}", data, seen, epochs, images)
        near = torch.isin(labels, torch.tensor(held))
        cases += [
            (f"{name} ({number})", network, test[~near], found)
            for name, found in (
                ("near: held out", test[near]),
                ("far: drawings", drawings()),
                ("far: noise", noise(SIDE)),
                ("far: coarse noise", noise(5)),
            )
        ]
    unknown(cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/limits"))
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--others", action="store_true", help="other networks and images")
    arguments = parser.parse_args()
    print(describe())
    data = cw.open_data("fashion-mnist").dataset(SIDE)
    if arguments.others:
        others(arguments.out, data, arguments.epochs, arguments.images)
        return
    assert data.test is not None
    test, labels = data.test.images, data.test.labels
    every = trained(arguments.out / "all", data, list(range(10)), arguments.epochs, arguments.images)
    order = [every.predictor.classes.index(name) for name in data.classes]
    known, truth = found_in(every.predictor, test).logits, np.array(order)[labels.numpy()]
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
