"""The papers' figures on runs of the three families, and what follows from them.

    python benchmarks/explain.py --out runs/explain                        trains the three, then analyses them
    python benchmarks/explain.py --out runs/explain --only train           the first part alone
    python benchmarks/explain.py --out runs/explain --epochs 20 --seed 1   longer, and with other noise

Epochs and seed are fixed, so that the result does not depend on how busy the machine is. An interrupted run is resumed,
and an analysis whose file exists is not repeated. Each analysis leaves its figures (.html) and all its values (.json)
beside the runs, and prints those that docs/explain.md quotes. With Chromium, `--pictures` draws the figures as PNG.
"""

import argparse
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import describe

import convwright as cw
from convwright.display.figure_result import FigureResult, JoinedResult

NETWORKS = {
    "densenet": "densenet_bc_l22_k12",
    "seresnet": "cifar_seresnet14",
    "efficientnet": "efficientnet_b0|scale:d=0.3,w=0.25",
}
SHARES = (0.05, 0.1, 0.2, 0.4)


def reuse(run: cw.Run) -> FigureResult:
    """Measure feature reuse, and the cost of cutting connections."""
    found = run.explain.reuse()
    return JoinedResult(found, found.prune(SHARES, draws=2))


def excitation(run: cw.Run) -> FigureResult:
    """Measure excitations, and the cost of dropping them by stages."""
    found = run.explain.excitations()
    return JoinedResult(found, found.drop("stages"))


def blocks(run: cw.Run) -> FigureResult:
    """Measure excitations, and the cost of dropping them by blocks."""
    found = run.explain.excitations()
    return JoinedResult(found, found.drop("blocks"))


ANALYSES: dict[str, tuple[tuple[str, ...], Callable[[cw.Run], FigureResult]]] = {
    "reuse": (("densenet",), reuse),
    "excitation": (("seresnet", "efficientnet"), excitation),
    "blocks": (("seresnet", "efficientnet"), blocks),
}
"""Names of the runs, and the analysis."""
PICTURES = {
    "densenet-reuse": (1240, 1100),
    "seresnet-excitation": (1240, 1200),
    "efficientnet-excitation": (1240, 1200),
}
"""The upper part of these pages, in pixels."""


def trained(name: str, data: str, path: Path, epochs: float, seed: int) -> cw.Run:
    """Train a run, resume it, or open it if it is finished."""
    if (path / "config.yaml").exists():
        return cw.resume(path)
    return cw.train(data, network=name, recipe="fast", epochs=epochs, seed=seed, out=path)


def analysed(run: Path, kind: str) -> dict[str, Any]:
    """Analyse a run, unless the analysis exists, and return its values."""
    values, page = (run.with_name(f"{run.name}-{kind}.{suffix}") for suffix in ("json", "html"))
    if not values.exists():
        result = ANALYSES[kind][1](cw.open_run(run))
        result.save_html(page)
        values.write_text(result.to_json(indent=1), encoding="utf-8")
    found: dict[str, Any] = json.loads(values.read_text(encoding="utf-8"))
    return found


def reuse_lines(values: dict[str, Any]) -> Iterator[str]:
    """Yield the quoted values of feature reuse."""
    for block in values["blocks"]:
        late = block["late_over_early"]
        yield (
            f"{block['name']}: lowest {block['lowest']:.2f}, mean {block['mean']:.2f}, input {block['input']:.2f}, "
            f"late / early {late:.2f}"
        )
    for step in values["prune"]:
        random = [cut["accuracy"] for cut in step["random"]]
        spread = f", at random {min(random):.2%} to {max(random):.2%}" if random else ""
        yield (
            f"{step['share']:.0%} cut: {_accuracy(step)}{spread}; "
            f"{step['params_saved']:,} parameters and {step['macs_saved']:,} MACs saved"
        )


def excitation_lines(values: dict[str, Any]) -> Iterator[str]:
    """Yield the quoted values of excitations."""
    for block in values["blocks"]:
        yield (
            f"{block['name']}: class-specific {block['specificity']:.2f}, saturated {block['saturation']:.0%}, "
            f"spread {block['spread']:.3f}, variation {block['variation']:.3f}"
        )
    for step in values["drop"]:
        inexact = f", {len(step['inexact'])} not exact" if step["inexact"] else ""
        yield (
            f"step {step['step']} ({step['without']}): {_accuracy(step)}, {step['params']:,} parameters "
            f"(+{step['over_none']:.2%} over no SE), {step['macs']:,} MACs{inexact}"
        )


def _accuracy(step: dict[str, Any]) -> str:
    low, high = step["interval"]
    text = f"{step['accuracy']:.2%} ({low:.2%} to {high:.2%})"
    if step["change"] is None:
        return text
    low, high = (100 * bound for bound in step["change_interval"])
    return f"{text}, change {100 * step['change']:+.2f} ({low:+.2f} to {high:+.2f}) points"


LINES: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "reuse": reuse_lines,
    "excitation": excitation_lines,
    "blocks": excitation_lines,
}


def draw(page: Path, width: int, height: int) -> None:
    """Draw the upper part of a page with Chromium as a PNG file beside it."""
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
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=["train", *ANALYSES], default=["train", *ANALYSES])
    parser.add_argument("--runs", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--pictures", action="store_true", help="draw the figures as PNG too (Chromium)")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    for folder in options.runs:
        run = options.out / folder
        if "train" in options.only:
            summary = trained(NETWORKS[folder], options.data, run, options.epochs, options.seed).summary
            print(
                f"{summary.network}: {summary.val_accuracy:.2%} validation accuracy after {summary.epochs:g} epochs",
                flush=True,
            )
        for kind in options.only:
            if kind in ANALYSES and folder in ANALYSES[kind][0]:
                print(f"\n{folder}, {kind}")
                print("\n".join(LINES[kind](analysed(run, kind))), flush=True)
                if options.pictures and (size := PICTURES.get(f"{folder}-{kind}")):
                    draw(run.with_name(f"{folder}-{kind}.html"), *size)


if __name__ == "__main__":
    main()
