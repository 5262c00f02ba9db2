"""What weights that are trained already give: names for photos at once, and a classifier for one's own in a minute.

    python benchmarks/pretrained.py

Photos: the 20 of ImageNet's validation images that the package `foolbox` ships, named by class; and the photographs
of Debian's `tuxpaint-stamps-default`, in folders by what they show, of which 30 % are the test images. On these a
frozen EfficientNet-Lite0 with a new classifier is set beside a network from scratch, a minute each.
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
from convwright.data import open_dataset
from convwright.evaluation.assessment import assess
from convwright.prediction.network import load
from convwright.prediction.pretrained import pretrained
from convwright.training.epochs import epochs_in_minutes
from convwright.training.initial_weights import find_initial_weights
from convwright.training.loop import train
from convwright.training.plan import plan

STAMPS = Path("/usr/share/tuxpaint/stamps")
KINDS = ("animals", "food", "household", "plants", "vehicles")
TEST_SHARE = 0.3
MINUTES = 1.0


def name_photos() -> None:
    """Print how many of 20 photos each pretrained network names."""
    found = importlib.util.find_spec("foolbox")
    if found is None or found.origin is None:
        print("foolbox is not installed: pip install foolbox")
        return
    photos = sorted(Path(found.origin).parent.glob("data/imagenet_*.jpg"))
    for index in range(3):
        predictor = pretrained(cw.network(f"efficientnet_lite{index}"))
        ranked = predictor.predict(photos, top=5)
        right = [predictor.classes[int(photo.stem.rpartition("_")[2])] for photo in photos]
        first = sum(answer.classes[0] == label for answer, label in zip(ranked, right, strict=True))
        five = sum(label in answer.classes for answer, label in zip(ranked, right, strict=True))
        print(
            f"efficientnet_lite{index}: {first} of {len(photos)} named first, {five} among the first five", flush=True
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
    """Print what a minute gives with a frozen pretrained backbone, and from scratch."""
    for name, weights in (("efficientnet_lite0", "pretrained"), (scratch, None)):
        initial = find_initial_weights(weights, cw.network(name)) if weights else None
        data = open_dataset(spec, resolution=resolutions[name], cache_gb=0)
        data = initial.normalised(data) if initial else data
        recipe = {"freeze": True} if initial else {}
        config, network = plan(data, cw.network(name), name=None if initial else "fast", recipe=recipe, weights=weights)
        config = config.model_copy(update={"epochs": epochs_in_minutes(MINUTES, config, network, data, most=100)})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            began = time.monotonic()
            train(config, network, data, path, initial=initial)
            took = time.monotonic() - began
            if data.test is None:
                raise SystemExit(f"{spec} has no test images")
            result = assess(load(path), data, [data.test])
        low, high = result.interval
        print(
            f"{Path(spec).name}, {len(data.train):,} images of {data.resolution} px, {name}"
            f"{' pretrained and frozen' if initial else ' from scratch'}: {config.epochs:g} epochs in {took:.0f} s, "
            f"{result.accuracy:.2%} ({low:.1%} to {high:.1%}) of {len(data.test):,} test images",
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
