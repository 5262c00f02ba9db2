"""How long until 93 % and 94 % of Fashion-MNIST's test images are right, against what people would use instead.

    python benchmarks/time_to_accuracy.py --keras /path/to/python/with/tensorflow
    python benchmarks/time_to_accuracy.py --only timm --threads 1

Contenders, each in a process of its own, one after the other on the same cores:

- ours: `cifar_resnet14` by the recipe `fast`, as `benchmarks/fashion.py` trains it, for several numbers of epochs.
- timm: ResNet-18 (at 28 px about as many multiply-adds as ours) with the defaults of timm's training script: SGD with
  Nesterov momentum, 0.05 for 128 images, cosine schedule after a sixth of warm-up, label smoothing 0.1, random resized
  crops of 8 to 100 % of the area, flips, colour jitter; for 10 and 30 epochs, since its 300 would take hours.
  "crops" has crops of 64 to 100 %, which suit such images better.
- Keras: the network of its documentation's first example (two convolutions, two pools, dropout, one dense layer; Adam,
  128 images a step), for its 15 epochs.

Seconds are those of training alone: the clock stands still while the test images are looked at, once an epoch (ours at
the end of a run only). A target counts as reached the first time that the test accuracy is there; nothing is chosen by
it. `--precision bf16-mixed` is for ours and timm alike. One seed. What has ended is noted in the folder's results, and
not run again; delete them to have all in one run.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = (0.93, 0.94)
OURS, TIMM, KERAS = (8, 30, 50), (10, 30), 15
"""Epochs."""
BATCH, SEED = 128, 0
DATA = Path("/usr/share/datasets/fashion-mnist")
Progress = Iterator[tuple[int, float, float]]
"""Epochs done, seconds of training so far, accuracy on the test images."""


def images(train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Read the files of Debian's package dataset-fashion-mnist, with what every contender's Python has."""
    import gzip

    name = "train" if train else "t10k"
    with gzip.open(DATA / f"{name}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(DATA / f"{name}-labels-idx1-ubyte.gz") as file:
        return pixels, np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)


def ours(epochs: int, options: argparse.Namespace) -> Progress:
    """Train one run of this many epochs; 54,000 images, since the others validate."""
    import fashion

    from convwright.data import open_dataset

    job = fashion.Job(fashion.NETWORK, epochs, SEED, options.precision)
    row = job.run(options.out / f"runs-{options.threads}-threads", open_dataset("fashion-mnist"))
    yield epochs, row["train_seconds"], row["test"]


def timm(epochs: int, crops: float, options: argparse.Namespace) -> Progress:
    """Train as timm's script does by default, with timm's own loader, optimizer, schedule and loss."""
    import torch
    from PIL import Image
    from timm import create_model
    from timm.data import create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from torch.utils.data import Dataset

    class Pictures(Dataset):
        def __init__(self, train: bool) -> None:
            self.pixels, self.labels = images(train)
            self.transform: Callable[[Any], Any] | None = None

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            assert self.transform is not None
            return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])

    torch.manual_seed(SEED)
    module = create_model("resnet18", in_chans=1, num_classes=10)
    common = {
        "input_size": (1, 28, 28),
        "batch_size": BATCH,
        "use_prefetcher": False,
        "mean": (0.286,),
        "std": (0.353,),
    }
    train = create_loader(
        Pictures(True), is_training=True, interpolation="random", color_jitter=0.4, num_workers=options.threads,
        scale=(crops, 1.0), **common,
    )  # fmt: skip
    test = create_loader(Pictures(False), is_training=False, interpolation="bilinear", crop_pct=1.0, **common)
    optimizer = create_optimizer_v2(module, opt="sgd", lr=0.05, momentum=0.9, weight_decay=2e-5)
    warming = {"warmup_epochs": epochs // 6, "warmup_lr": 1e-5}
    schedule, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=epochs, min_lr=0.0, cooldown_epochs=0, **warming)
    loss_of, spent = LabelSmoothingCrossEntropy(0.1), 0.0
    half = options.precision == "bf16-mixed"
    for epoch in range(epochs):
        schedule.step(epoch)
        module.train()
        started = time.perf_counter()
        for batch, labels in train:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = loss_of(module(batch), labels)
            loss.backward()
            optimizer.step()
        spent += time.perf_counter() - started
        module.eval()
        with torch.inference_mode():
            right = sum(int((module(batch).argmax(1) == labels).sum()) for batch, labels in test)
        yield epoch + 1, spent, right / len(test.dataset)


