"""How long a report of three runs takes, and how large it is: `python benchmarks/report.py`.

Without run directories it first trains three small networks, by default on Fashion-MNIST, a fifth of an epoch each.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

NETWORKS = {
    "densenet": "densenet_bc_l22_k12",
    "seresnet": "cifar_seresnet14",
    "efficientnet": "efficientnet_b0|scale:d=0.3,w=0.25",
}


def convwright(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "convwright", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def train(data: str, folder: Path) -> list[Path]:
    paths = [folder / name for name in NETWORKS]
    for path, network in zip(paths, NETWORKS.values(), strict=True):
        convwright("train", "--data", data, "--network", network, "--epochs", "0.2", "--out", path)
    return paths


def timed(runs: list[Path], page: Path) -> tuple[float, float]:
    """Return wall-clock and processor seconds, which are equal on an idle machine with one thread."""
    start, before = time.perf_counter(), os.times()
    convwright("report", *runs, "--out", page)
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return time.perf_counter() - start, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="run directories")
    parser.add_argument("--data", default="fashion-mnist", help="of the networks that are trained")
    parser.add_argument("--repeat", type=int, default=3, help="reports timed")
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        runs, page = options.runs or train(options.data, folder), folder / "report.html"
        times = [timed(runs, page) for _ in range(options.repeat)]
        print(f"a report of {len(runs)} runs, {options.repeat} times, {page.stat().st_size / 1e6:.2f} MB")
        for name, values in zip(("of wall-clock time", "of processor time"), zip(*times, strict=True), strict=True):
            shown = ", ".join(f"{seconds:.1f}" for seconds in values)
            print(f"seconds {name}: {shown}; median {statistics.median(values):.1f}")


if __name__ == "__main__":
    main()
