"""`convwright show`."""

from typing import TYPE_CHECKING, Any

import click

from convwright.api.networks import describe
from convwright.arch.description import NetworkDescription
from convwright.cli.generate import command
from convwright.cli.output import echo, write
from convwright.errors import ArgumentError

if TYPE_CHECKING:
    from convwright.arch.diagram import Drawing


def _described(**values: Any) -> "NetworkDescription | Drawing":
    """Return the description of a network, or for `--diagram -` its drawing alone."""
    if values.get("diagram") != "-":
        return describe(**values)
    if click.get_current_context().params["as_json"]:
        raise ArgumentError("diagram", "'-' and --json cannot both be printed; give the drawing a file")
    return describe(**values | {"diagram": None}).network.draw()


def _print(result: "NetworkDescription | Drawing") -> None:
    if isinstance(result, NetworkDescription):
        echo(result)
    else:
        write(str(result))


show = command(describe, name="show", arguments=("network",), call=_described, show=_print)
