"""Commands and functions offer the same: every option is a parameter in Python, and the reverse."""

import inspect
from collections.abc import Callable

import pytest
from tests.cli.commands import every_command

import convwright as cw
from convwright.cli.generate import OUTPUT_OPTIONS, GroupedCommand
from convwright.data.opened import COLUMNS
from convwright.options import options_of, options_of_model
from convwright.scaling.network_family import Family

COMMANDS = every_command()
HIDDEN = ("scale work",)
"""Commands that other commands start, without a function that users call."""
FURTHER: dict[str, tuple[Callable[..., object], ...]] = {
    "data": (cw.augmented, cw.curate, cw.split, cw.TrainRequest),
    "explain cam": (cw.explain.faithfulness,),
    "explain drop": (cw.explain.DropResult.save,),
    "explain excitation": (cw.explain.drop, cw.explain.DropResult.save),
    "explain faithfulness": (cw.explain.cam,),
    "explain reuse": (cw.explain.prune,),
    "scale family": (Family.train,),
}
"""Functions that a command calls beside its own, so that their parameters are options too."""
STEPS: dict[str, set[str]] = {
    "data": {"augment", "deep", "split"},  # `cw.augmented`, `cw.curate`, `cw.split`
    "explain cam": {"scores", "out"},  # `ClassActivation.save`
    "explain drop": {"save", "out"},
    "explain excitation": {"drop", "save", "out"},
    "explain reuse": {"prune", "out", "csv_file"},  # `Result.save_html`, `Reuse.save_csv`
    "predict": {"as_csv"},  # `Predictions.to_csv`
    "scale family": {"train"},
    "train": {"resume"},  # `cw.resume`
}
"""Options of the command line that call a further function or method."""
PYTHON_ONLY: dict[str, set[str]] = {
    "explain faithfulness": {"run", "maps"},  # the command computes the maps itself, as `cw.explain.cam` does
    "train": {"request", "progress"},  # a request is what the options describe
}
"""Parameters that hold what the command line describes in several options."""


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
    options = {parameter.name for parameter in command.params} - {"as_json", "html"}
    parameters = parameters_of(command.function) - PYTHON_ONLY.get(name, set())
    if command.function is cw.train:
        parameters |= {option.name for option in options_of_model(cw.TrainRequest)}
    assert not parameters - options, "parameters without an option"
    others = set().union(*(parameters_of(each) for each in FURTHER.get(name, ()) if each is not cw.TrainRequest))
    if cw.TrainRequest in FURTHER.get(name, ()):
        others |= set(cw.TrainRequest.model_fields)
    if "data" in parameters | others:
        others |= {*COLUMNS}  # of `cw.open_data`, whose result the function takes
    assert not options - parameters - others - STEPS.get(name, set()), "options without a parameter"


TEXT_ONLY = {"demo"}
"""Commands whose data is a name, without options."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in TEXT_ONLY])
def test_every_command_that_takes_data_takes_the_columns_of_a_list(name):
    options = {parameter.name for parameter in COMMANDS[name].params}
    assert ("data" in options) == ({*COLUMNS} <= options)
    assert {*COLUMNS} <= options or not {*COLUMNS} & options


def test_missing_options_would_be_noticed():
    assert parameters_of(cw.evaluate) > {"run", "split"}
    assert "html" not in parameters_of(cw.evaluate)


def parameters_of(function: Callable[..., object]) -> set[str]:
    """Return the parameters whose values can be written as text, but those for output."""
    described = options_of(function)
    return {each.name for each in described if each.kinds or each.choices} - set(OUTPUT_OPTIONS)
