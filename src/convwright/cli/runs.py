"""Runs started and resumed, as the command line asks for them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from convwright.cli.option_names import naming, naming_fields
from convwright.cli.places import check_folder, check_new_folder
from convwright.errors import UsageError
from convwright.printable import printable
from convwright.zoo.reading import read_network

if TYPE_CHECKING:
    from convwright.arch import Network
    from convwright.data import Dataset
    from convwright.training.config import TrainConfig
    from convwright.training.initial_weights import InitialWeights
    from convwright.training.loop import Reporter, Runtime
    from convwright.training.run import Run

AUTO = "auto"
DEFAULT_NETWORK = "cifar_seresnet14"
PLANNED = {"fit", "resolution", "channels", "classes", "dropout", "stochastic_depth"}
"""Operators that planning appends to the network that was asked for."""
MOST_SKIPPED = 5
LONGEST_NAME = 100
"""Characters of a run directory's name that is made from the network and the data."""


@dataclass
class Asked:
    """What the options of `convwright train` say; None where they say nothing."""

    values: dict[str, Any]
    """Fields of `TrainConfig`."""
    fields: dict[str, Any]
    """Fields of `Recipe`."""
    options: dict[str, str]
    """The option of each of these fields, for messages."""
    config: Path | None = None
    from_config: frozenset[str] = frozenset()
    """Fields whose values come from the file `config`, since no option gives them."""
    recipe: str | None = None
    fit: bool = True
    minutes: float | None = None
    find_lr: bool = False
    out: Path | None = None
    cache_gb: float | None = None
    workers: int = 0
    checkpoint_every: float = 5.0
    tensorboard: bool = False
    mlflow: str | None = None

    @property
    def runtime(self) -> "Runtime":
        """How the run is carried out."""
        from convwright.training.loop import Runtime

        return Runtime(self.workers, 60 * self.checkpoint_every)

    def trackers(self) -> "list[Reporter]":
        """Make the reporters that are asked for. UsageError names a package that is missing."""
        if not self.tensorboard and self.mlflow is None:
            return []
        from convwright.training import trackers

        made: list[Reporter] = [trackers.TensorBoard()] if self.tensorboard else []
        return made + ([] if self.mlflow is None else [trackers.MLflow(self.mlflow)])

    def option(self, field: str) -> str:
        """Return where the value of a field (as `seed` or `recipe.milestones.0`) comes from, for messages."""
        name = field.removeprefix("recipe.").partition(".")[0]
        return f"{self.config}: {field}" if name in self.from_config else self.options.get(name, field)

    def given(self) -> dict[str, Any]:
        """Return all that is said of the configuration, the recipe's fields as `recipe.NAME`."""
        every = self.values | {f"recipe.{name}": value for name, value in self.fields.items()}
        return {name: value for name, value in every.items() if value is not None}


def start(asked: Asked) -> tuple[Path, dict[str, Any]]:
    """Resolve what is asked, say it, and train; return the run directory and its summary."""
    from convwright.cli.training_bar import TrainingBar
    from convwright.display.progress import say
    from convwright.modules import build
    from convwright.training.devices import check_batch, check_devices, leads, world_size
    from convwright.training.initial_weights import initial_weights_file
    from convwright.training.loop import train
    from convwright.training.run import DataFacts, Run
    from convwright.training.trackers import Reporters

    trackers = asked.trackers()  # before any work is done
    _join_launcher(asked)
    check_devices(asked.values.get("devices") or 1)
    given = asked.values.pop("network")
    expression = DEFAULT_NETWORK if given is None else given
    spec = asked.values.pop("data")
    with naming(asked.option("network")):
        wanted = read_network(expression)  # a wrong name is reported before any image is read
    if Path(expression.partition("|")[0]).exists():  # a file is found again by its path, not by the name inside
        wanted = replace(wanted, name=expression)
    initial = _initial_weights(asked, wanted)
    path = asked.out or _free_path(f"{expression}-{Path(spec).name}")
    if leads():
        check_run_folder(path)
    data = _opened(asked, spec, wanted)
    data = initial.normalised(data) if initial else data
    _compile(asked.values)
    config, network, files = _resolved(asked, data, wanted, initial)
    say(_described(data, network, config))
    if initial:
        say("; ".join([f"weights: {initial.published.source}", *initial.load(build(network, seed=0))]))
    if config.devices > world_size():
        check_batch(config.batch_size, config.devices)
        run = Run.create(
            path, config, network, data.classes, DataFacts.of(data), {**files, **initial_weights_file(initial)}
        )
        return path, _in_processes(run, asked)
    with TrainingBar(network.name) as bar:
        return path, train(config, network, data, path, Reporters([bar, *trackers]), asked.runtime, files, initial)


