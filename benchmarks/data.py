"""What reading images costs: `python benchmarks/data.py`.

A folder of JPEG photographs, against torchvision's ImageFolder with the same output (float batches, resized, cropped
and normalised); and the input pipeline's share of a training step on Fashion-MNIST.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import describe
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import convwright as cw
from convwright.data import Augmentation, Batches, Dataset, evaluation_batches, open_dataset
from convwright.training.config import Recipe, TrainConfig
from convwright.training.step import Learner

BATCH = 128
SIDE = 224
PHOTO = (500, 375)
NETWORK = "cifar_seresnet14"
PIPELINES = {
    "none": Augmentation(),
    "crop, flip": Augmentation(crop=3, flip=True),
    "crop, flip, erasing, mixup + CutMix": Augmentation(crop=3, flip=True, erasing=0.25, mixup=0.2, cutmix=1),
    "crop, flip, RandAugment": Augmentation(crop=3, flip=True, randaugment=9),
}


def write_photos(root: Path, count: int) -> None:
    """Cut JPEG files of ImageNet's usual size out of scikit-learn's two photographs."""
    draws = np.random.default_rng(0)
    for label, picture in enumerate(map(Image.fromarray, load_sample_images().images)):
        (root / f"class{label}").mkdir(parents=True)
        for i in range(count // 2):
            left, top = (int(draws.integers(1 + have - want)) for have, want in zip(picture.size, PHOTO, strict=True))
            cut = picture.crop((left, top, left + PHOTO[0], top + PHOTO[1]))
            cut.save(root / f"class{label}" / f"{i}.jpg", quality=90)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def drain(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def theirs(root: Path, data: Dataset, workers: int) -> DataLoader:
    """ImageFolder's batches of the images that a data set holds."""
    transforms = v2.Compose(
        [
            v2.Resize(SIDE, v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(SIDE),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(data.mean, data.std),
        ]
    )
    return DataLoader(ImageFolder(str(root), transforms), BATCH, num_workers=workers)


def folder(count: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "photos"
        write_photos(root, count)
        first = seconds(lambda: open_dataset(str(root), resolution=SIDE))
        opening = [seconds(lambda: open_dataset(str(root), resolution=SIDE)) for _ in range(runs)]
        data = open_dataset(str(root), resolution=SIDE)
        images = len(data.train) + len(data.val)

        def ours() -> None:
            for split in (data.train, data.val):
                drain(evaluation_batches(split, data, BATCH))

        peers = {workers: theirs(root, data, workers) for workers in (0, 2)}
        works = [ours, *(partial(drain, loader) for loader in peers.values())]
        # In turns, so that what else the machine does meets all alike.
        rounds = [[seconds(work) for work in works] for _ in range(runs)]
        epochs = [statistics.median(times) for times in zip(*rounds, strict=True)]
        width, height = PHOTO
        print(f"\n{images} JPEG photographs of {width} x {height} to float batches of {BATCH} x 3 x {SIDE} x {SIDE}")
        print(f"{'first opening: decoding all into the cache':52} {images / first:8,.0f} images/s")
        print(f"{'second opening: finding them there':52} {1000 * statistics.median(opening):8,.0f} ms")
        names = ["an epoch from the cache", *(f"an epoch of ImageFolder, {workers} workers" for workers in peers)]
        for name, taken in zip(names, epochs, strict=True):
            print(f"{name:52} {images / taken:8,.0f} images/s {taken / epochs[0]:8.1f} times as long")
        again = statistics.median(opening) + epochs[0]
        print(f"{'second opening and an epoch, against 0 workers':52} {epochs[1] / again:8.1f} times as fast")


def pipeline(steps: int) -> None:
    data = open_dataset("fashion-mnist")
    chosen = cw.at(cw.fit_resolution(cw.network(NETWORK), 28), channels=1, classes=10)
    config = TrainConfig(data=data.name, network=NETWORK, resolution=28, recipe=Recipe(learning_rate=0.01))
    print(f"\nFashion-MNIST, {NETWORK}, batch {BATCH}: milliseconds, medians of {steps} steps")
    print(f"{'augmentation':38} {'batch':>8} {'step':>8} {'share':>8} {'stalled':>8}")
    for name, augmentation in PIPELINES.items():
        learner = Learner(config, chosen)
        batches = Batches(data.train, data, BATCH, 0, augmentation)
        making = [seconds(partial(batches.at, step)) for step in range(3 + steps)]
        learning, waiting = [], []
        made = batches.iterate(0, 3 + steps, workers=1)
        for step in range(3 + steps):
            requested = time.perf_counter()
            images, labels = next(made)
            got = time.perf_counter()
            learner.train_step(images, labels, step, 10**6)
            waiting.append(got - requested)
            learning.append(time.perf_counter() - got)
        batch, step_time, wait = (1000 * statistics.median(times[3:]) for times in (making, learning, waiting))
        print(
            f"{name:38} {batch:8.1f} {step_time:8.1f} {batch / step_time:8.1%} {wait / (wait + step_time):8.2%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="photographs to write and read")
    parser.add_argument("--runs", type=int, default=5, help="epochs timed")
    parser.add_argument("--steps", type=int, default=30, help="training steps timed")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads")
    folder(options.images, options.runs)
    pipeline(options.steps)


if __name__ == "__main__":
    main()
