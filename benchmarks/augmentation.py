"""What augmentation and class balance bring, in equal processor time: `python benchmarks/augmentation.py`.

    python benchmarks/augmentation.py --seconds 100
    python benchmarks/augmentation.py --data emoji=FOLDER stamps=/usr/share/tuxpaint/stamps --only plain mixup --seeds 3

Each variant is the default augmentation (`plain`: shifts, and mirrored images where these keep their class) with one
option changed. A run has as many epochs as fit into the seconds: 20 steps are timed first, so that a dearer variant has
fewer epochs. Every run is a process of its own on one thread; the time is that of the processor, so that other programs
on the machine do not count. The network is cifar_seresnet14 with the recipe `fast`, at 32 px, 28 for Fashion-MNIST.

Of data without test images a fifth becomes test images (`cw.split`, with copies on one side). Predictions of every test
image are kept in OUT/results.json, and what is there is not run again. Differences to `plain` are paired over images
and seeds, with 95 % intervals. `by class` gives every class the same weight.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import describe

VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"flip": False, "crop": 0},
    "plain": {},
    "random resized crops": {"crop_scale": 0.35},
    "rotation": {"rotation": 15},
    "colour jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05},
    "RandAugment": {"randaugment": 9},
    "TrivialAugment": {"trivialaugment": True},
    "erasing": {"erasing": 0.25},
    "mixup": {"mixup": 0.2},
    "CutMix": {"cutmix": 1.0},
    "balanced sampling": {"sampling": "balanced"},
    "balanced weights": {"class_weights": "balanced"},
    "effective weights": {"class_weights": "effective"},
    "focal loss": {"focal": 2.0},
    "pad": {"resize": "pad"},
    "squash": {"resize": "squash"},
}
"""Fields of the request that differ from `plain`."""
NETWORK, RECIPE, SIDE = "cifar_seresnet14", "fast", 32
OWN_SIDE = ("fashion-mnist", "digits")
"""Sources that are trained on at their own resolution."""
TIMED_STEPS, WARM_UP_STEPS = 20, 3
SHARES = (0.7, 0.1, 0.2)
"""Training, validation and test images of data without test images."""


def run(data: str, variant: str, seed: int, seconds: float, out: Path) -> dict[str, Any]:
    """Train one variant for so many seconds of the processor; return its predictions of the test images."""
    import torch

    import convwright as cw
    from convwright.prediction.network import load
    from convwright.training.preparation import make_learner, training_batches
    from convwright.training.process_state import preserved_process_state
    from convwright.training.run import Run
    from convwright.training.run_data import open_run_data

    torch.set_num_threads(1)
    side = None if data in OWN_SIDE else SIDE
    request = cw.TrainRequest(
        data=data, network=NETWORK, recipe=RECIPE, resolution=side, seed=seed, epochs=1, out=out, **VARIANTS[variant]
    )
    plan = cw.prepare(request, progress=False)
    with preserved_process_state():
        learner, batches = make_learner(plan.config, plan.network, plan.data), training_batches(plan.config, plan.data)
        learner.train()
        for step in range(WARM_UP_STEPS + TIMED_STEPS):
            if step == WARM_UP_STEPS:
                started = time.process_time()
            # Spread over the run, since the images of the recipe grow.
            at = step * 10**4
            learner.train_step(*batches.at(step), at, (WARM_UP_STEPS + TIMED_STEPS) * 10**4)
    epoch = (time.process_time() - started) / TIMED_STEPS * batches.steps_per_epoch
    started = time.process_time()
    made = cw.train(request.changed(epochs=round(max(seconds / epoch, 0.1), 2)), progress=False)
    spent = time.process_time() - started
    images = open_run_data(Run.open(made.path)).test
    predictor = load(made.path)
    parts = torch.arange(len(images)).split(256)
    predicted = torch.cat([predictor.logits(images.take(rows)).argmax(1) for rows in parts])
    return {
        "epochs": made.config.epochs,
        "seconds": spent,
        "labels": images.labels.tolist(),
        "predicted": predicted.tolist(),
    }


def with_test_images(spec: str, name: str, out: Path) -> str:
    """Return data that has test images, as a list where they must be split off first."""
    import convwright as cw

    if spec in OWN_SIDE or "test" in cw.survey(spec).splits:
        return spec
    made = out / f"{name}.csv"
    if not made.exists():
        cw.split(spec, SHARES, seed=0, out=made)
    return str(made)


def table(results: dict[str, Any], data: str, seeds: int) -> None:
    """Print the variants of one data set, the plain one first."""
    from convwright.stats.intervals import wilson
    from convwright.stats.paired import PairedCounts

    rows: dict[str, list[dict[str, Any]]] = {}
    for variant in VARIANTS:
        found = [results.get(f"{data}|{variant}|{seed}") for seed in range(seeds)]
        if all(found):
            rows[variant] = found  # type: ignore[assignment]
    print(f"\n{data}, {seeds} seed{'s' * (seeds > 1)}")
    heads = f"{'accuracy':>9} {'95 % interval':>15} {'by class':>9}  against plain"
    print(f"{'variant':22} {'epochs':>7} {'seconds':>8} {heads}")
    for variant, runs in rows.items():
        labels, right = [], []
        for one in runs:
            labels += one["labels"]
            right += [a == b for a, b in zip(one["labels"], one["predicted"], strict=True)]
        low, high = wilson(sum(right), len(right))
        shares = [_share(right, labels, label) for label in sorted(set(labels))]
        against = ""
        if "plain" in rows and variant != "plain":
            plain = [a == b for one in rows["plain"] for a, b in zip(one["labels"], one["predicted"], strict=True)]
            both = list(zip(right, plain, strict=True))
            paired = PairedCounts(both.count((True, False)), both.count((False, True)), len(both))
            least, most = paired.interval
            against = f"{100 * paired.difference:+.1f} ({100 * least:+.1f} to {100 * most:+.1f})"
        epochs, seconds = (sum(one[key] for one in runs) / len(runs) for key in ("epochs", "seconds"))
        print(
            f"{variant:22} {epochs:7.1f} {seconds:8.0f} {100 * sum(right) / len(right):9.1f} "
            f"{100 * low:6.1f} to {100 * high:5.1f} {100 * sum(shares) / len(shares):9.1f}  {against}"
        )


def _share(right: list[bool], labels: list[int], label: int) -> float:
    of_class = [good for good, each in zip(right, labels, strict=True) if each == label]
    return sum(of_class) / len(of_class)


def main() -> None:
    """Run what is not in the results yet, and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=["fashion-mnist", "stamps=/usr/share/tuxpaint/stamps"])
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=[*VARIANTS], default=[*VARIANTS])
    parser.add_argument("--out", type=Path, default=Path("runs/augmentation"))
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a process of one run
    given = parser.parse_args()
    if given.one:
        data, variant, seed, folder = json.loads(given.one)
        print(json.dumps(run(data, variant, seed, given.seconds, Path(folder))))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "results.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if results.setdefault("seconds", given.seconds) != given.seconds:
        parser.error(f"{file} has runs of {results['seconds']:g} seconds; give another --out")
    print(describe())
    for each in given.data:
        name, _, spec = each.rpartition("=")
        name = name or spec
        split = with_test_images(spec, name, given.out)
        for seed in range(given.seeds):
            for variant in given.only:
                key = f"{name}|{variant}|{seed}"
                if key in results:
                    continue
                folder = given.out / "runs" / "-".join(key.replace("|", " ").split())
                shutil.rmtree(folder, ignore_errors=True)
                one = json.dumps([split, variant, seed, str(folder)])
                command = [sys.executable, __file__, "--seconds", str(given.seconds), "--one", one]
                done = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
                )
                results[key] = json.loads(done.stdout.splitlines()[-1])
                half = file.with_suffix(".half")
                half.write_text(json.dumps(results), encoding="utf-8")
                half.replace(file)
        table(results, name, given.seeds)


if __name__ == "__main__":
    main()
