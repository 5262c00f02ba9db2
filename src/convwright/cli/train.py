"""`convwright train`: a network from images to a run directory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.cli import train_options as options
from convwright.cli.networks import read_network
from convwright.errors import UsageError

if TYPE_CHECKING:
    from convwright.training.loop import Runtime
    from convwright.training.run import Run

DEFAULT_NETWORK = "cifar_seresnet14"
PLANNED = {"fit", "resolution", "channels", "classes", "dropout", "stochastic_depth"}
"""Operators that planning appends to the network that was asked for."""


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
    batch_size: Annotated[int | None, typer.Option(help="Images a step, 128 or fewer by default.")] = None,
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
    fit: Annotated[bool, typer.Option(help="Drop the network's early strides for small images.")] = True,
    recipe: options.RecipeName = None,
    learning_rate: options.LearningRate = None,
    optimizer: options.Optimizer = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    schedule: options.Schedule = None,
    warm_up: options.WarmUp = None,
    label_smoothing: options.LabelSmoothing = None,
    class_weights: options.ClassWeights = None,
    accumulate: options.Accumulate = None,
    clip_norm: options.ClipNorm = None,
    ema: options.Ema = None,
    progressive: options.Progressive = None,
    dropout: options.Dropout = None,
    stochastic_depth: options.StochasticDepth = None,
    patience: options.Patience = None,
    crop: options.Crop = None,
    flip: options.Flip = None,
    randaugment: options.RandAugment = None,
    erasing: options.Erasing = None,
    mixup: options.Mixup = None,
    cutmix: options.CutMix = None,
    config: Annotated[Path | None, typer.Option(help="Repeat a run by its config.yaml; other options win.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run where it stopped.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train a network on images; the best weights by validation accuracy end up in the run directory."""
    fields = {
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "warm_up": warm_up,
        "label_smoothing": label_smoothing,
        "class_weights": class_weights,
        "accumulate": accumulate,
        "clip_norm": clip_norm,
        "ema": ema,
        "progressive": progressive,
        "dropout": dropout,
        "stochastic_depth": stochastic_depth,
        "patience": patience,
        "crop": crop,
        "flip": flip,
        "randaugment": randaugment,
        "erasing": erasing,
        "mixup": mixup,
        "cutmix": cutmix,
    }
    values = {
        "data": data,
        "network": network,
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size,
        "resolution": resolution,
        "val_share": val_share,
        "max_bad": max_bad,
        "precision": precision,
        "devices": devices,
    }
    from convwright.training.loop import Runtime

    runtime = Runtime(workers, 60 * checkpoint_every)
    if resume is not None:
        told = {"minutes": minutes, "out": out, "config": config, "recipe": recipe}
        path, summary = resume, _resume(resume, cache_gb, runtime, _given(values), _given(fields), _given(told))
    else:
        if minutes is not None and (epochs is not None or not minutes > 0):
            raise UsageError("--minutes takes a number above 0, and the place of --epochs")
        values, fields = _merged(config, values, fields, fresh=recipe is not None)
        path, summary = _start(
            values,
            fields,
            recipe=recipe,
            fit=fit and config is None,
            minutes=minutes,
            out=out,
            cache_gb=cache_gb,
            runtime=runtime,
        )
    if as_json:
        typer.echo(json.dumps({"run": str(path)} | summary))
    else:
        typer.echo(
            f"{summary['network']}: validation accuracy {summary['val_accuracy']:.2%} on {summary['val_images']:,} "
            f"images after {summary['train_seconds'] / 60:.1f} minutes of training\n"
            f"evaluate it with: convwright evaluate {path}"
        )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _merged(
    config: Path | None, values: dict[str, Any], fields: dict[str, Any], *, fresh: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lay options over the values of a configuration file, if there is one; fresh: its recipe is replaced."""
    if config is None:
        return values, fields
    from convwright.training.config import TrainConfig

    base = TrainConfig.from_yaml(config).model_dump()
    recipe = base.pop("recipe")
    return base | _given(values), ({} if fresh else recipe) | _given(fields)


def _start(
    values: dict[str, Any],
    fields: dict[str, Any],
    *,
    recipe: str | None,
    fit: bool,
    minutes: float | None,
    out: Path | None,
    cache_gb: float | None,
    runtime: "Runtime",
) -> tuple[Path, dict[str, Any]]:
    """Resolve what is asked, say it, and train."""
    from convwright.cli.progress import TrainingBar, counting, say
    from convwright.data import best_at_hand, open_dataset
    from convwright.training.devices import check_batch, check_devices, leads, world_size
    from convwright.training.loop import train as run_training
    from convwright.training.pace import epochs_within
    from convwright.training.plan import plan
    from convwright.training.run import DataFacts, Run, ensure_free

    _join_launcher(values, minutes, out)
    check_devices(values.get("devices") or 1)
    expression = values.pop("network") or DEFAULT_NETWORK
    spec = values.pop("data") or best_at_hand()
    wanted = read_network(expression)  # a wrong name is told before any image is read
    if Path(expression.partition("|")[0]).exists():  # a file is found again by its path, not by the name inside
        wanted = replace(wanted, name=expression)
    path = out or _free_path(f"{expression}-{Path(spec).name}")
    if leads():
        ensure_free(path)
    asked = ("resolution", "val_share", "max_bad", "seed")
    opening = {name: values[name] for name in asked if values.get(name) is not None}
    values.pop("resolution")
    with counting() as progress:
        data = open_dataset(spec, largest=wanted.resolution, cache_gb=cache_gb, progress=progress, **opening)
    for line in data.skipped[:5]:
        say(f"skipped {line}")
    if len(data.skipped) > 5:
        say(f"and {len(data.skipped) - 5} more that could not be read")
    resolved, network = plan(data, wanted, fit=fit, name=recipe, recipe=fields, **values)
    if minutes is not None:
        say("measuring how fast this machine trains the network ...")
        resolved = resolved.model_copy(update={"epochs": epochs_within(minutes, resolved, network, data)})
    say(_described(data, network, resolved))
    if resolved.devices > world_size():
        check_batch(resolved.batch_size, resolved.devices)
        run = Run.create(path, resolved, network, data.classes, DataFacts.of(data))
        return path, _in_processes(run, cache_gb, runtime)
    with TrainingBar(network.name) as bar:
        return path, run_training(resolved, network, data, path, bar, runtime)


def _join_launcher(values: dict[str, Any], minutes: float | None, out: Path | None) -> None:
    """Started by torchrun: take its number of processes. UsageError for what they could not agree on."""
    from convwright.training.devices import world_size

    size = world_size()
    if minutes is not None and max(size, values.get("devices") or 1) > 1:
        raise UsageError("--minutes plans for one device; with more, give --epochs")
    if size == 1:
        return
    if values.get("devices") not in (None, size):
        raise UsageError(f"--devices {values['devices']}: torchrun has started {size} processes; leave --devices out")
    if out is None:
        raise UsageError("under torchrun, give --out: all processes must write to the same run directory")
    values["devices"] = size


def _resume(
    path: Path,
    cache_gb: float | None,
    runtime: "Runtime",
    values: dict[str, Any],
    fields: dict[str, Any],
    other: dict[str, Any],
) -> dict[str, Any]:
    """Go on with a run. UsageError names an option that is not what the run began with."""
    from convwright.cli.progress import TrainingBar, say
    from convwright.training.devices import world_size
    from convwright.training.loop import resume
    from convwright.training.run import Run

    if other:
        raise UsageError(f"--resume goes on with a run as it began; it takes no --{next(iter(other))}")
    run = Run.open(path)
    _check_same(run, values, fields)
    if run.finished:
        say(f"{path} has already ended; nothing to do")
        return run.summary
    if run.config.devices > world_size():
        return _in_processes(run, cache_gb, runtime)
    with TrainingBar(run.network.name) as bar:
        return resume(run, open_run_data(run, cache_gb), bar, runtime)


def _in_processes(run: "Run", cache_gb: float | None, runtime: "Runtime") -> dict[str, Any]:
    """Have as many processes as the run asks for go on with it."""
    from convwright.training.devices import check_devices
    from convwright.training.launch import launch

    check_devices(run.config.devices)
    arguments = ["train", "--resume", str(run.path), "--workers", str(runtime.workers)]
    arguments += ["--checkpoint-every", str(runtime.checkpoint_seconds / 60)]
    arguments += [] if cache_gb is None else ["--cache-gb", str(cache_gb)]
    if status := launch(run.config.devices, arguments, run.path):
        raise typer.Exit(status)
    return run.summary


def _check_same(run: "Run", values: dict[str, Any], fields: dict[str, Any]) -> None:
    """Options that say what the run says already do no harm; UsageError names one that does not."""
    began = run.config.model_dump()
    began |= {f"recipe.{name}": value for name, value in began.pop("recipe").items()}
    for name, value in (values | {f"recipe.{name}": value for name, value in fields.items()}).items():
        before = began[name]
        if name == "network":
            same = before == value or set(_operators(before.removeprefix(f"{value}|"))) <= PLANNED
        else:
            same = before == (str(Path(value).absolute()) if name == "data" and value != before else value)
        if not same:
            raise UsageError(
                f"{run.path}: {name} is {before!r} in this run, not {value!r}; --resume goes on with a run as it began"
            )


def _operators(expression: str) -> list[str]:
    return [part.partition(":")[0] for part in expression.split("|")]


def open_run_data(run: "Run", cache_gb: float | None = None) -> Any:
    """Open the data that a run was trained on, at the same resolution and split."""
    from convwright.cli.progress import counting
    from convwright.data import open_dataset

    config = run.config
    with counting() as progress:
        return open_dataset(
            config.data,
            resolution=config.resolution,
            val_share=config.val_share,
            seed=config.seed,
            max_bad=config.max_bad,
            cache_gb=cache_gb,
            progress=progress,
        )


def _described(data: Any, network: Any, config: Any) -> str:
    from convwright.arch import cost

    count = cost(network)
    test = f", {len(data.test):,} to test" if data.test is not None else ""
    return (
        f"data: {data.name}, {len(data.classes)} classes, {data.resolution} x {data.resolution} x {data.channels}, "
        f"{len(data.train):,} images to train, {len(data.val):,} to validate{test}\n"
        f"network: {network.name}, {count.params:,} parameters, {count.macs / 1e6:,.1f} M MACs (multiply-adds)\n"
        f"training: {config.epochs:g} epochs, batch size {config.batch_size}, {config.recipe.optimizer}, "
        f"learning rate {config.recipe.learning_rate:g}, seed {config.seed}"
    )


def _free_path(name: str) -> Path:
    """Return runs/NAME, or the first of runs/NAME-2, -3, ... that is not there yet."""
    base = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    path, number = Path("runs") / base, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{base}-{number}"
    return path
