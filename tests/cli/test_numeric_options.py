"""Numbers that no option can have are refused in one line that names the option, before any work."""

import subprocess
import sys

import click
import pytest
from tests.cli.commands import every_command

from convwright.cli.generate import Value

ABSURD = ("1e300", "-1e300", "nan", "inf", "9" * 40, "-" + "9" * 40)
"""Values in text, of which no option can have any."""
FEWEST = 60
"""There are more numeric options than this."""


def numeric_options() -> list[tuple[str, str]]:
    """Return command and option of every option that takes a number and no text."""
    return [
        (name, parameter.type.option.flag)
        for name, command in every_command().items()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and isinstance(parameter.type, Value)
        and {int, float} & {*parameter.type.option.kinds}
        and str not in parameter.type.option.kinds
    ]


def required_of(command: click.Command, but: str) -> list[str]:
    """Return arguments and options that a command cannot do without, but one."""
    given = []
    for parameter in command.params:
        if parameter.required and but not in parameter.opts:
            number = isinstance(parameter.type, Value) and float in parameter.type.option.kinds
            value = "0.5" if number else str(parameter.name)
            given.append(f"{parameter.opts[0]}={value}" if isinstance(parameter, click.Option) else value)
    return given


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize(("name", "flag"), numeric_options())
def test_an_absurd_number_is_refused_by_name(name, flag, value, convwright):
    answer = convwright(*name.split(), *required_of(every_command()[name], but=flag), f"{flag}={value}")
    assert (answer.status, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert line.startswith(f"convwright: {flag}: must be ")


def test_there_are_many_numeric_options():
    assert len(numeric_options()) > FEWEST


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--data", "digits", "--epochs", "-1"),
        ("train", "--data", "digits", "--minutes", "1", "--epochs", "1"),
        ("data", "digits", "--minutes", "-1"),
        ("predict", "run", "images", "--top", "0"),
    ],
)
def test_a_wrong_option_is_refused_before_torch_is_imported(arguments):
    code = (
        "import sys; from convwright.cli.main import run; status = run(sys.argv[1:]); "
        "sys.exit(9 if 'torch' in sys.modules else status)"
    )
    found = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 2, found.stderr
