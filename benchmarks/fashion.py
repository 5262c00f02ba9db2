"""Fashion-MNIST from scratch in little time: `fast`, chosen on validation images, measured once on test images.

    python benchmarks/fashion.py --out runs/fashion            20 minutes of two cores, three seeds
    python benchmarks/fashion.py --out runs/fashion --families   accuracy against minutes, a network of each family

Epochs, not minutes, are fixed, so that the result does not depend on how busy the machine is: EPOCHS is what 20
minutes allow on two idle cores (`--speed` measures it). Runs can be interrupted; the same command goes on. Every run
is measured on the test images when it has ended, and noted in results.json.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import mean, median

import torch
from machine import describe

import convwright as cw
from convwright.arch import at, fit_resolution
from convwright.data import Dataset, open_dataset
from convwright.training.assessment import assess
from convwright.training.loop import make_learner, resume, train, training_batches
from convwright.training.plan import plan
from convwright.training.predictor import load
from convwright.training.run import Run
from convwright.training.views import AS_IT_IS, views_of

NETWORK, EPOCHS, CROP = "cifar_resnet14", 25.0, 2
FAMILIES = {
    "DenseNet-BC": ("densenet_bc_l22_k12", (1, 2.5, 6)),
    "SE-ResNet": ("cifar_seresnet14", (3, 8, 20)),
    "EfficientNet": ("efficientnet_b0|scale:d=0.3,w=0.25", (3, 8, 20)),
}
SPEED_STEPS = 30


def trained(name: str, epochs: float, seed: int, path: Path, data: Dataset) -> dict[str, object]:
    """Train, or go on, or take what is there; return what came out on the test images."""
    config, network = plan(data, cw.network(name), name="fast", recipe={"crop": CROP}, epochs=epochs, seed=seed)
    if (path / "config.yaml").exists():
        resume(Run.open(path), data)
    else:
        train(config, network, data, path)
    run = Run.open(path)
    result = {}
    for kind, views in (("accuracy", AS_IT_IS), ("with --tta", views_of(run.config.recipe))):
        result[kind] = assess(load(path), data, [data.test], views=views).accuracy if data.test else float("nan")
    summary = run.summary
    told = {name: summary[name] for name in ("params", "macs", "epochs", "val_accuracy", "train_seconds", "threads")}
    return {"network": network.name, "seed": seed, **told, **result}


def speed(name: str, data: Dataset) -> float:
    """Return the seconds of an epoch: the mean over steps spread over a run, since its images grow."""
    config, network = plan(data, cw.network(name), name="fast", recipe={"crop": CROP})
    learner, batches = make_learner(config, network, data), training_batches(config, data)
    times = []
    for step in range(-3, SPEED_STEPS):
        started = time.perf_counter()
        learner.learn(*batches.at(max(0, step)), max(0, step), SPEED_STEPS)
        times.append(time.perf_counter() - started)
    return mean(times[3:]) * batches.steps_per_epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/fashion-benchmark"), help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--families", action="store_true", help="accuracy against minutes")
    parser.add_argument("--speed", action="store_true", help="only measure the seconds of an epoch")
    options = parser.parse_args()
    print(f"{describe()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    data = open_dataset("fashion-mnist")
    if options.speed:
        for name in (NETWORK, *(name for name, _ in FAMILIES.values())):
            network = at(fit_resolution(cw.network(name), 28), channels=1, classes=10)
            cost = cw.cost(network)
            took = speed(name, data)
            print(
                f"{name:40} {cost.params:9,} parameters {cost.macs / 1e6:6.1f} M MACs {took:7.1f} s an epoch",
                flush=True,
            )
        return
    wanted = [(NETWORK, options.epochs, seed, f"seed{seed}") for seed in options.seeds]
    if options.families:
        wanted = [
            (name, epochs, 0, f"{family}-{epochs:g}") for family, (name, many) in FAMILIES.items() for epochs in many
        ]
    rows = []
    for name, epochs, seed, folder in wanted:
        rows.append(trained(name, epochs, seed, options.out / folder, data))
        print(json.dumps(rows[-1]), flush=True)
        (options.out / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if not options.families:
        accuracies = [float(row["accuracy"]) for row in rows]  # type: ignore[arg-type]
        print(
            f"test accuracy: median {median(accuracies):.2%}, least {min(accuracies):.2%}, most {max(accuracies):.2%}"
        )


if __name__ == "__main__":
    main()
