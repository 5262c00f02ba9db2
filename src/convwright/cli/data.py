"""`convwright data`: a survey of a data set, its curation, or training images beside what the network sees of them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from convwright.api.curation import curate
from convwright.api.data import survey
from convwright.api.training import augmented
from convwright.cli.generate import command
from convwright.errors import UsageError
from convwright.options import Option, options_of, options_of_model
from convwright.training.config import AUGMENTATION
from convwright.training.request import TrainRequest

if TYPE_CHECKING:
    from convwright.curation.result import Curation
    from convwright.data.survey import Survey
    from convwright.training.augmented import AugmentedImages

SHOWN = "What the network sees (with --augment)"
CURATED = "Suspicious images (with --deep)"
SHARED = ("seed",)
"""Options of both."""
OF_TRAINING = ("recipe", "network", "resolution", "resize", "sampling", "progressive", "seed")
"""Fields of a request that say what the network sees, besides those of augmentation."""
AUGMENT = click.Option(
    ["--augment"], is_flag=True, help="Show training images beside what the network sees of them; see below."
)
DEEP = click.Option(
    ["--deep"],
    is_flag=True,
    help="Find near-duplicates, wrong labels, images unlike their class and outliers; with --html, a page to confirm "
    "or dismiss each; see below.",
)


def options() -> list[Option]:
    """Return the options of the survey, of the curation, and those that say what the network sees."""
    own = [*options_of(survey)]
    shown = [each for each in options_of(augmented) if each.name in ("count", "versions")]
    shown += [
        replace(each, default=None)
        for each in options_of_model(TrainRequest)
        if each.name in OF_TRAINING or each.group == AUGMENTATION.title
    ]
    known = {each.name for each in own}
    curated = [each for each in options_of(curate) if each.name not in (*known, *SHARED)]
    return [
        *own,
        *(replace(each, group=CURATED) for each in curated),
        *(replace(each, group=SHOWN) for each in shown if each.name not in known),
    ]


OPTIONS = options()


def run(*, augment: bool = False, deep: bool = False, **values: Any) -> "Survey | Curation | AugmentedImages":
    """Survey or curate the data, or show what the network sees of its training images."""
    if augment and deep:
        raise UsageError("--augment and --deep exclude each other")
    for group, flag, purpose in (
        (SHOWN, augment, "--augment, which shows what the network sees"),
        (CURATED, deep, "--deep, which finds suspicious images"),
    ):
        shared = SHARED if deep else ()
        others = [each for each in OPTIONS if each.group == group and each.name not in shared]
        if not flag and (given := [each for each in others if values.pop(each.name, each.default) != each.default]):
            raise UsageError(f"{given[0].flag} needs {purpose}")
    if augment:
        return augmented(values.pop("data"), **values)
    return curate(**values) if deep else survey(**values)


data = command(survey, name="data", arguments=("data",), options=OPTIONS, extra=[AUGMENT, DEEP], call=run, html=True)
