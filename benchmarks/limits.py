"""What a network does not know, on Fashion-MNIST: `python benchmarks/limits.py`, about 10 minutes of an idle core.

- Coverage of prediction sets and calibration error: over ten random splits of the test images, 2,000 to fit temperature
  and thresholds on, and the others to measure.
- Unknown images by the energy of the logits: the area under the ROC curve (AUROC) of test images against images that
  are far (digits and parts of photographs in scikit-learn) and near (three classes that a second network never saw).

Runs are kept in the folder --out and are not trained again.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from machine import describe
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

import convwright as cw
from convwright.data import Dataset
from convwright.prediction.network import Predictor, load
from convwright.stats.limits import area_under_roc, calibration_error, energy, fit_limits, softmax

NETWORK, SIDE = "cifar_seresnet8|fit:28|channels:1", 28
COVERAGES = (0.8, 0.9, 0.95)
SPLITS, FITTED = 10, 2000
HELD_OUT = (7, 8, 9)
"""Sneaker, bag and ankle boot."""
UNKNOWN = 1000
"""Images of each kind that was not trained on."""


def trained(out: Path, data: Dataset, classes: list[int], epochs: float, images: int) -> Predictor:
    """Return a network trained on some of the classes."""
    if not (out / "summary.json").is_file():
        rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
        rows = rows[torch.isin(data.train.labels[rows], torch.tensor(classes))][:images]
        pixels, labels = data.train.take(rows).numpy(), data.train.labels[rows].numpy()
        names = [data.classes[label] for label in labels]
        held = cw.open_data(images=pixels, labels=names, resolution=SIDE, flip=False)
        cw.train(held, network=f"{NETWORK}|classes:{len(classes)}", epochs=epochs, seed=0, out=out)
    return load(out)


def logits_of(predictor: Predictor, images: torch.Tensor) -> np.ndarray:
    return np.concatenate([predictor.logits(batch).numpy() for batch in images.split(500)])


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/limits"))
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    arguments = parser.parse_args()
    print(describe())
    data = cw.open_data("fashion-mnist").dataset(SIDE)
    assert data.test is not None
    test, labels = data.test.images, data.test.labels
    every = trained(arguments.out / "all", data, list(range(10)), arguments.epochs, arguments.images)
    order = [every.classes.index(name) for name in data.classes]
    known, truth = logits_of(every, test), np.array(order)[labels.numpy()]
    print(f"{NETWORK}, {arguments.epochs:g} epochs, accuracy on test images {(known.argmax(1) == truth).mean():.2%}")
    coverage(known, truth)
    seen = [label for label in range(10) if label not in HELD_OUT]
    some = trained(arguments.out / "seven", data, seen, arguments.epochs, arguments.images)
    near = torch.isin(labels, torch.tensor(HELD_OUT))
    print("\n| unknown images | AUROC of the energy | of 1 - confidence |\n|---|--:|--:|")
    for name, one, other in (
        ("far: digits", known, logits_of(every, digits())),
        ("far: photographs", known, logits_of(every, photographs())),
        ("near: three classes held out", logits_of(some, test[~near]), logits_of(some, test[near])),
    ):
        by_energy = area_under_roc(energy(one), energy(other))
        by_confidence = area_under_roc(-softmax(one).max(1), -softmax(other).max(1))
        print(f"| {name} | {by_energy:.3f} | {by_confidence:.3f} |")


if __name__ == "__main__":
    sys.exit(main())
