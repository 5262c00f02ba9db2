"""Whether compound scaling's maps focus on more relevant regions: EfficientNet's Figure 7 on Fashion-MNIST, as numbers.

    python benchmarks/cam.py --out runs/cam

Trains a small EfficientNet and the four networks that are scaled up from it (depth, width, resolution, compound: each
about twice its multiply-adds), draws their class activation maps side by side, and measures deletion and insertion
scores on the same test images, with intervals of the differences. The same command resumes an interrupted run.
"""

import argparse
from pathlib import Path

import torch
from machine import describe

import convwright as cw

BASE, NATIVE = "efficientnet_b0|scale:d=0.3,w=0.2", 28
VARIANTS = {
    "baseline": ("", 28),
    "depth": ("|scale:d=2", 28),
    "width": ("|scale:w=1.4", 28),
    "resolution": ("", 40),
    "compound": ("|scale:d=1.2,w=1.1", 32),
}
"""Operators and the resolution; the compound's factors are the published 1.2, 1.1 and 1.15."""


def trained(name: str, data: str, epochs: float, folder: Path) -> cw.Run:
    """Train a variant, resume it, or open it if it is finished."""
    operators, resolution = VARIANTS[name]
    if (folder / name / "config.yaml").exists():
        return cw.resume(folder / name)
    # Strides are fitted to the data's own size, so that a larger image gives larger maps, as in the paper.
    network = f"{BASE}{operators}|fit:{NATIVE}|resolution:{resolution}"
    return cw.train(data, network=network, resolution=resolution, recipe="fast", epochs=epochs, out=folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/cam-benchmark"), help="folder for the runs")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--count", type=int, default=300, help="test images that are scored")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    runs = []
    for name in VARIANTS:
        run = trained(name, options.data, options.epochs, options.out)
        cost = cw.cost(run.network)
        print(
            f"{name:10} {cost.params:9,} parameters {cost.macs / 1e6:6.2f} M MACs, "
            f"{run.summary.train_seconds:4.0f} s, validation accuracy {run.summary.val_accuracy:.2%}",
            flush=True,
        )
        runs.append(run)
    maps = cw.explain.cam(runs, count=options.count, show=5)
    scores = cw.explain.faithfulness(None, maps)
    print(scores)
    print(f"figure, overlays and maps: {scores.maps.save(options.out / 'maps').folder}")


if __name__ == "__main__":
    main()
