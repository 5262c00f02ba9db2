"""Plain `train --data X` beside timm, fastai and Ultralytics, in equal processor time of one core.

    python benchmarks/defaults.py --seconds 100 600
    python benchmarks/defaults.py --seconds 100 --data emoji --only ours timm

Data sets, the same image files for all: emoji, stamps and Fashion-MNIST, as `image_sets.py` describes them.

Contenders, each in an environment of its own (`OUT/env-NAME`, made with pip), in a process of its own on one core:

- ours: `train --data X --minutes M` without any other choice.
- timm: ResNet-18 from scratch at 64 px (28 for Fashion-MNIST), timm's optimizer, schedule, loader and augmentation.
- fastai: `vision_learner(resnet18).fit_one_cycle` from scratch, with its usual augmentation.
- Ultralytics: `YOLO("yolo11n-cls.yaml").train`.

The others download pretrained weights from the internet, which the machine lacks; ours come with the installation.
Their number of epochs is what fits: runs of one and two epochs are measured first. Time is that of the processor, of
the whole process from start to end without the predictions of test images, so that other programs on the machine do not
count; but `minutes` of ours are those of a clock, so that a busy machine gives it less. Predictions of every test image
are kept in `OUT/results.json`; what is there is not run again. Differences are paired, with 95 % intervals. Nothing is
chosen by test images.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from image_sets import prepared, tested
from timm_recipe import train as train_as_timm

PACKAGES = {"timm": ("timm",), "fastai": ("fastai",), "ultralytics": ("ultralytics",)}
SIDE, BATCH = {"emoji": 64, "stamps": 64, "fashion-mnist": 28}, 64
RESERVE = 0.85
"""Share of the seconds that ours gets as `minutes`; opening the data and starting take the rest."""


def ours(folder: Path, side: int, length: float, out: Path) -> tuple[float, list[str]]:
    """Train without choices for this many seconds; return seconds of the processor, and predictions."""
    import convwright as cw

    run = cw.train(folder, minutes=RESERVE * length / 60, out=out / "run", progress=False)
    spent = time.process_time()
    print(json.dumps(json.loads((run.path / "advice.json").read_text(encoding="utf-8"))), file=sys.stderr)
    predictions = run.predict([str(file) for file in tested(folder)[0]])
    return spent, [each.label for each in predictions]


def timm(folder: Path, side: int, length: float, out: Path) -> tuple[float, list[str]]:
    """Train timm's ResNet-18 for this many epochs."""
    import torch
    from timm import create_model
    from timm.data import create_dataset, create_loader

    data = create_dataset("", root=str(folder / "train"))
    names = sorted(data.reader.class_to_idx, key=data.reader.class_to_idx.get)
    common = {"input_size": (3, side, side), "batch_size": BATCH, "use_prefetcher": False, "num_workers": 0}
    loader = create_loader(data, is_training=True, color_jitter=0.4, interpolation="random", **common)
    module = create_model("resnet18", num_classes=len(names))
    train_as_timm(module, loader, round(length), 0.05 * BATCH / 128)
    spent = time.process_time()
    module.eval()
    test = create_loader(create_dataset("", root=str(folder / "test")), is_training=False, crop_pct=1.0, **common)
    with torch.inference_mode():
        found = [label for images, _ in test for label in module(images).argmax(1).tolist()]
    order = [str(path) for path in test.dataset.filenames(absolute=True)]
    predicted = dict(zip(order, (names[label] for label in found), strict=True))
    return spent, [predicted[str(file)] for file in tested(folder)[0]]


def fastai(folder: Path, side: int, length: float, out: Path) -> tuple[float, list[str]]:
    """Train fastai's vision_learner for this many epochs."""
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, resnet18, vision_learner

    loaders = ImageDataLoaders.from_folder(
        folder / "train",
        valid_pct=0.1,
        seed=0,
        item_tfms=Resize(side),
        batch_tfms=aug_transforms(),
        bs=BATCH,
        num_workers=0,
    )
    learner = vision_learner(loaders, resnet18, pretrained=False, path=out)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(round(length))
        spent = time.process_time()
        files = tested(folder)[0]
        scores, _ = learner.get_preds(dl=loaders.test_dl(files))
    return spent, [str(loaders.vocab[label]) for label in scores.argmax(1).tolist()]


def ultralytics(folder: Path, side: int, length: float, out: Path) -> tuple[float, list[str]]:
    """Train Ultralytics' smallest classifier for this many epochs; a tenth of the training images validate."""
    from ultralytics import YOLO

    split = out / "split"
    for number, file in enumerate(sorted((folder / "train").glob("*/*"))):
        target = split / ("val" if number % 10 == 0 else "train") / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(file)
    model = YOLO("yolo11n-cls.yaml")
    common = {"imgsz": max(32, side), "batch": BATCH, "device": "cpu", "verbose": False}
    model.train(data=str(split), epochs=round(length), workers=0, project=str(out), name="run", **common)
    spent = time.process_time()
    files = tested(folder)[0]
    found = [each for file in files for each in model.predict(str(file), **common)]
    return spent, [each.names[each.probs.top1] for each in found]


