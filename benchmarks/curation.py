"""What curation finds in Fashion-MNIST with wrong labels, and what training gains: paired, on clean test images.

    python benchmarks/curation.py                   5 % of all labels wrong, drawn twice: 40 minutes of an idle core
    python benchmarks/curation.py --images 10000    the same with fewer training images, and other settings to try
    python benchmarks/curation.py --table           only show what has come out so far

A seed gives 5 % of the training labels another class: 1 and 2, since the limits in convwright.curation.suspects were
chosen on the wrong labels of seed 0 of the same images. `convwright data --deep` looks for them; then the same
network is trained on the clean list, on the wrong one and on the corrected one, three seeds each, and measured on the
test images, whose labels are never changed. Every step is noted in results.json of the folder and is not run again;
the lists of images are kept beside it, and the positions of the test images that each run gets wrong are noted too.
"""

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from machine import describe

import convwright as cw
from convwright.csv_text import csv_table
from convwright.data import Dataset, open_dataset
from convwright.errors import ConvwrightError
from convwright.evaluation.assessment import assess
from convwright.files import write_text
from convwright.prediction.network import load
from convwright.stats.means import difference
from convwright.training.interrupt import Interrupted

SOURCE, NETWORK, RECIPE = "fashion-mnist", "cifar_resnet14", "fast"
SHARE, FLIP_SEEDS = 0.05, (1, 2)
SEEDS = (0, 1, 2)
KINDS = ("clean", "wrong", "corrected")
IMAGES_SEEN = 150_000
"""Training images of a run, counting repetitions."""
RECALL, PRECISION, WITHIN = 0.9, 0.5, 0.003
"""What is aimed at: recall and precision of the wrong labels, and the accuracy below that of clean labels."""

Results = dict[str, Any]


@dataclass(frozen=True)
class Labels:
    """The training images that are used, with their true labels and those that are given."""

    rows: np.ndarray
    true: np.ndarray
    given: np.ndarray

    @classmethod
    def of(cls, images: int, share: float, flip_seed: int) -> "Labels":
        """Draw images, and give a share of them another class."""
        source = open_dataset(SOURCE, val_share=0.1)
        labels = np.empty(len(source.train) + len(source.val), np.int64)
        for split in (source.train, source.val):
            assert split.rows is not None
            labels[split.rows.numpy()] = split.labels.numpy()
        random = np.random.default_rng(flip_seed)
        rows = np.sort(random.permutation(len(labels))[:images])
        true = labels[rows]
        given = true.copy()
        wrong = random.permutation(len(rows))[: round(share * len(rows))]
        given[wrong] = (true[wrong] + random.integers(1, 10, len(wrong))) % 10
        return cls(rows, true, given)

    def write(self, path: Path, labels: np.ndarray, test: Dataset) -> None:
        """Write a list with these labels, and with all test images."""
        assert test.test is not None
        parts = [("train", self.rows, labels), ("test", np.arange(len(test.test)), test.test.labels.numpy())]
        rows = [
            (f"{SOURCE}:{role}/{row}", test.classes[label], role)
            for role, places, known in parts
            for row, label in zip(places.tolist(), known.tolist(), strict=True)
        ]
        write_text(path, csv_table([("path", "label", "split"), *rows]))


def curate(out: Path, labels: Labels) -> Results:
    """Curate the list with wrong labels; return what was found, with the time and the memory that it took."""
    before, started, used = _peak(), time.perf_counter(), time.process_time()
    found = cw.curate(out / "wrong.csv", out=out / "corrected.csv")
    seconds, processor = time.perf_counter() - started, time.process_time() - used
    place = {int(row): number for number, row in enumerate(labels.rows)}
    wrong = labels.true != labels.given
    scores = {}
    for name, suspects in {
        "label errors": found.of("label"),
        "confident": [each for each in found.of("label") if each.confident],
    }.items():
        named = [place[int(each.name.rpartition("/")[2])] for each in suspects if each.split == "train"]
        right = int(wrong[named].sum())
        scores[name] = {"found": len(named), "recall": right / wrong.sum(), "precision": right / max(1, len(named))}
    return {
        "images": len(found.pool),
        "wrong": int(wrong.sum()),
        **scores,
        "counts": {kind: len(found.of(kind)) for kind in ("duplicate", "label", "unlike", "outlier")},
        "decisions": dict(found.fixed().counts),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "memory_mb": round(_peak() - before),
        "peak_memory_mb": round(_peak()),
    }


