"""Megabytes on disk of what `pip install convwright` brings beside torch: `python benchmarks/install_size.py`.

torch, torchvision and what these two need (NumPy and Pillow among others) are left out. The sizes are those of the
files as they are installed, with the bytecode that pip compiles.
"""

import argparse
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from machine import describe
from packaging.requirements import Requirement

SOURCES = Path(__file__).resolve().parents[1] / "src" / "convwright"


def with_dependencies(names: Iterable[str], without: Iterable[str] = ()) -> set[str]:
    """Return installed packages and all that they need, except for some packages and what only those need."""
    found: set[str] = set()
    left = set(names)
    while left:
        name = left.pop()
        if name in found or name in without:
            continue
        try:
            needed = map(Requirement, distribution(name).requires or [])
        except PackageNotFoundError:  # for another system
            continue
        found.add(name)
        left |= {normalised(each.name) for each in needed if not each.marker or each.marker.evaluate({"extra": ""})}
    return found


def normalised(name: str) -> str:
    """Return a package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def megabytes(name: str) -> float:
    """Return the size of a package's files; of Convwright the sources here, which may be installed as links."""
    if name == "convwright":
        files = [path for path in SOURCES.rglob("*") if path.suffix != ".so"]
    else:
        files = [Path(str(file.locate())) for file in distribution(name).files or []]
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e6


def sizes() -> dict[str, float]:
    """Return the megabytes of each package beside torch, the largest first."""
    packages = with_dependencies(["convwright"], with_dependencies(["torch", "torchvision"]))
    found = {name: megabytes(name) for name in packages}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main() -> None:
    """Print the table and the sum."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    print(describe())
    found = sizes()
    for name, size in found.items():
        print(f"{name:32} {size:6.1f} MB")
    print(f"{'sum':32} {sum(found.values()):6.1f} MB")


if __name__ == "__main__":
    main()