CONTENDERS = {"ours": ours, "timm": timm, "fastai": fastai, "ultralytics": ultralytics}


def python_of(name: str, out: Path) -> Path:
    """Return the Python of a contender, in an environment that is made once."""
    if name == "ours":
        return Path(sys.executable)
    folder = out / f"env-{name}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        torch = [f"{package}=={version(package)}" for package in ("torch", "torchvision")]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *torch, *PACKAGES[name]], check=True)
        (folder / "ready").touch()
    return python


def run(name: str, data: str, length: float, options: argparse.Namespace) -> dict[str, Any]:
    """Run a contender in a process of its own on one core; return seconds and predictions."""
    folder = prepared(data, options.out).absolute()
    scratch = (options.out / "scratch" / f"{name}-{data}-{length:g}").absolute()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | threads | {"YOLO_OFFLINE": "1", "XDG_CACHE_HOME": str(scratch / "cache")}
    command = [python_of(name, options.out).absolute(), Path(__file__).absolute()]
    command += ["--child", name, data, str(length), str(folder), str(scratch)]
    subprocess.run([*map(str, command)], check=True, env=environment, cwd=scratch)
    found: dict[str, Any] = json.loads((scratch / "result.json").read_text(encoding="utf-8"))
    shutil.rmtree(scratch, ignore_errors=True)
    print(f"{name}, {data}: {found['seconds']:.0f} s of the processor, {found['accuracy']:.2%}", flush=True)
    return found


def child(name: str, data: str, length: str, folder: str, scratch: str) -> None:
    """Train in this process and write the result."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    seconds, predicted = CONTENDERS[name](Path(folder), SIDE[data], float(length), Path(scratch))
    truth = tested(Path(folder))[1]
    right = [one == other for one, other in zip(predicted, truth, strict=True)]
    found = {"seconds": seconds, "length": float(length), "accuracy": sum(right) / len(right), "predicted": predicted}
    (Path(scratch) / "result.json").write_text(json.dumps(found), encoding="utf-8")


def epochs_in(seconds: float, one: dict[str, Any], two: dict[str, Any]) -> int:
    """Return how many epochs fit into a time, from runs of one and two epochs."""
    epoch = max(two["seconds"] - one["seconds"], 1e-3)
    return max(1, int(1 + (seconds - one["seconds"]) / epoch))


def measure(name: str, data: str, seconds: float, results: dict[str, Any], options: argparse.Namespace) -> None:
    """Run what results lack for a row, and keep each run."""

    def kept(key: str, length: float) -> dict[str, Any]:
        if key not in results:
            results[key] = run(name, data, length, options)
            write(results, options.out / "results.json")
        found: dict[str, Any] = results[key]
        return found

    length: float = seconds
    if name != "ours":
        length = epochs_in(seconds, kept(f"{name}/{data}/1 epoch", 1), kept(f"{name}/{data}/2 epochs", 2))
    kept(f"{name}/{data}/{seconds:g} s", length)


def write(results: dict[str, Any], path: Path) -> None:
    """Replace the file of results at once."""
    half = path.with_suffix(".half")
    half.write_text(json.dumps(results) + "\n", encoding="utf-8")
    half.replace(path)


def show(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Print the accuracies, with the paired difference of ours to each."""
    from convwright.stats.paired import agresti_min

    print("| data | seconds | contender | processor | test accuracy | ours is better by (95 %) |")
    print("|---|---|---|---|---|---|")
    for data in options.data:
        for seconds in options.seconds:
            own = results.get(f"ours/{data}/{seconds:g} s")
            truth = tested(prepared(data, options.out))[1]
            for name in CONTENDERS:
                row = results.get(f"{name}/{data}/{seconds:g} s")
                if row is None:
                    continue
                better = ""
                if own is not None and name != "ours":
                    pairs = [
                        (a == t, b == t) for a, b, t in zip(own["predicted"], row["predicted"], truth, strict=True)
                    ]
                    first, second = pairs.count((True, False)), pairs.count((False, True))
                    low, high = agresti_min(first, second, len(truth))
                    better = f"{(first - second) / len(truth):+.1%} ({low:+.1%} to {high:+.1%})"
                cells = (data, f"{seconds:g}", name, f"{row['seconds']:.0f} s", f"{row['accuracy']:.2%}", better)
                print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/defaults"))
    parser.add_argument("--seconds", type=float, nargs="+", default=[100.0], help="of one core, for each row")
    parser.add_argument("--data", nargs="+", choices=SIDE, default=[*SIDE])
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=[*CONTENDERS])
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    from machine import describe

    print(f"{describe()}; one core for each contender", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for data in options.data:
        for seconds in options.seconds:
            for name in options.only:
                try:
                    measure(name, data, seconds, results, options)
                except subprocess.CalledProcessError as error:
                    print(f"{name}, {data}: failed with status {error.returncode}", flush=True)
    show(results, options)


if __name__ == "__main__":
    main()