def keras(options: argparse.Namespace) -> Progress:
    """Train the network of Keras' first example."""
    import keras as k

    k.utils.set_random_seed(SEED)
    (pixels, labels), (others, truth) = (images(train) for train in (True, False))
    pixels, others = (array[..., None].astype(np.float32) / 255 for array in (pixels, others))
    network = k.Sequential([k.Input((28, 28, 1))])
    for filters in (32, 64):
        network.add(k.layers.Conv2D(filters, 3, activation="relu"))
        network.add(k.layers.MaxPooling2D(2))
    for layer in (k.layers.Flatten(), k.layers.Dropout(0.5), k.layers.Dense(10, activation="softmax")):
        network.add(layer)
    network.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    spent = 0.0
    for epoch in range(KERAS):
        started = time.perf_counter()
        network.fit(pixels, labels, batch_size=BATCH, epochs=1, verbose=0)
        spent += time.perf_counter() - started
        yield epoch + 1, spent, network.evaluate(others, truth, batch_size=1000, verbose=0)[1]


def contenders(options: argparse.Namespace) -> dict[str, Callable[[], Progress]]:
    """Return how each is trained, by name."""
    how = f"{options.precision}, {options.threads} threads"
    found: dict[str, Callable[[], Progress]] = {}
    for epochs in OURS:
        found[f"ours, {epochs} epochs, {how}"] = partial(ours, epochs, options)
    for epochs in TIMM:
        for label, crops in (("", 0.08), (" crops", 0.64)):
            found[f"timm{label}, {epochs} epochs, {how}"] = partial(timm, epochs, crops, options)
    return found | {f"keras, {KERAS} epochs, 32-true, {options.threads} threads": partial(keras, options)}


def child(name: str, options: argparse.Namespace) -> None:
    """Train one contender in this process, and print a line of JSON an epoch."""
    if not name.startswith("keras"):
        import torch

        torch.set_num_threads(options.threads)
    for epoch, seconds, accuracy in contenders(options)[name]():
        print(json.dumps({"epoch": epoch, "seconds": round(seconds, 2), "accuracy": accuracy}), flush=True)


def run(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train one contender in a process of its own, which has this many threads and cores; return its lines."""
    python = options.keras if name.startswith("keras") else sys.executable
    arguments = [str(python), __file__, "--child", name, "--out", options.out, "--precision", options.precision]
    arguments += ["--threads", options.threads]
    threads = {key: str(options.threads) for key in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    environment = os.environ | threads | {"TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    rows = []
    with subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                rows.append(json.loads(line))
                print(
                    f"{name}: epoch {rows[-1]['epoch']}, {rows[-1]['seconds']:.0f} s, {rows[-1]['accuracy']:.2%}",
                    flush=True,
                )
    if process.returncode:
        sys.exit(f"{name} failed")
    return rows


def until(rows: list[dict[str, Any]], target: float) -> float:
    """Return the seconds until an accuracy was reached first; infinite if it was not."""
    return min((row["seconds"] for row in rows if row["accuracy"] >= target), default=math.inf)


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print when each reached the targets, and how many times as long as the first of ours that is."""
    titles = [cell for target in TARGETS for cell in (f"{target:.0%}", "against ours")]
    print(f"| contender | {' | '.join(titles)} | minutes in all | best | last |")
    print("|---" * (len(titles) + 4) + "|")
    for name, rows in results.items():
        cells = []
        for target in TARGETS:
            best = min((until(r, target) for n, r in results.items() if n.startswith("ours")), default=math.inf)
            took = until(rows, target)
            cells.append(f"{took / 60:.1f} min" if took < math.inf else "not reached")
            cells.append(f"{took / best:.1f}" if max(took, best) < math.inf else "")
        accuracies = [row["accuracy"] for row in rows]
        cells += [f"{rows[-1]['seconds'] / 60:.1f}", f"{max(accuracies):.2%}", f"{accuracies[-1]:.2%}"]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-accuracy"))
    parser.add_argument("--only", nargs="+", help="contenders whose names begin so: ours, timm, keras")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="bf16-mixed", help="of ours and timm's; or 32-true")
    parser.add_argument("--keras", type=Path, default=Path(sys.executable), help="a Python that has tensorflow")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options)
        return
    from machine import describe

    if not DATA.is_dir():
        sys.exit(f"there is no {DATA}: install Debian's package dataset-fashion-mnist")
    print(f"{describe()}; {options.threads} threads each", flush=True)
    path = options.out / "results.json"
    options.out.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in contenders(options):
        if name not in results and (not options.only or any(name.startswith(one) for one in options.only)):
            results[name] = run(name, options)
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results)


if __name__ == "__main__":
    main()
