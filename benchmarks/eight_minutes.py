"""Fashion-MNIST in eight minutes of one core: a network that halves its maps early, with Muon and with SGD.

    python benchmarks/eight_minutes.py            three seeds with Muon, eight minutes of processor time each
    python benchmarks/eight_minutes.py --sgd      the same with SGD, for comparison
    python benchmarks/eight_minutes.py --table    only show what has come out so far

The network is `cifar_resnet14` without its first stage: its maps are halved by the first block, since narrow layers on
large maps are slow on processors. Minutes are those of one thread (`time.process_time`), so that what else the machine
does matters little; only a slower clock, or a core that is shared with another thread, makes them longer. Recipe and
network are chosen on validation images; each run is measured on the test images once, when it has ended. Every run can
be interrupted: the same command goes on. What is noted in results.json of the folder is not run again.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from kept_rows import keep, noted
from machine import describe

import convwright as cw
from convwright.arch import Network
from convwright.data import Dataset, open_dataset
from convwright.errors import ConvwrightError
from convwright.evaluation.assessment import assess
from convwright.files import write_text
from convwright.prediction.network import load
from convwright.training.callbacks import Callback, StartedRun
from convwright.training.config import difference
from convwright.training.interrupt import Interrupted
from convwright.training.loop import resume, train
from convwright.training.operators import compile_fused
from convwright.training.plan import plan
from convwright.training.progress_bar import TerminalProgress
from convwright.training.records import Summary
from convwright.training.run import Run
from convwright.training.views import AS_IT_IS

EPOCHS = 28.0
RECIPES: dict[str, dict[str, Any]] = {
    "muon": {"warm_up": 0.1},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 3e-4},
}
"""Fields that differ from those of the recipe `fast`, by name of the contender."""


class ProcessorTime(Callback):
    """Adds up the processor time of a run over its interruptions, validations included, in a file of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: float = json.loads(file.read_text(encoding="utf-8")) if file.exists() else 0.0
        self.counted = 0.0

    def on_start(self, run: StartedRun) -> None:
        """Start the clock."""
        self.counted = time.process_time()

    def on_validation(self, row: Mapping[str, float]) -> None:
        """Note the time."""
        self._note()

    def on_end(self, summary: Summary) -> None:
        """Note the time."""
        self._note()

    def on_stop(self) -> None:
        """Note the time of a run that is interrupted."""
        self._note()

    def _note(self) -> None:
        now = time.process_time()
        self.seconds, self.counted = self.seconds + now - self.counted, now
        write_text(self.file, json.dumps(self.seconds) + "\n")


def early_stride() -> Network:
    """Return `cifar_resnet14` without its first stage."""
    whole = cw.network("cifar_resnet14")
    stages = tuple(replace(stage, name=f"stage{index}") for index, stage in enumerate(whole.stages[1:], 1))
    return replace(whole, name="early_stride", stages=stages, results=())


def run(kind: str, seed: int, data: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Train or resume a run, and measure it once on the test images. ConvwrightError if it has another recipe."""
    name = f"{kind}-{options.epochs:g}-{options.precision}-seed{seed}"
    path: Path = options.out / name
    recipe = {"crop": 2} | RECIPES[kind]
    wanted: dict[str, Any] = {"epochs": options.epochs, "seed": seed, "precision": options.precision}
    wanted["fused"] = compile_fused(options.precision)  # else torch's own operators
    config, network = plan(data, early_stride(), name="fast", recipe=recipe, **wanted)
    clock = ProcessorTime(options.out / f"{name}-seconds.json")
    callbacks = [TerminalProgress(name), clock]
    if (path / "config.yaml").exists():
        earlier = Run.open(path)
        if changed := difference(earlier.config.model_dump(), config.model_dump()):
            raise ConvwrightError(f"{path}: {changed}; remove it, or give another --out")
        resume(earlier, data, callbacks)
    else:
        train(config, network, data, path, callbacks)
    summary = Run.open(path).summary
    assert data.test is not None
    tested = assess(load(path), data, [data.test], views=AS_IT_IS).accuracy
    fields = {field: getattr(summary, field) for field in ("params", "macs", "val_accuracy", "threads")}
    return {"run": name, "kind": kind, "seed": seed, "processor_seconds": round(clock.seconds, 1), **fields} | {
        "test": tested
    }


def show_table(out: Path) -> None:
    """Print what has come out, as a table in Markdown."""
    print("| optimizer | seed | processor time | validation | test |")
    print("|---|---:|---:|---:|---:|")
    names = ("processor_seconds", "val_accuracy", "test")
    for kind in RECIPES:
        rows = sorted((row for row in noted(out).values() if row["kind"] == kind), key=lambda row: row["seed"])
        lines = [(str(row["seed"]), *(row[name] for name in names)) for row in rows]
        if len(rows) > 1:
            lines.append(("mean", *(mean(row[name] for row in rows) for name in names)))
        for seed, seconds, validation, test in lines:
            print(f"| {kind} | {seed} | {seconds / 60:.1f} min | {100 * validation:.2f} % | {100 * test:.2f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/eight-minutes"), help="folder for the runs")
    parser.add_argument("--epochs", type=float, default=EPOCHS, help=f"{EPOCHS:g} by default")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="bf16-mixed", help="of products")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="0 1 2 by default")
    parser.add_argument("--sgd", action="store_true", help="train with SGD")
    parser.add_argument("--table", action="store_true", help="only show what has come out so far")
    options = parser.parse_args()
    if options.table:
        show_table(options.out)
        return
    torch.set_num_threads(1)
    print(f"{describe()}; torch {torch.__version__}, one thread", flush=True)
    data = open_dataset("fashion-mnist")
    kind = "sgd" if options.sgd else "muon"
    for seed in options.seeds:
        name = f"{kind}-{options.epochs:g}-{options.precision}-seed{seed}"
        keep(options.out, name, lambda seed=seed: run(kind, seed, data, options))
    show_table(options.out)


if __name__ == "__main__":
    try:
        main()
    except (Interrupted, ConvwrightError) as error:
        sys.exit(f"{error}" if isinstance(error, ConvwrightError) else "interrupted; the same command goes on")
