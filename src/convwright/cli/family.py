"""`convwright scale family`: a family of networks, which `--train` trains."""

from pathlib import Path

import click

from convwright.api.scaling import family as make_family
from convwright.cli.generate import command
from convwright.display.result import Result
from convwright.errors import ArgumentError
from convwright.options import options_of
from convwright.places import check_folder
from convwright.scaling.network_family import Family

LISTED = options_of(make_family)
OPTIONS = {each.name: each for each in (*options_of(Family.train), *LISTED)}
TRAIN = click.Option(["--train", "train"], is_flag=True, help="Train them all.")


def list_or_train(train: bool = False, **values: object) -> Result:
    """Return the family or, with `train`, what its training found."""
    names = {each.name for each in LISTED}
    others = {name: value for name, value in values.items() if name not in names}
    if others and not train:
        raise ArgumentError(next(iter(others)), "is about training; it needs --train")
    if train and (out := values.get("out")) is not None:  # before images are decoded
        check_folder("out", Path(str(out)))
    family = make_family(**{name: value for name, value in values.items() if name in names})  # type: ignore[arg-type]
    return family.train(**others) if train else family  # type: ignore[arg-type]


family = command(
    make_family,
    name="family",
    arguments=("base",),
    options=list(OPTIONS.values()),
    extra=[TRAIN],
    html=True,
    call=list_or_train,
)
