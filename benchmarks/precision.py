"""Accuracy and time of training in bfloat16 and in 32 bits: the same runs in both, with several seeds.

    python benchmarks/precision.py                             Fashion-MNIST (10,000 images) and emoji, three seeds
    python benchmarks/precision.py --data digits --epochs 1    a quick look
    python benchmarks/precision.py --table                     only show what has come out so far

Each run has ended in `OUT/precision.json` before the next begins, and is not repeated by a second start. Seconds are
processor time. The difference is that of test accuracies with equal seeds; its standard error is shown beside it.
"""

import argparse
import json
import shutil
import time
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from image_sets import prepared

import convwright as cw

NETWORKS = ("cifar_seresnet14", "efficientnet_b0|scale:d=0.3,w=0.25")
PRECISIONS = ("32-true", "bf16-mixed")


def train(data: Path | str, network: str, options: dict[str, Any], folder: Path) -> dict[str, float]:
    """Train in a new folder, and return the test accuracy and the processor time."""
    shutil.rmtree(folder, ignore_errors=True)
    began = time.process_time()
    run = cw.train(data, network=network, out=folder, recipe="fast", batch_size=64, progress=False, **options)
    seconds = time.process_time() - began
    accuracy = run.evaluate().accuracy
    shutil.rmtree(folder)
    return {"accuracy": accuracy, "seconds": round(seconds, 1)}


def table(results: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table of the runs that have ended in both precisions."""
    lines = [
        "| data, network | seeds | 32 bits | bfloat16 | difference | times as fast |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    runs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {}
    for key, full in results.items():
        name, seed, precision = key.rsplit(", ", 2)
        half = results.get(f"{name}, {seed}, {PRECISIONS[1]}")
        if precision == PRECISIONS[0] and half:
            runs.setdefault(name, []).append((full, half))
    for name, pairs in runs.items():
        full, half = (100 * mean(pair[i]["accuracy"] for pair in pairs) for i in range(2))
        apart = [100 * (two["accuracy"] - one["accuracy"]) for one, two in pairs]
        error = f" ± {stdev(apart) / len(apart) ** 0.5:.2f}" if len(apart) > 1 else ""
        faster = mean(one["seconds"] / two["seconds"] for one, two in pairs)
        cells = (name, len(pairs), f"{full:.2f} %", f"{half:.2f} %", f"{mean(apart):+.2f}{error}", f"{faster:.2f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["fashion-mnist-10k", "emoji"], help="names of image_sets.py")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    options = parser.parse_args()
    file = options.out / "precision.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    jobs = [] if options.table else list(product(options.data, options.networks, range(options.seeds), PRECISIONS))
    if jobs:  # once before, so that no run is measured with the imports
        train("digits", "cifar_resnet8", {"epochs": 0.02}, options.out / "run")
    for name, network, seed, precision in jobs:
        key = f"{name} ({options.epochs:g} epochs), {network}, seed {seed}, {precision}"
        if key not in results:
            data = prepared(name, options.out)
            fields = {"epochs": options.epochs, "seed": seed, "precision": precision}
            results[key] = train(data, network, fields, options.out / "run")
            options.out.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(key, results[key], flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
