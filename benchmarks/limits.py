"""What a network does not know, on Fashion-MNIST: `python benchmarks/limits.py`, about 25 minutes of an idle core.

- Coverage of prediction sets and calibration error: over ten random splits of the test images, 2,000 to fit temperature
  and thresholds on, and the others to measure.
- Unknown images by several scores: the area under the ROC curve (AUROC) of test images against images that are near
  (two classes that a network never saw; five networks, so that each of the ten classes is held out once) and far
  (digits and parts of photographs in scikit-learn, drawings, and emoji where `--emoji` names a folder of pictures).
  Scores are fitted on 2,000 training and 1,000 validation images of the networks, and on no others; Convwright's own is
  also chosen on these, by altered images and left-out classes (`convwright.stats.ood_selection`).

Runs are kept in the folder --out and are not trained again. `--only unknown` leaves out the first part.
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
from convwright.data import Data, Dataset, Split
from convwright.prediction.features import MOST_TRAINING, all_features, fitted_ood
from convwright.prediction.network import Predictor, load
from convwright.stats import ood
from convwright.stats.limits import area_under_roc, calibration_error, energy, fit_limits, softmax
from convwright.stats.ood_selection import Seen, with_rule
from convwright.training.run import Run
from convwright.training.run_data import open_run_data

NETWORK, SIDE = "cifar_seresnet8|fit:28|channels:1", 28
COVERAGES = (0.8, 0.9, 0.95)
SPLITS, FITTED = 10, 2000
HELD_OUT = np.random.default_rng(0).permutation(10).reshape(5, 2)
"""Pairs of classes that the five networks never see, drawn at random."""
AIMS = {"near": 0.85, "far": 0.95}
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
    known: Dataset
    """Training and validation images."""


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
    return Trained(predictor, training, opened.train.labels[:MOST_TRAINING].numpy(), validation, opened)


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
    return torch.stack([drawing(path) for path in sorted(STAMPS.rglob("*.png"))[:UNKNOWN]])


def drawing(path: Path) -> torch.Tensor:
    """Return a picture on black, in grey."""
    image = Image.open(path).convert("RGBA")
    grey = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("L")
    return torch.from_numpy(np.array(grey.resize((SIDE, SIDE))))[None]


def emoji(folder: Path) -> torch.Tensor:
    """Return some pictures of a folder on black, in grey."""
    paths = sorted(folder.rglob("*.png"))
    rows = np.random.default_rng(0).permutation(len(paths))[:UNKNOWN]
    return torch.stack([drawing(paths[row]) for row in rows])


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
    chosen = chosen_model(network)

    held = Seen(network.held.features, network.held.logits)
    larger, total = (with_rule(model, rule, held) for rule in ("larger", "sum"))

    return {
        "1 - confidence": lambda images: -softmax(images.logits).max(1),
        "largest logit": lambda images: -images.logits.max(1),
        "energy": lambda images: energy(images.logits),
        "Mahalanobis distance": mahalanobis(network, relative=False),
        "relative Mahalanobis distance": mahalanobis(network, relative=True),
        "10th nearest neighbour": neighbours(network),
        "ViM": vim(network),
        "Mahalanobis distance of square roots": lambda images: pooled_model.distances(images.pooled),
        "... with deviations of the maps": lambda images: model.distances(images.features),
        "... or energy, the larger": lambda images: larger.scores(images.features, images.logits),
        "... plus energy": lambda images: total.scores(images.features, images.logits),
        "**chosen for each network**": lambda images: chosen.scores(images.features, images.logits),
    }


def chosen_model(network: Trained) -> ood.OodModel:
    """Return the score that `export` gives a network."""
    training, held = network.known.train, network.known.val
    rows = torch.arange(min(VALIDATION, len(held)))
    labels = held.labels[rows].numpy()
    seen = Seen(network.held.features, network.held.logits, labels)
    found = fitted_ood(
        network.predictor, training.take(torch.arange(len(network.labels))), network.labels, held.take(rows), seen
    )
    assert found is not None
    return found


def unknown(networks: dict[str, Trained], test: Split, far: dict[str, torch.Tensor]) -> None:
    """Print the AUROC of each score for each kind of unknown images: the mean, the least and the most over networks."""
    rows: dict[str, dict[str, list[float]]] = {}
    for (name, network), pair in zip(networks.items(), HELD_OUT, strict=True):
        near = torch.isin(test.labels, torch.tensor(pair))
        known, kinds = found_in(network.predictor, test.images[~near]), {f"near: {name}": test.images[near]} | far
        scores = scores_of(network)
        for kind, images in kinds.items():
            found = found_in(network.predictor, images)
            for title, score in scores.items():
                rows.setdefault(title, {}).setdefault(kind, []).append(area_under_roc(score(known), score(found)))
        print(f"{name} held out: the score chosen is {chosen_model(network).rule}")
    kinds = [kind for kind in next(iter(rows.values())) if kind.startswith("near")]
    print(f"\n| AUROC | {' | '.join(kind.removeprefix('near: ') for kind in kinds)} |\n|---|{'--:|' * len(kinds)}")
    for title, found in rows.items():
        print(f"| {title} | {' | '.join(f'{found[kind][0]:.3f}' for kind in kinds)} |")
    print(f"\n| AUROC, mean (least to most) | near | {' | '.join(far)} |\n|---|{'--:|' * (1 + len(far))}")
    print(f"| aim | {AIMS['near']} | {' | '.join(str(AIMS['far']) for _ in far)} |")
    for title, found in rows.items():
        groups = [[found[kind][0] for kind in kinds], *(found[kind] for kind in far)]
        print(f"| {title} | {' | '.join(f'{np.mean(g):.3f} ({min(g):.3f} to {max(g):.3f})' for g in groups)} |")


def certainty(out: Path, data: Dataset, epochs: float, images: int) -> None:
    """Print coverage and calibration of a network of all classes."""
    assert data.test is not None
    test, labels = data.test.images, data.test.labels
    every = trained(out / "all", data, list(range(10)), epochs, images)
    order = [every.predictor.classes.index(name) for name in data.classes]
    known, truth = found_in(every.predictor, test).logits, np.array(order)[labels.numpy()]
    print(f"{NETWORK}, {epochs:g} epochs, accuracy on test images {(known.argmax(1) == truth).mean():.2%}")
    coverage(known, truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/limits"))
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--emoji", type=Path, help="folder with pictures that are unknown images too")
    parser.add_argument("--only", choices=("certainty", "unknown"))
    arguments = parser.parse_args()
    print(describe())
    data = cw.open_data("fashion-mnist").dataset(SIDE)
    if arguments.only != "unknown":
        certainty(arguments.out, data, arguments.epochs, arguments.images)
    if arguments.only == "certainty":
        return
    networks = {}
    for number, pair in enumerate(HELD_OUT, 1):
        seen = [label for label in range(10) if label not in pair]
        name = " and ".join(data.classes[label] for label in sorted(pair))
        networks[name] = trained(arguments.out / f"pair{number}", data, seen, arguments.epochs, arguments.images)
    far = {"far: digits": digits(), "far: photographs": photographs(), "far: drawings": drawings()}
    if arguments.emoji:
        far["far: emoji"] = emoji(arguments.emoji)
    assert data.test is not None
    unknown(networks, data.test, far)


if __name__ == "__main__":
    sys.exit(main())
