"""`convwright data`: a survey of a data set, or training images beside what the network will see of them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from convwright.api.data import survey
from convwright.api.training import augmented
from convwright.cli.generate import command
from convwright.errors import UsageError
from convwright.options import Option, options_of, options_of_model
from convwright.training.config import AUGMENTATION
from convwright.training.request import TrainRequest

if TYPE_CHECKING:
    from convwright.data.survey import Survey
    from convwright.training.augmented import AugmentedImages

SHOWN = "What the network sees (with --augment)"
OF_TRAINING = ("recipe", "network", "resolution", "resize", "sampling", "progressive", "seed")
"""Fields of a request that say what the network sees, besides those of augmentation."""
AUGMENT = click.Option(
    ["--augment"], is_flag=True, help="Show training images beside what the network sees of them; see below."
)


def options() -> list[Option]:
    """Return the options of the survey, and those that say what the network sees."""
    own = [*options_of(survey)]
    shown = [each for each in options_of(augmented) if each.name in ("count", "versions")]
    shown += [
        replace(each, default=None)
        for each in options_of_model(TrainRequest)
        if each.name in OF_TRAINING or each.group == AUGMENTATION.title
    ]
    known = {each.name for each in own}
    return [*own, *(replace(each, group=SHOWN) for each in shown if each.name not in known)]


OPTIONS = options()


def run(*, augment: bool = False, **values: Any) -> "Survey | AugmentedImages":
    """Survey the data, or show what the network sees of its training images."""
    if augment:
        return augmented(values.pop("data"), **values)
    given = [each for each in OPTIONS if each.group == SHOWN and values.pop(each.name, each.default) != each.default]
    if given:
        raise UsageError(f"{given[0].flag} needs --augment, which shows what the network sees")
    return survey(**values)


data = command(survey, name="data", arguments=("data",), options=OPTIONS, extra=[AUGMENT], call=run, html=True)