def _peak() -> float:
    """Return the most memory that the process has had so far, in MB."""
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def trained(out: Path, kind: str, seed: int, images: int, seen: int, clean: Dataset) -> Results:
    """Train on a list; return accuracy and errors on the test images."""
    path = out / f"{kind}-seed{seed}"
    used = time.process_time()
    options = {"network": NETWORK, "recipe": RECIPE, "epochs": seen / images, "seed": seed}
    if not (path / "summary.json").exists():
        if (path / "config.yaml").exists():
            cw.resume(path, progress=False)
        else:
            cw.train(str(out / f"{kind}.csv"), out=path, progress=False, **options)
    wrong: list[int] = []
    done = 0

    def note(logits: torch.Tensor, labels: torch.Tensor) -> None:
        nonlocal done
        wrong.extend((torch.nonzero(logits.argmax(1) != labels).flatten() + done).tolist())
        done += len(labels)

    assert clean.test is not None
    accuracy = assess(load(path), clean, [clean.test], after_batch=note).accuracy
    return {
        "kind": kind,
        "seed": seed,
        "accuracy": accuracy,
        "processor_seconds": round(time.process_time() - used, 1),
        "wrong_test_images": wrong,
    }


def noted(out: Path) -> Results:
    """Return what has come out so far."""
    path = out / "results.json"
    found: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}
    return found


def note(out: Path, results: Results) -> None:
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")


def show(results: Results) -> None:
    """Print what has come out so far."""
    found = results.get("curation")
    if found:
        print(
            f"{found['images']:,} images, {found['wrong']:,} wrong labels; curation took {found['seconds']:.0f} s "
            f"({found['processor_seconds']:.0f} s of processor) and {found['memory_mb']:,} MB "
            f"(the process {found['peak_memory_mb']:,} MB)"
        )
        print("\n| | found | recall | precision |\n|---|---:|---:|---:|")
        for name in ("label errors", "confident"):
            row = found[name]
            print(f"| {name} | {row['found']:,} | {row['recall']:.1%} | {row['precision']:.1%} |")
        met = found["label errors"]["recall"] >= RECALL and found["label errors"]["precision"] >= PRECISION
        print(f"\naim (recall {RECALL:.0%} at precision {PRECISION:.0%}): {'met' if met else 'missed'}")
    by_kind = {
        kind: {row["seed"]: row["accuracy"] for row in results["runs"].values() if row["kind"] == kind}
        for kind in KINDS
    }
    print("\n| trained on | seeds | test accuracy | difference to clean labels, paired by seed |\n|---|---:|---:|---:|")
    for kind, accuracies in by_kind.items():
        if not accuracies:
            continue
        shared = accuracies.keys() & by_kind["clean"].keys()
        text = ""
        if kind != "clean" and shared:
            gap = difference(accuracies, by_kind["clean"])
            text = f"{100 * gap.value:+.2f}" + (f" ± {100 * gap.margin:.2f}" if gap.margin is not None else "")
        print(f"| {kind} labels | {len(accuracies)} | {mean(accuracies.values()):.2%} | {text} |")
    if by_kind["clean"] and by_kind["corrected"]:
        gap = difference(by_kind["corrected"], by_kind["clean"]).value
        print(f"\naim (within {100 * WITHIN:g} points of clean labels): {'met' if gap >= -WITHIN else 'missed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/curation-benchmark"), help="folder for lists and runs")
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument("--seen", type=int, default=IMAGES_SEEN, help="training images of a run, with repetitions")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--flip-seeds", type=int, nargs="+", default=FLIP_SEEDS, help="seeds of the wrong labels")
    parser.add_argument("--table", action="store_true", help="only show what has come out so far")
    options = parser.parse_args()
    if not options.table:
        print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    for flip_seed in options.flip_seeds:
        print(f"\nwrong labels of seed {flip_seed}", flush=True)
        run(options, flip_seed)


def run(options: argparse.Namespace, flip_seed: int) -> None:
    """Curate, train and show the results for the wrong labels of one seed."""
    out = options.out / f"{options.images}-{options.seen}-flips{flip_seed}"
    if options.table:
        show(noted(out))
        return
    out.mkdir(parents=True, exist_ok=True)
    clean = open_dataset(SOURCE)
    labels = Labels.of(options.images, SHARE, flip_seed)
    labels.write(out / "clean.csv", labels.true, clean)
    labels.write(out / "wrong.csv", labels.given, clean)
    results = noted(out)
    if "curation" not in results or not (out / "corrected.csv").exists():
        results["curation"] = curate(out, labels)
        note(out, results)
    for seed in options.seeds:
        for kind in KINDS:
            name = f"{kind}-seed{seed}"
            if name not in results["runs"]:
                results["runs"][name] = trained(out, kind, seed, options.images, options.seen, clean)
                note(out, results)
                print(f"{name}: {results['runs'][name]['accuracy']:.2%}", flush=True)
    show(results)


if __name__ == "__main__":
    try:
        main()
    except (Interrupted, ConvwrightError) as error:
        sys.exit(f"{error}" if isinstance(error, ConvwrightError) else "interrupted; the same command goes on")
