"""Pretrained weights: classes of photos without training, and a classifier for other classes after a minute.

    python benchmarks/pretrained.py

Photos: the 20 of ImageNet's validation images that the package `foolbox` ships, named by class; and the photographs
of Debian's `tuxpaint-stamps-default`, in folders by subject, of which 30 % are the test images. On these a frozen
EfficientNet-Lite0 with a new classifier is compared with a network trained from scratch, a minute each.
"""

import argparse
import importlib.util
import random
import tempfile
import time
from pathlib import Path

import torch
from machine import describe

import convwright as cw

STAMPS = Path("/usr/share/tuxpaint/stamps")
KINDS = ("animals", "food", "household", "plants", "vehicles")
TEST_SHARE = 0.3
MINUTES = 1.0


def name_photos() -> None:
    """Print how many of 20 photos each pretrained network classifies correctly."""
    found = importlib.util.find_spec("foolbox")
    if found is None or found.origin is None:
        print("foolbox is not installed: pip install foolbox")
        return
    photos = sorted(Path(found.origin).parent.glob("data/imagenet_*.jpg"))
    for index in range(3):
        predictor = cw.load(f"efficientnet_lite{index}", weights="pretrained")
        ranked = predictor.predict(photos, top=5)
        right = [predictor.classes[int(photo.stem.rpartition("_")[2])] for photo in photos]
        first = sum(one.label == label for one, label in zip(ranked, right, strict=True))
        five = sum(label in one.classes for one, label in zip(ranked, right, strict=True))
        print(
            f"efficientnet_lite{index}: {first} of {len(photos)} correct, {five} among the five most likely", flush=True
        )


def stamps(to: Path) -> str:
    """Link the photographs into folders by kind; return the data set's folder."""
    for kind in KINDS:
        photos = sorted((STAMPS / kind).rglob("*.png"))
        random.Random(0).shuffle(photos)
        for index, photo in enumerate(photos):
            part = "test" if index < TEST_SHARE * len(photos) else "train"
            link = to / part / kind / f"{index:03d}.png"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(photo)
    return str(to)


def compare(spec: str, scratch: str, resolutions: dict[str, int]) -> None:
    """Print the test accuracy after a minute, with a frozen pretrained backbone and from scratch."""
    for name, weights in (("efficientnet_lite0", "pretrained"), (scratch, None)):
        options = {"weights": weights, "freeze": True} if weights else {"recipe": "fast"}
        with tempfile.TemporaryDirectory() as folder:
            out, size = str(Path(folder) / "run"), resolutions[name]
            plan = cw.prepare(
                spec, network=name, resolution=size, minutes=MINUTES, cache_gb=0, out=out, progress=False, **options
            )
            start = time.monotonic()
            run = cw.train(plan, progress=False)
            took = time.monotonic() - start
            result = run.evaluate(split="test")
        low, high = result.interval
        start_from = "pretrained and frozen" if weights else "from scratch"
        print(
            f"{Path(spec).name}, images of {size} px, {name} {start_from}: "
            f"{run.config.epochs:g} epochs in {took:.0f} s, {result.accuracy:.2%} ({low:.1%} to {high:.1%}) of "
            f"{result.images:,} test images",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("photos", "stamps"))
    only = parser.parse_args().only
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    if only in (None, "photos"):
        name_photos()
    if only in (None, "stamps"):
        with tempfile.TemporaryDirectory() as folder:
            compare(stamps(Path(folder) / "stamps"), "seresnet18", {"efficientnet_lite0": 224, "seresnet18": 64})


if __name__ == "__main__":
    main()
