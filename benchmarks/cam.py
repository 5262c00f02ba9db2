"""Do compound scaling's maps look at more of what matters? EfficientNet's Figure 7 on Fashion-MNIST, as numbers.

    python benchmarks/cam.py --out runs/cam

Trains a small EfficientNet and the four networks that are scaled up from it (depth, width, resolution, compound: each
about twice its multiply-adds), draws their class activation maps side by side, and measures deletion and insertion
scores on the same test images, with intervals of the differences. Can be interrupted; the same command goes on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from machine import describe

import convwright as cw
from convwright.arch import at, fit_resolution
from convwright.data import open_dataset
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.run import Run

BASE, DATA, NATIVE = "efficientnet_b0|scale:d=0.3,w=0.2", "fashion-mnist", 28
VARIANTS = {
    "baseline": ("", 28),
    "depth": ("|scale:d=2", 28),
    "width": ("|scale:w=1.4", 28),
    "resolution": ("", 40),
    "compound": ("|scale:d=1.2,w=1.1", 32),
}
"""Operators and the side of the images; the compound's factors are the published 1.2, 1.1 and 1.15."""


def trained(name: str, epochs: float, folder: Path) -> Run:
    """Train a variant, or go on, or take what is there."""
    operators, resolution = VARIANTS[name]
    data = open_dataset(DATA, resolution=resolution)
    # Strides are fitted to the data's own size, so that a larger image gives larger maps, as scaling means it.
    network = at(fit_resolution(cw.network(BASE + operators), NATIVE), resolution=resolution)
    config, network = plan(data, network, name="fast", epochs=epochs)
    path = folder / name
    if (path / "config.yaml").exists():
        resume(Run.open(path), data)
    else:
        train(config, network, data, path)
    return Run.open(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/cam-benchmark"), help="folder for the runs")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--count", type=int, default=300, help="test images that are scored")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    for name in VARIANTS:
        run = trained(name, options.epochs, options.out)
        cost = cw.cost(run.network)
        print(
            f"{name:10} {cost.params:9,} parameters {cost.macs / 1e6:6.2f} M MACs, "
            f"{run.summary.train_seconds:4.0f} s, validation accuracy {run.summary.val_accuracy:.2%}",
            flush=True,
        )
    # As a user would: the figure, the maps and the scores are in the folder that this names.
    command = [sys.executable, "-m", "convwright", "explain", "cam", *(str(options.out / name) for name in VARIANTS)]
    command += ["--scores", "--count", str(options.count), "--show", "5", "--out", str(options.out / "maps")]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
