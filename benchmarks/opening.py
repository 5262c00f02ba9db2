"""What opening a data set of ImageNet's size costs: `python benchmarks/opening.py`.

A folder of 1,281,167 hard links to a few small JPEG files, in 1,000 classes. The first opening reads and decodes every
link; the second finds what is known about it. Both are in processes of their own, whose largest memory is shown. The
images do not fit the cache that is given, so that only what was found out about them is kept.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from machine import describe
from PIL import Image

IMAGES, CLASSES, FILES = 1_281_167, 1000, 100
SIDE = 16


def write_links(root: Path, count: int) -> None:
    """Write a few photographs' worth of noise, and link to them under as many names as there are images."""
    draws, originals = np.random.default_rng(0), root / "originals"
    originals.mkdir(parents=True)
    for number in range(FILES):
        Image.fromarray(draws.integers(0, 256, (24, 32, 3), np.uint8)).save(originals / f"{number}.jpg")
    photos = root / "photos"
    classes = min(CLASSES, max(1, count // 2))
    for label in range(classes):
        (photos / f"n{label:08d}").mkdir(parents=True)
    for number in range(count):
        label = number % classes
        os.link(originals / f"{number // classes % FILES}.jpg", photos / f"n{label:08d}/n{label:08d}_{number}.JPEG")


def open_once(root: str) -> None:
    """Open the folder, and print seconds and megabytes."""
    from convwright.data import open_dataset

    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = open_dataset(root, resolution=SIDE, cache_gb=0.6)
    seconds = time.perf_counter() - started
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count = len(data.train) + len(data.val)
    print(f"{count:,} images: {seconds:.1f} s ({time.process_time():.1f} s of the processor, with imports); ", end="")
    print(f"memory {largest:.0f} MB at most, {loaded:.0f} MB of it before, with torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--keep", type=Path, help="folder for links and cache, which is kept and used again")
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_once(options.open)
        return
    print(describe())
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        if not (place / "photos").exists():
            write_links(place, options.images)
        environment = os.environ | {"XDG_CACHE_HOME": str(place / "cache")}
        for which in ("first opening", "second opening", "third opening"):
            print(f"{which:16}", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--open", str(place / "photos")], env=environment, check=True)


if __name__ == "__main__":
    main()
