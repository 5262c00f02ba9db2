"""Accuracy and time of training with two settings: the same runs with each, with several seeds.

    python benchmarks/paired.py precision                             32 bits and bfloat16
    python benchmarks/paired.py optimizer                             SGD and Muon, in bfloat16
    python benchmarks/paired.py precision --data digits --epochs 1    a quick look
    python benchmarks/paired.py precision --table                     only show what has come out so far

By default Fashion-MNIST (10,000 images) and emoji, three seeds. Each run is noted in `OUT/results.json` before the next
begins, and is not repeated by a second start. Seconds are processor time. Differences are those of accuracies with
equal seeds; the standard error is shown beside them. Settings are chosen by the validation images.
"""

import argparse
import shutil
import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from image_sets import prepared
from kept_rows import Row, keep, noted

import convwright as cw
from convwright.data import open_dataset
from convwright.training.plan import LARGEST_BATCH, default_batch_size

NETWORKS = ("cifar_seresnet14", "efficientnet_b0|scale:d=0.3,w=0.25", "densenet_bc_l22_k12")
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "precision": {"32 bits": {"precision": "32-true"}, "bfloat16": {"precision": "bf16-mixed"}},
    "optimizer": {
        "SGD": {"precision": "bf16-mixed", "optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 3e-4},
        "Muon": {"precision": "bf16-mixed"},
    },
}
"""Two alternatives of each setting: their names, and the fields that differ from those of the recipe `fast`."""


def train(data: Path | str, network: str, options: dict[str, Any], folder: Path) -> dict[str, float]:
    """Train in a new folder, and return the accuracies and the processor time."""
    shutil.rmtree(folder, ignore_errors=True)
    batch = default_batch_size(len(open_dataset(str(data)).train))  # the images are decoded before the clock starts
    if "learning_rate" in options:  # for batches of `LARGEST_BATCH`, as in a recipe
        options = options | {"learning_rate": options["learning_rate"] * batch / LARGEST_BATCH}
    began = time.process_time()
    run = cw.train(data, network=network, out=folder, recipe="fast", progress=False, **options)
    seconds = time.process_time() - began
    accuracies = {"validation": run.summary.val_accuracy, "test": run.evaluate().accuracy}
    shutil.rmtree(folder)
    return {**accuracies, "seconds": round(seconds, 1)}


def run(described: Row, name: str, network: str, options: dict[str, Any], out: Path) -> Row:
    """Train on a data set of `image_sets.py`, and return the row of the run."""
    return described | train(prepared(name, out), network, options, out / "run")


def table(setting: str, out: Path) -> str:
    """Return a Markdown table of the runs that have ended with both alternatives."""
    first, second = SETTINGS[setting]
    titles = [
        "data, network",
        "seeds",
        "validation",
        "test",
        f"test, {first}",
        f"test, {second}",
        f"processor time of {first} divided by that of {second}",
    ]
    lines = [f"| {' | '.join(titles)} |", f"|---|{'---:|' * (len(titles) - 1)}"]
    runs: dict[str, dict[int, dict[str, Row]]] = {}
    for row in noted(out).values():
        if row["setting"] == setting:
            runs.setdefault(row["task"], {}).setdefault(row["seed"], {})[row["alternative"]] = row
    for task, seeds in runs.items():
        if pairs := [(made[first], made[second]) for made in seeds.values() if len(made) == 2]:
            accuracies = [f"{100 * mean(pair[i]['test'] for pair in pairs):.2f} %" for i in range(2)]
            apart = [difference(pairs, images) for images in ("validation", "test")]
            faster = mean(pair[0]["seconds"] / pair[1]["seconds"] for pair in pairs)
            cells = [task.replace("|", r"\|"), str(len(pairs)), *apart, *accuracies, f"{faster:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def difference(pairs: Sequence[tuple[Row, Row]], images: str) -> str:
    """Return the mean difference of two alternatives in points, and its standard error."""
    apart = [100 * (two[images] - one[images]) for one, two in pairs]
    error = f" ± {stdev(apart) / len(apart) ** 0.5:.2f}" if len(apart) > 1 else ""
    return f"{mean(apart):+.2f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data", nargs="+", default=["fashion-mnist-10k", "emoji"], help="names of image_sets.py")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/paired"))
    options = parser.parse_args()
    alternatives = SETTINGS[options.setting]
    if not options.table:  # once before, so that no run is measured with the imports
        train("digits", "cifar_resnet8", {"epochs": 0.02}, options.out / "run")
    jobs = [] if options.table else product(options.data, options.networks, range(options.seeds), alternatives)
    for name, network, seed, one in jobs:
        task = f"{name} ({options.epochs:g} epochs), {network}"
        described = {"setting": options.setting, "task": task, "seed": seed, "alternative": one}
        key = f"{options.setting}: {task}, seed {seed}, {one}"
        fields = {"epochs": options.epochs, "seed": seed} | alternatives[one]
        keep(options.out, key, partial(run, {"run": key} | described, name, network, fields, options.out))
    print(table(options.setting, options.out))


if __name__ == "__main__":
    main()
