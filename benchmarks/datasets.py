"""Data sets of the benchmarks, from packages that anyone can install, as folders `train` and `test` of classes.

    python benchmarks/datasets.py emoji stamps --out runs/defaults

Each is made once, in `OUT/data/NAME`. Test images are those that a package gives or that a rule on names sets aside.

- emoji: npm's emoji of four vendors at 64 px, in the 9 categories of Unicode without `Component`; Google's, Twitter's
  and Facebook's to train on, Apple's as test images (5,667 and 1,903).
- stamps: the photographs of Debian's package tuxpaint-stamps-default, in 16 folders; a fifth are test images.
- fashion-mnist: Debian's package dataset-fashion-mnist, as PNG files (60,000 and 10,000).
- fashion-mnist-10k: the same with the first 1,000 training images of each class.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

VENDORS = {"google": "train", "twitter": "train", "facebook": "train", "apple": "test"}
EMOJI = "16.0.0"
STAMPS, FASHION = Path("/usr/share/tuxpaint/stamps"), Path("/usr/share/datasets/fashion-mnist")
PICTURES = {".png", ".jpg", ".jpeg"}


def emoji(folder: Path) -> None:
    """Lay out npm's emoji by category."""
    for vendor, role in VENDORS.items():
        package = f"emoji-datasource-{vendor}"
        archive = folder.parent / f"{package}-{EMOJI}.tgz"
        if not archive.exists():
            subprocess.run(["npm", "pack", f"{package}@{EMOJI}"], cwd=folder.parent, check=True, capture_output=True)
        with tarfile.open(archive) as tar:
            listed = json.load(tar.extractfile("package/emoji.json"))  # type: ignore[arg-type]
            wanted = {
                f"package/img/{vendor}/64/{each['image']}": each["category"]
                for each in listed
                if each.get(f"has_img_{vendor}") and each["category"] != "Component"
            }
            for member in tar:
                if member.name in wanted:
                    name = "-".join(wanted[member.name].lower().replace("&", " ").split())
                    target = folder / role / name / f"{vendor}-{Path(member.name).name}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]


def stamps(folder: Path) -> None:
    """Hold a fifth of the stamps out, by a digest of their names."""
    for source in sorted(STAMPS.rglob("*")):
        if source.suffix.lower() not in PICTURES or len(source.relative_to(STAMPS).parts) < 2:
            continue
        name = source.relative_to(STAMPS)
        tested = hashlib.sha256(str(name).encode()).digest()[0] < 256 // 5
        target = folder / ("test" if tested else "train") / name.parts[0] / "-".join(name.parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for only in (folder / "test").iterdir():  # a class needs training images
        if not (folder / "train" / only.name).is_dir():
            shutil.move(only, folder / "train" / only.name)


def fashion(folder: Path, each: int = 6_000) -> None:
    """Write Fashion-MNIST as files, with this many training images of each class."""
    import numpy as np
    from PIL import Image

    for role, prefix in (("train", "train"), ("test", "t10k")):
        with gzip.open(FASHION / f"{prefix}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(FASHION / f"{prefix}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)
        for label in range(10):
            (folder / role / str(label)).mkdir(parents=True, exist_ok=True)
        written: Counter[int] = Counter()
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            written[label] += 1
            if role == "train" and written[label] > each:
                continue
            Image.fromarray(image).save(folder / role / str(label) / f"{number:05}.png", compress_level=1)


DATA: dict[str, Callable[[Path], None]] = {
    "emoji": emoji,
    "stamps": stamps,
    "fashion-mnist": fashion,
    "fashion-mnist-10k": partial(fashion, each=1_000),
}


def prepared(name: str, out: Path) -> Path:
    """Return the folder of a data set, which is made once."""
    folder = out / "data" / name
    if not folder.is_dir():
        half = folder.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        DATA[name](half)
        half.rename(folder)
    return folder


def tested(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the test images and their classes."""
    files = sorted((folder / "test").glob("*/*"))
    return files, [file.parent.name for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=DATA)
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    options = parser.parse_args()
    for name in options.names:
        folder = prepared(name, options.out)
        counts = {role: len([*(folder / role).glob("*/*")]) for role in ("train", "test")}
        print(f"{folder}: {counts['train']:,} training and {counts['test']:,} test images")


if __name__ == "__main__":
    main()
