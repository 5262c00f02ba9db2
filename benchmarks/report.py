"""How long a report of three runs takes, and how large it is: `python benchmarks/report.py`.

Without run directories it first trains three small networks on Fashion-MNIST, a fifth of an epoch each.
"""

import argparse
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


def train(folder: Path) -> list[Path]:
    paths = [folder / name for name in NETWORKS]
    for path, network in zip(paths, NETWORKS.values(), strict=True):
        convwright("train", "--data", "fashion-mnist", "--network", network, "--epochs", "0.2", "--out", path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="run directories")
    parser.add_argument("--repeat", type=int, default=3, help="reports timed")
    asked = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        runs, page, times = asked.runs or train(folder), folder / "report.html", []
        for _ in range(asked.repeat):
            start = time.perf_counter()
            convwright("report", *runs, "--out", page)
            times.append(time.perf_counter() - start)
        print(f"seconds of a report of {len(runs)} runs: " + ", ".join(f"{seconds:.1f}" for seconds in times))
        print(f"median {statistics.median(times):.1f} s, {page.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