def check_run_folder(path: Path) -> None:
    """Raise UsageError where the run directory that --out names cannot be made."""
    from convwright.training.run import ensure_free

    check_folder("--out", path)
    ensure_free(path)  # says how to resume a run that is there
    check_new_folder("--out", path)


def _compile(values: Mapping[str, Any]) -> None:
    """Have the operators that are asked for compiled, which takes seconds the first time, and say so meanwhile."""
    if values.get("fused") or (values.get("memory_efficient") and values.get("fused") is not False):
        from convwright.display.progress import errors
        from convwright.training.operators import compile_fused

        with errors.status("compiling fused operators for this machine, once"):
            compile_fused(values.get("precision") or "32-true")


def go_on(path: Path, asked: Asked) -> dict[str, Any]:
    """Go on with a run. UsageError names an option that is not what the run began with."""
    from convwright.cli.training_bar import TrainingBar
    from convwright.display.progress import say
    from convwright.training.devices import world_size
    from convwright.training.loop import resume
    from convwright.training.run import Run
    from convwright.training.run_data import open_run_data
    from convwright.training.trackers import Reporters

    trackers = asked.trackers()
    with naming("--resume"):
        run = Run.open(path)
    _check_same(run, asked)
    if run.finished:
        summary = run.summary
        say(f"{printable(path)} has already ended; nothing to do")
        return summary
    if run.config.devices > world_size():
        return _in_processes(run, asked)
    _compile({"fused": run.config.fused, "precision": run.config.precision})
    with TrainingBar(run.network.name) as bar:
        return resume(run, open_run_data(run, cache_gb=asked.cache_gb), Reporters([bar, *trackers]), asked.runtime)


def _initial_weights(asked: Asked, wanted: "Network") -> "InitialWeights | None":
    """Find the weights to begin with. UsageError for options that make no sense without any."""
    spec = asked.values.get("weights")
    if spec is None:
        if asked.fields.get("freeze"):
            raise UsageError("--freeze keeps weights as they are; say which with --weights")
        return None
    from convwright.training.initial_weights import find_initial_weights

    with naming(asked.option("weights")):
        return find_initial_weights(spec, wanted)


def _join_launcher(asked: Asked) -> None:
    """Started by torchrun: take its number of processes. UsageError for what they could not agree on."""
    from convwright.training.devices import world_size

    size, devices = world_size(), asked.values.get("devices")
    if asked.minutes is not None and max(size, devices or 1) > 1:
        raise UsageError("--minutes plans for one device; with more, give --epochs")
    if size == 1:
        return
    if devices not in (None, size):
        raise UsageError(f"--devices {devices}: torchrun has started {size} processes; leave --devices out")
    if asked.out is None:
        raise UsageError("under torchrun, give --out: all processes must write to the same run directory")
    asked.values["devices"] = size


def _opened(asked: Asked, spec: str, wanted: "Network") -> "Dataset":
    """Open the data, and say which files were skipped."""
    from convwright.data import open_dataset
    from convwright.display.progress import counting, say

    fields = ("resolution", "val_share", "max_bad", "seed")
    opening = {name: asked.values[name] for name in fields if asked.values.get(name) is not None}
    asked.values.pop("resolution", None)
    with counting() as progress, naming(asked.option("data")):
        data = open_dataset(spec, largest=wanted.resolution, cache_gb=asked.cache_gb, progress=progress, **opening)
    for line in data.skipped[:MOST_SKIPPED]:
        say(f"skipped {line}")
    if len(data.skipped) > MOST_SKIPPED:
        say(f"and {len(data.skipped) - MOST_SKIPPED} more that could not be read")
    for role, split in (("validation", data.val), ("test", data.test)):
        there = set(split.labels.tolist()) if split else set(range(len(data.classes)))
        if absent := [printable(name) for label, name in enumerate(data.classes) if label not in there]:
            more = f" and {len(absent) - MOST_SKIPPED} more" if len(absent) > MOST_SKIPPED else ""
            say(f"there are no {role} images of {', '.join(absent[:MOST_SKIPPED])}{more}")
    return data


