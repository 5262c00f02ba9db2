"""`convwright train`: a network from images to a run directory."""

from math import inf, isfinite
from pathlib import Path
from typing import Annotated

import typer

from convwright.cli import train_options as options
from convwright.cli.option_names import naming, naming_fields, option_names
from convwright.cli.output import echo, print_json
from convwright.cli.runs import AUTO, DEFAULT_NETWORK, Asked, go_on, start
from convwright.errors import UsageError
from convwright.printable import printable, quoted


def train(
    data: Annotated[
        str | None,
        typer.Option(help="A folder with a sub-folder per class, or fashion-mnist, cifar10, cifar100, digits."),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help=f"A network's name or expression; {DEFAULT_NETWORK} by default.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training images, 10 by default; 0.5 will do.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Instead of --epochs: as many as fit into this time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes weights, order, augmentation and noise.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory to make; runs/NETWORK-DATA by default.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Images a step, 128 or fewer by default; auto: as many as fit into memory.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the images in pixels; theirs by default.")] = None,
    val_share: Annotated[float | None, typer.Option(help="Share of the training images to validate on.")] = None,
    max_bad: Annotated[
        float | None, typer.Option(help="Share of the files that may be unreadable (they are skipped), 0.1 by default.")
    ] = None,
    cache_gb: Annotated[
        float | None, typer.Option(help="Most that decoded images may take on disk, 20 by default; 0: keep none.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Processes that share each batch: GPUs, or parts of a CPU; 1 by default.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that make batches ahead; 0: none.")] = 0,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Minutes between checkpoints; there is one at each validation too.")
    ] = 5.0,
    precision: Annotated[str | None, typer.Option(help="32-true or bf16-mixed.")] = None,
    fused: options.Fused = None,
    memory_efficient: options.MemoryEfficient = None,
    fit: Annotated[bool, typer.Option(help="Drop the network's early strides for small images.")] = True,
    recipe: options.RecipeName = None,
    learning_rate: options.LearningRate = None,
    find_lr: options.FindLr = False,
    optimizer: options.Optimizer = None,
    momentum: options.Momentum = None,
    nesterov: options.Nesterov = None,
    weight_decay: options.WeightDecay = None,
    schedule: options.Schedule = None,
    milestones: options.Milestones = None,
    warm_up: options.WarmUp = None,
    label_smoothing: options.LabelSmoothing = None,
    class_weights: options.ClassWeights = None,
    accumulate: options.Accumulate = None,
    clip_norm: options.ClipNorm = None,
    ema: options.Ema = None,
    progressive: options.Progressive = None,
    norm_momentum: options.NormMomentum = None,
    dropout: options.Dropout = None,
    stochastic_depth: options.StochasticDepth = None,
    patience: options.Patience = None,
    crop: options.Crop = None,
    flip: options.Flip = None,
    randaugment: options.RandAugment = None,
    erasing: options.Erasing = None,
    mixup: options.Mixup = None,
    cutmix: options.CutMix = None,
    weights: options.Weights = None,
    freeze: options.Freeze = None,
    backbone_rate: options.BackboneRate = None,
    tensorboard: options.TensorBoard = False,
    mlflow: options.MLflow = None,
    config: Annotated[Path | None, typer.Option(help="Repeat a run by its config.yaml; other options win.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run where it stopped.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train a network on images; the best weights by validation accuracy end up in the run directory."""
    fields = {
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "milestones": tuple(milestones) if milestones else None,
        "warm_up": warm_up,
        "label_smoothing": label_smoothing,
        "class_weights": class_weights,
        "accumulate": accumulate,
        "clip_norm": clip_norm,
        "ema": ema,
        "progressive": progressive,
        "norm_momentum": norm_momentum,
        "dropout": dropout,
        "stochastic_depth": stochastic_depth,
        "patience": patience,
        "crop": crop,
        "flip": flip,
        "randaugment": randaugment,
        "erasing": erasing,
        "mixup": mixup,
        "cutmix": cutmix,
        "freeze": freeze,
        "backbone_rate": backbone_rate,
    }
    values = {
        "data": data,
        "network": network,
        "epochs": epochs,
        "seed": seed,
        "batch_size": _batch_size(batch_size),
        "resolution": resolution,
        "val_share": val_share,
        "max_bad": max_bad,
        "precision": precision,
        "devices": devices,
        "weights": weights,
        "fused": fused,
        "memory_efficient": memory_efficient,
    }
    asked = Asked(
        values,
        fields,
        option_names(train),
        config=config,
        recipe=recipe,
        fit=fit and (config is None or network is not None),  # a file's network is fitted already
        minutes=minutes,
        find_lr=find_lr,
        out=out,
        cache_gb=cache_gb,
        workers=workers,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        mlflow=mlflow,
    )
    if resume is not None:
        excluded = {"minutes": minutes, "out": out, "config": config, "recipe": recipe, "find-lr": find_lr or None}
        if other := [name for name, value in excluded.items() if value is not None]:
            raise UsageError(f"--resume cannot be combined with --{other[0]}; a resumed run keeps its options")
        path, summary = resume, go_on(resume, asked)
    else:
        if minutes is not None and (epochs is not None or not minutes > 0):
            raise UsageError("--minutes takes a number above 0, and the place of --epochs")
        if config is None and data is None:
            raise UsageError(f"--data is missing: give a folder with a sub-folder per class, or {_built_in()}")
        _check_values(asked)
        if config is not None:
            _lay_over(config, asked)
        path, summary = start(asked)
    if as_json:
        print_json({"run": str(path)} | summary)
    else:
        echo(
            f"{printable(summary['network'])}: validation accuracy {summary['val_accuracy']:.2%} on "
            f"{summary['val_images']:,} images after {summary['train_seconds'] / 60:.1f} minutes of training\n"
            f"evaluate it with: convwright evaluate {quoted(path)}"
        )


def _built_in() -> str:
    from convwright.data import SOURCES

    *others, last = SOURCES
    return f"{', '.join(others)} or {last}"


def _check_values(asked: Asked) -> None:
    """Raise UsageError for a value that its option cannot have, before data is read."""
    from convwright.training.config import checked
    from convwright.training.recipes import RECIPES

    if asked.recipe is not None and asked.recipe not in RECIPES:
        raise UsageError(f"--recipe: no recipe is named {asked.recipe!r}; there are {', '.join(RECIPES)}")
    given = {name: value for name, value in asked.values.items() if value not in (None, AUTO)}
    recipe = {name: value for name, value in asked.fields.items() if value is not None}
    placeholders = {"data": "", "network": "", "resolution": 1}
    with naming_fields(asked.option):
        checked(placeholders | given | {"recipe": recipe})
    for option, value in (("--minutes", asked.minutes), ("--checkpoint-every", asked.checkpoint_every)):
        if value is not None and not isfinite(value):
            raise UsageError(f"{option} takes a number of minutes, not {value:g}")
    if asked.cache_gb is not None and not 0 <= asked.cache_gb < inf:
        raise UsageError(f"--cache-gb takes a number of gigabytes, 0 or more, not {asked.cache_gb:g}")


def _batch_size(text: str | None) -> int | str | None:
    if text is None or text == AUTO:
        return text
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"--batch-size takes a number of images or {AUTO!r}, not {text!r}")
    return int(text)


def _lay_over(config: Path, asked: Asked) -> None:
    """Put a configuration file's values in where no option is given; --recipe replaces the file's recipe."""
    from convwright.training.config import TrainConfig

    with naming("--config"):
        base = TrainConfig.from_yaml(config).model_dump()
    recipe = base.pop("recipe")
    values = {name: value for name, value in asked.values.items() if value is not None}
    fields = {name: value for name, value in asked.fields.items() if value is not None}
    recipe = recipe if asked.recipe is None else {}
    asked.from_config = frozenset((base.keys() - values.keys()) | (recipe.keys() - fields.keys()))
    asked.values, asked.fields = base | values, recipe | fields
