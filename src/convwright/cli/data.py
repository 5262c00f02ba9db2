"""`convwright data`: a survey of a data set, its curation, new splits, or training images as the network sees them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from convwright.api.curation import curate
from convwright.api.data import split, survey
from convwright.api.training import augmented
from convwright.cli.generate import command
from convwright.data.opened import COLUMNS, Data
from convwright.errors import UsageError
from convwright.options import Option, options_of, options_of_model
from convwright.training.config import AUGMENTATION
from convwright.training.request import TrainRequest

if TYPE_CHECKING:
    from convwright.curation.result import Curation
    from convwright.data.splitting import DataSplit
    from convwright.data.survey import Survey
    from convwright.training.augmented import AugmentedImages

GROUPS = {
    "split": "New splits (with --split)",
    "deep": "Suspicious images (with --deep)",
    "augment": "What the network sees (with --augment)",
}
"""Headings of the options of each task besides the survey."""
SEVERAL = "Of several tasks"
PURPOSES = {
    "split": "--split, which writes a list with new splits",
    "deep": "--deep, which finds suspicious images",
    "augment": "--augment, which shows what the network sees",
}
OF_TRAINING = ("recipe", "network", "resolution", "resize", "sampling", "progressive", "seed")
"""Fields of a request that say what the network sees, besides those of augmentation."""
SHARES = "Split the images into training, validation and test images by these shares, such as 0.8,0.1,0.1; see below."
OUT = "File of the list that --split (.csv) or --deep (.csv, .tsv) writes; by default none is written."
AUGMENT = click.Option(
    ["--augment"], is_flag=True, help="Show training images beside what the network sees of them; see below."
)
DEEP = click.Option(
    ["--deep"],
    is_flag=True,
    help="Find near-duplicates, label errors, images unlike their class and outliers; with --html, a page to confirm "
    "or dismiss each; see below.",
)


def _by_task() -> dict[str, list[Option]]:
    """Return the options of each task besides the survey; options of several tasks are in each of them."""
    own = {each.name for each in options_of(survey)}
    shown = [each for each in options_of(augmented) if each.name in ("count", "versions")]
    shown += [
        replace(each, default=None)
        for each in options_of_model(TrainRequest)
        if each.name in OF_TRAINING or each.group == AUGMENTATION.title
    ]
    found = {"split": options_of(split), "deep": options_of(curate), "augment": shown}
    return {task: [each for each in options if each.name not in {*own, "shares"}] for task, options in found.items()}


TASKS = _by_task()


def options() -> list[Option]:
    """Return the options of the survey, then those of each task under a heading of its own."""
    shares = next(each for each in options_of(split) if each.name == "shares")
    found = [*options_of(survey), replace(shares, name="split", default=None, nullable=True, description=SHARES)]
    descriptions = {"out": OUT, "seed": "Seed of the choice."}
    for task, its_options in TASKS.items():
        for each in its_options:
            if each.name in descriptions:
                each = replace(each, description=descriptions[each.name], default=None, nullable=True)
            group = SEVERAL if each.name in descriptions else GROUPS[task]
            found.append(replace(each, group=group))
    return list({each.name: each for each in found}.values())


OPTIONS = options()


def run(
    *, augment: bool = False, deep: bool = False, **values: Any
) -> "Survey | Curation | AugmentedImages | DataSplit":
    """Survey, curate or split the data, or show what the network sees of its training images."""
    shares = values.pop("split", None)
    tasks = [task for task, on in (("split", shares is not None), ("deep", deep), ("augment", augment)) if on]
    if len(tasks) > 1:
        raise UsageError(f"--{tasks[0]} and --{tasks[1]} exclude each other; give one of them")
    _check(values, tasks)
    if not tasks:
        return survey(**values)
    if not augment:
        columns = {name: values.pop(name) for name in COLUMNS if name in values}
        values["data"] = replace(Data.of(values["data"]), **columns) if columns else values["data"]
    if deep:
        return curate(**values)
    return split(shares=shares, **values) if shares is not None else augmented(values.pop("data"), **values)


def _check(values: dict[str, Any], tasks: Iterable[str]) -> None:
    """Refuse options that have no effect, and drop those with their default."""
    used = {each.name for task in tasks for each in TASKS[task]}
    for each in OPTIONS:
        if each.name in used or each.name not in values:
            continue
        needed = [
            PURPOSES[task] for task, its_options in TASKS.items() if each.name in {one.name for one in its_options}
        ]
        if needed and values.pop(each.name) != each.default:
            raise UsageError(f"{each.flag} needs {', or '.join(needed)}")


data = command(survey, name="data", arguments=("data",), options=OPTIONS, extra=[AUGMENT, DEEP], call=run, html=True)
