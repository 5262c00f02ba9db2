"""Commands and functions offer the same: every option is a parameter in Python, and the reverse."""

import inspect

import click
import pytest
from tests.cli.commands import every_command

import convwright as cw
from convwright.cli.generate import OUTPUT_OPTIONS, GroupedCommand
from convwright.options import options_of

COMMANDS = every_command()
HIDDEN = ("scale work",)
"""Commands that other commands start, without a function that users call."""
COMMAND_LINE_ONLY: dict[str, set[str]] = {
    "explain cam": {"scores", "steps", "removed", "out"},  # `cw.explain.faithfulness`, `ClassActivation.save`
    "explain drop": {"save", "out"},  # `Dropping.save`
    "explain excitation": {"drop", "by", "save", "out"},  # `Excitations.drop`, `Dropping.save`
    "explain faithfulness": {"networks", "images", "data", "count", "weights", "method", "layer", "target", "device"},
    "explain reuse": {"prune", "draws", "split", "out", "csv_file"},  # `Reuse.prune`, `Reuse.save_csv`
    "predict": {"as_csv"},  # `Predictions.to_csv`
    "scale family": {"train"},  # `Family.train`
    "train": {"resume"},  # `cw.resume`
}
"""Options of the command line that are functions or methods of their own in Python, by command."""


def public_functions() -> list[object]:
    """Return what `cw.NAME` and `cw.explain.NAME` give."""
    names = [getattr(cw, name) for name in cw.__all__]
    return [inspect.unwrap(each) for each in (*names, *(getattr(cw.explain, name) for name in cw.explain.__all__))
            if callable(each)]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in HIDDEN])
def test_every_command_is_made_from_a_public_function(name):
    command = COMMANDS[name]
    assert isinstance(command, GroupedCommand)
    assert inspect.unwrap(command.function) in public_functions()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in HIDDEN])
def test_options_and_parameters_are_the_same(name):
    command = COMMANDS[name]
    assert isinstance(command, GroupedCommand)
    described = [option for option in command.described if option.kinds or option.choices]
    options = {parameter.name for parameter in command.params if isinstance(parameter, click.Parameter)}
    options -= {"as_json", "html", "help"}
    parameters = {option.name for option in described} - set(OUTPUT_OPTIONS)
    assert parameters <= options, "parameters without an option"
    assert options - parameters == COMMAND_LINE_ONLY.get(name, set()), "options without a parameter"
    of_function = {option.name for option in options_of(command.function)}
    assert {option.name for option in described} <= of_function or command.function is cw.train
