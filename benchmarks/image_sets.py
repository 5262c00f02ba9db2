"""Data sets of the benchmarks, from packages that anyone can install, as folders `train` and `test` of classes.

    python benchmarks/image_sets.py emoji stamps --out runs/defaults

Each is made once, in `OUT/data/NAME`. Test images are those that a package gives or that a rule on names sets aside.

- emoji: npm's emoji of four vendors at 64 px, in the 9 categories of Unicode without `Component`; Google's, Twitter's
  and Facebook's to train on, Apple's as test images (5,667 and 1,903).
- stamps: the photographs of Debian's package tuxpaint-stamps-default, in 16 folders; a fifth are test images.
- emoji-subcategories: the same pictures in Unicode's subcategories (about 100 classes, the largest of flags).
- digits: scikit-learn's 8-pixel digits at twice the size, as PNG files; a fifth are test images. Ultralytics takes
  images of less than 10 pixels for broken ones.
- clipart: Debian's package openclipart-png (downloaded, not installed): animals, food, people, recreation and
  transportation, on white, at most 128 px, without pictures of over two million pixels; a fifth are test images.
- fashion-mnist: Debian's package dataset-fashion-mnist, as PNG files (60,000 and 10,000).
- fashion-mnist-10k: the same with the first 1,000 training images of each class.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import struct
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

VENDORS = {"google": "train", "twitter": "train", "facebook": "train", "apple": "test"}
EMOJI = "16.0.0"
STAMPS, FASHION = Path("/usr/share/tuxpaint/stamps"), Path("/usr/share/datasets/fashion-mnist")
CLIPART, CLIPART_SIDE, CLIPART_PIXELS = ("animals", "food", "people", "recreation", "transportation"), 128, 2_000_000
PICTURES = {".png", ".jpg", ".jpeg"}


def emoji(folder: Path, by: str = "category") -> None:
    """Lay out npm's emoji by category or subcategory."""
    for vendor, role in VENDORS.items():
        package = f"emoji-datasource-{vendor}"
        archive = folder.parent / f"{package}-{EMOJI}.tgz"
        if not archive.exists():
            subprocess.run(["npm", "pack", f"{package}@{EMOJI}"], cwd=folder.parent, check=True, capture_output=True)
        with tarfile.open(archive) as tar:
            listed = json.load(tar.extractfile("package/emoji.json"))  # type: ignore[arg-type]
            wanted = {
                f"package/img/{vendor}/64/{each['image']}": each[by]
                for each in listed
                if each.get(f"has_img_{vendor}") and each["category"] != "Component"
            }
            for member in tar:
                if member.name in wanted:
                    name = "-".join(wanted[member.name].lower().replace("&", " ").split())
                    target = folder / role / name / f"{vendor}-{Path(member.name).name}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    with_training_images(folder)


def is_tested(name: str) -> bool:
    """Whether an image of this name is one of the fifth that is set aside, by a digest of the name."""
    return hashlib.sha256(name.encode()).digest()[0] < 256 // 5


def with_training_images(folder: Path) -> None:
    """Move test images of classes without training images to the training images."""
    for only in (folder / "test").iterdir():
        if not (folder / "train" / only.name).is_dir():
            shutil.move(only, folder / "train" / only.name)


def stamps(folder: Path) -> None:
    """Hold a fifth of the stamps out, by a digest of their names."""
    for source in sorted(STAMPS.rglob("*")):
        if source.suffix.lower() not in PICTURES or len(source.relative_to(STAMPS).parts) < 2:
            continue
        name = source.relative_to(STAMPS)
        role = "test" if is_tested(str(name)) else "train"
        target = folder / role / name.parts[0] / "-".join(name.parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    with_training_images(folder)


def digits(folder: Path) -> None:
    """Write scikit-learn's digits as files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for number, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        name = f"{number:04}.png"
        target = folder / ("test" if is_tested(name) else "train") / str(label) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = (255 / 16 * image).round().astype("uint8")
        Image.fromarray(pixels).resize((16, 16), Image.Resampling.NEAREST).save(target)


def clipart(folder: Path) -> None:
    """Write five folders of Debian's clip art, on white and smaller."""
    from PIL import Image

    package = folder / "package"
    package.mkdir()
    subprocess.run(["apt-get", "download", "openclipart-png"], cwd=package, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", next(package.glob("*.deb")), package], check=True)
    root = package / "usr/share/openclipart/png"
    for source in sorted(file for kind in CLIPART for file in (root / kind).rglob("*.png")):
        width, height = struct.unpack(">II", source.read_bytes()[16:24])  # of the header
        if width * height > CLIPART_PIXELS:
            continue
        name = source.relative_to(root)
        target = folder / ("test" if is_tested(str(name)) else "train") / name.parts[0] / "-".join(name.parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(source).convert("RGBA")
        image.thumbnail((CLIPART_SIDE, CLIPART_SIDE))
        Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB").save(target)
    shutil.rmtree(package)


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
    "emoji-subcategories": partial(emoji, by="subcategory"),
    "stamps": stamps,
    "digits": digits,
    "clipart": clipart,
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
