"""What the papers draw, on runs of the three families, and what follows from it.

    python benchmarks/explain.py --out runs/explain                        trains the three, then analyses them
    python benchmarks/explain.py --out runs/explain --only train           the first part alone
    python benchmarks/explain.py --out runs/explain --epochs 20 --seed 1   longer, and with other noise

Epochs and seed are fixed, so that the result does not depend on how busy the machine is. What is there already is
taken: a run that was stopped goes on, an analysis is made once. Each leaves its figures (.html) and all its numbers
(.json) beside the runs, and prints those that docs/explain.md quotes. With Chromium, `--pictures` draws the figures as
PNG.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import describe

import convwright as cw
from convwright.data import Dataset, open_dataset
from convwright.training.loop import resume, train
from convwright.training.plan import plan
from convwright.training.run import Run

NETWORKS = {
    "densenet": "densenet_bc_l22_k12",
    "seresnet": "cifar_seresnet14",
    "efficientnet": "efficientnet_b0|scale:d=0.3,w=0.25",
}
SHARES = "0.05,0.1,0.2,0.4"
ANALYSES = {
    "reuse": (("densenet",), ("explain", "reuse"), ("--prune", SHARES, "--draws", "2")),
    "excitation": (("seresnet", "efficientnet"), ("explain", "excitation"), ("--drop",)),
    "blocks": (("seresnet", "efficientnet"), ("explain", "excitation"), ("--drop", "--by", "blocks")),
}
"""Whose runs, the command, its options."""
PICTURES = {
    "densenet-reuse": (1240, 1100),
    "seresnet-excitation": (1240, 1200),
    "efficientnet-excitation": (1240, 1200),
}
"""The upper part of these pages, in pixels."""


def trained(name: str, path: Path, data: Dataset, epochs: float, seed: int) -> Run:
    """Train, or go on, or take what is there."""
    if (path / "config.yaml").exists():
        resume(Run.open(path), data)
    else:
        config, network = plan(data, cw.network(name), name="fast", epochs=epochs, seed=seed)
        train(config, network, data, path)
    return Run.open(path)


def analysed(run: Path, kind: str) -> dict[str, Any]:
    """Run one command on a run, unless it has been, and return what it tells."""
    told, page = (run.with_name(f"{run.name}-{kind}.{suffix}") for suffix in ("json", "html"))
    if not told.exists():
        _, command, options = ANALYSES[kind]
        arguments = [sys.executable, "-m", "convwright", *command, str(run), "--json", "--html", str(page), *options]
        answer = subprocess.run(arguments, check=True, capture_output=True, text=True)
        told.write_text(answer.stdout, encoding="utf-8")
    return json.loads(told.read_text(encoding="utf-8"))


def reuse_lines(told: dict[str, Any]) -> Iterator[str]:
    """Print what is quoted of feature reuse."""
    for block in told["blocks"]:
        late = block["late_over_early"]
        yield (
            f"{block['name']}: lowest {block['lowest']:.2f}, mean {block['mean']:.2f}, input {block['input']:.2f}, "
            f"late / early {late:.2f}"
        )
    for step in told["prune"]:
        random = [cut["accuracy"] for cut in step["random"]]
        spread = f", at random {min(random):.2%} to {max(random):.2%}" if random else ""
        yield (
            f"{step['share']:.0%} cut: {_accuracy(step)}{spread}; "
            f"{step['params_saved']:,} parameters and {step['macs_saved']:,} MACs saved"
        )


def excitation_lines(told: dict[str, Any]) -> Iterator[str]:
    """Print what is quoted of excitations."""
    for block in told["blocks"]:
        yield (
            f"{block['name']}: class-specific {block['specificity']:.2f}, saturated {block['saturation']:.0%}, "
            f"spread {block['spread']:.3f}, variation {block['variation']:.3f}"
        )
    for step in told["drop"]:
        inexact = f", {len(step['inexact'])} not exact" if step["inexact"] else ""
        yield (
            f"step {step['step']} ({step['without']}): {_accuracy(step)}, {step['params']:,} parameters "
            f"(+{step['over_none']:.2%} over no SE), {step['macs']:,} MACs{inexact}"
        )


def _accuracy(step: dict[str, Any]) -> str:
    low, high = step["interval"]
    told = f"{step['accuracy']:.2%} ({low:.2%} to {high:.2%})"
    if step["change"] is None:
        return told
    low, high = (100 * bound for bound in step["change_interval"])
    return f"{told}, change {100 * step['change']:+.2f} ({low:+.2f} to {high:+.2f}) points"


LINES: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "reuse": reuse_lines,
    "excitation": excitation_lines,
    "blocks": excitation_lines,
}


def draw(page: Path, width: int, height: int) -> None:
    """Have Chromium draw the upper part of a page beside it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("--pictures needs Chromium")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000")
    picture = f"--screenshot={page.with_suffix('.png').absolute()}"
    arguments = [browser, *options, f"--window-size={width},{height}", picture, page.absolute().as_uri()]
    subprocess.run(arguments, check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/explain"), help="folder for the runs")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=["train", *ANALYSES], default=["train", *ANALYSES])
    parser.add_argument("--runs", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--pictures", action="store_true", help="draw the figures as PNG too (Chromium)")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    data = open_dataset("fashion-mnist")
    for folder in options.runs:
        run = options.out / folder
        if "train" in options.only:
            summary = trained(NETWORKS[folder], run, data, options.epochs, options.seed).summary
            told = f"{summary.val_accuracy:.2%} of validation images right after {summary.epochs:g} epochs"
            print(f"{summary.network}: {told}", flush=True)
        for kind in options.only:
            if kind in ANALYSES and folder in ANALYSES[kind][0]:
                print(f"\n{folder}, {' '.join(ANALYSES[kind][1])} {' '.join(ANALYSES[kind][2])}")
                print("\n".join(LINES[kind](analysed(run, kind))), flush=True)
                if options.pictures and (size := PICTURES.get(f"{folder}-{kind}")):
                    draw(run.with_name(f"{folder}-{kind}.html"), *size)


if __name__ == "__main__":
    main()