def _resolved(
    asked: Asked, data: "Dataset", wanted: "Network", initial: "InitialWeights | None"
) -> "tuple[TrainConfig, Network, dict[str, str | bytes]]":
    """Measure what is to be found out on this machine; return the configuration, the network, and files to keep."""
    from convwright.display.progress import counting, say
    from convwright.training.epochs import epochs_in_minutes
    from convwright.training.lr_finder import find_learning_rate
    from convwright.training.memory_fit import fitting_batch
    from convwright.training.operators import check_operators
    from convwright.training.plan import plan

    def planned() -> "tuple[TrainConfig, Network]":
        with naming_fields(asked.option):
            return plan(data, wanted, fit=asked.fit, name=asked.recipe, recipe=asked.fields, **asked.values)

    files: dict[str, str | bytes] = {}
    if asked.values.get("batch_size") == AUTO:
        asked.values["batch_size"] = None
        asked.values["batch_size"] = fitting_batch(*planned(), data)
        say(f"a batch of {asked.values['batch_size']} images fits into memory")
    config, network = planned()
    check_operators(config)
    if asked.find_lr:
        with counting() as progress:
            finding = find_learning_rate(config, network, data, progress, initial)
        say(f"learning rate {finding.chosen:g}: a tenth of where the loss is lowest (lr_finder.csv has the curve)")
        files["lr_finder.csv"] = finding.to_csv()
        asked.fields["learning_rate"] = finding.chosen
        config, network = planned()
    if asked.minutes is not None:
        say("measuring how fast this machine trains the network ...")
        config = config.model_copy(update={"epochs": epochs_in_minutes(asked.minutes, config, network, data)})
    return config, network, files


def _in_processes(run: "Run", asked: Asked) -> dict[str, Any]:
    """Have as many processes as the run asks for go on with it."""
    from convwright.training.devices import check_devices
    from convwright.training.launch import launch

    check_devices(run.config.devices)
    arguments = ["train", "--resume", str(run.path), "--workers", str(asked.workers)]
    arguments += ["--checkpoint-every", str(asked.checkpoint_every)]
    arguments += [] if asked.cache_gb is None else ["--cache-gb", str(asked.cache_gb)]
    arguments += ["--tensorboard"] if asked.tensorboard else []
    arguments += [] if asked.mlflow is None else ["--mlflow", asked.mlflow]
    if status := launch(run.config.devices, arguments, run.path):
        raise typer.Exit(status)
    return run.summary


def _check_same(run: "Run", asked: Asked) -> None:
    """Options that say what the run says already do no harm; UsageError names one that does not."""
    began = run.config.model_dump()
    began |= {f"recipe.{name}": value for name, value in began.pop("recipe").items()}
    for name, value in asked.given().items():
        before = began[name]
        same = before == value
        if name == "network":
            same = same or set(_operators(before.removeprefix(f"{value}|"))) <= PLANNED
        elif name == "data":
            same = same or before == str(Path(value).expanduser().absolute())
        if not same:
            raise UsageError(
                f"{run.path}: {asked.option(name)} is {before!r} in this run, not {value!r}; "
                "--resume continues a run with the options that it has"
            )


def _operators(expression: str) -> list[str]:
    return [part.partition(":")[0] for part in expression.split("|")]


def _described(data: "Dataset", network: "Network", config: "TrainConfig") -> str:
    from convwright.arch.cost import cost

    count = cost(network)
    test = f", {len(data.test):,} to test" if data.test is not None else ""
    several = f", {config.devices} devices" if config.devices > 1 else ""
    size = f"{data.resolution} x {data.resolution} x {data.channels}"
    return (
        f"data: {printable(data.name)}, {len(data.classes)} classes, {size}, "
        f"{len(data.train):,} images to train, {len(data.val):,} to validate{test}\n"
        f"network: {printable(network.name)}, {count.params:,} parameters, "
        f"{count.macs / 1e6:,.1f} M MACs (multiply-adds)\n"
        f"training: {config.epochs:g} epochs, batch size {config.batch_size}, {config.recipe.optimizer}, "
        f"learning rate {config.recipe.learning_rate:g}, seed {config.seed}{several}"
    )


def _free_path(name: str) -> Path:
    """Return runs/NAME, or the first of runs/NAME-2, -3, ... that is not there yet."""
    base = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:LONGEST_NAME]
    path, number = Path("runs") / base, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{base}-{number}"
    return path
