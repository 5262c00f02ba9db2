"""`convwright train`: a network from images to a run directory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.cli.networks import read_network
from convwright.errors import UsageError

if TYPE_CHECKING:
    from convwright.training.run import Run

DEFAULT_NETWORK = "cifar_seresnet14"


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
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Highest learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adamw or rmsprop.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the images in pixels; theirs by default.")] = None,
    val_share: Annotated[float | None, typer.Option(help="Share of the training images to validate on.")] = None,
    max_bad: Annotated[
        float | None, typer.Option(help="Share of the files that may be unreadable (they are skipped), 0.1 by default.")
    ] = None,
    cache_gb: Annotated[
        float | None, typer.Option(help="Most that decoded images may take on disk, 20 by default; 0: keep none.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="32-true or bf16-mixed.")] = None,
    fit: Annotated[bool, typer.Option(help="Drop the network's early strides for small images.")] = True,
    config: Annotated[Path | None, typer.Option(help="Repeat a run by its config.yaml; other options win.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run where it stopped.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train a network on images; the best weights by validation accuracy end up in the run directory."""
    recipe = {"learning_rate": learning_rate, "optimizer": optimizer}
    options = {
        "data": data,
        "network": network,
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size,
        "resolution": resolution,
        "val_share": val_share,
        "max_bad": max_bad,
        "precision": precision,
    }
    if resume is not None:
        given = [
            name for name, value in (options | recipe | {"out": out, "config": config}).items() if value is not None
        ]
        if given or minutes is not None:
            raise UsageError(f"--resume goes on with a run as it began; it takes no --{(given or ['minutes'])[0]}")
        path, summary = resume, _resume(resume, cache_gb)
    else:
        if minutes is not None and (epochs is not None or not minutes > 0):
            raise UsageError("--minutes takes a number above 0, and the place of --epochs")
        values, values_recipe = _merged(config, options, recipe)
        path, summary = _start(
            values, values_recipe, fit=fit and config is None, minutes=minutes, out=out, cache_gb=cache_gb
        )
    if as_json:
        typer.echo(json.dumps({"run": str(path)} | summary))
    else:
        typer.echo(
            f"{summary['network']}: validation accuracy {summary['val_accuracy']:.2%} on {summary['val_images']:,} "
            f"images after {summary['train_seconds'] / 60:.1f} minutes of training\n"
            f"evaluate it with: convwright evaluate {path}"
        )


def _merged(
    config: Path | None, options: dict[str, Any], recipe: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Lay options over the values of a configuration file, if there is one."""
    if config is None:
        return options, recipe
    from convwright.training.config import TrainConfig

    values = TrainConfig.from_yaml(config).model_dump()
    base = values.pop("recipe")
    return (
        values | {name: value for name, value in options.items() if value is not None},
        base | {name: value for name, value in recipe.items() if value is not None},
    )


def _start(
    options: dict[str, Any],
    recipe: dict[str, Any],
    *,
    fit: bool,
    minutes: float | None,
    out: Path | None,
    cache_gb: float | None,
) -> tuple[Path, dict[str, Any]]:
    """Resolve what is asked, say it, and train."""
    from convwright.cli.progress import TrainingBar, counting, say
    from convwright.data import best_at_hand, open_dataset
    from convwright.training.loop import train as run_training
    from convwright.training.pace import epochs_within
    from convwright.training.plan import plan
    from convwright.training.run import ensure_free

    expression = options.pop("network") or DEFAULT_NETWORK
    spec = options.pop("data") or best_at_hand()
    wanted = read_network(expression)  # a wrong name is told before any image is read
    if Path(expression.partition("|")[0]).exists():  # a file is found again by its path, not by the name inside
        wanted = replace(wanted, name=expression)
    path = out or _free_path(f"{expression}-{Path(spec).name}")
    ensure_free(path)
    asked = ("resolution", "val_share", "max_bad", "seed")
    opening = {name: options[name] for name in asked if options.get(name) is not None}
    options.pop("resolution")
    with counting() as progress:
        data = open_dataset(spec, largest=wanted.resolution, cache_gb=cache_gb, progress=progress, **opening)
    for line in data.skipped[:5]:
        say(f"skipped {line}")
    if len(data.skipped) > 5:
        say(f"and {len(data.skipped) - 5} more that could not be read")
    resolved, network = plan(data, wanted, fit=fit, recipe=recipe, **options)
    if minutes is not None:
        say("measuring how fast this machine trains the network ...")
        resolved = resolved.model_copy(update={"epochs": epochs_within(minutes, resolved, network, data)})
    say(_described(data, network, resolved))
    with TrainingBar(network.name) as bar:
        return path, run_training(resolved, network, data, path, bar)


def _resume(path: Path, cache_gb: float | None) -> dict[str, Any]:
    from convwright.cli.progress import TrainingBar, say
    from convwright.training.loop import resume
    from convwright.training.run import Run

    run = Run.open(path)
    if run.finished:
        say(f"{path} has already ended; nothing to do")
    with TrainingBar(run.network.name) as bar:
        return resume(run, open_run_data(run, cache_gb), bar)


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
