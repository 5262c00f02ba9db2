"""Help reads well at 80 columns, and describes every option."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.cli.commands import every_command

ROOT = Path(__file__).parents[2]
COMMANDS = every_command()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for line in help_of(name).splitlines():
        assert len(line) <= 80, line


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_the_command_and_every_parameter(name):
    command = COMMANDS[name]
    assert inspect.cleandoc(command.help or "").strip()
    for parameter in command.params:
        description = getattr(parameter, "help", "") or getattr(parameter, "description", "")
        assert description.strip(), f"{name} {parameter.name} has no description"
        assert description.split("  [")[0].endswith("."), f"{name} {parameter.name}: {description}"
        assert "`" not in description


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_no_argument_twice_and_names_all(name):
    text = help_of(name)
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in text


LOADED = """
import json, sys
from tests.cli.commands import every_command
every_command()
print(json.dumps([name for name in ("torch", "torchvision", "numpy", "plotly", "sqlalchemy") if name in sys.modules]))
"""


def test_help_loads_nothing_slow():
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def help_of(name: str) -> str:
    command = COMMANDS[name]
    with click.Context(command, info_name=f"convwright {name}", max_content_width=100) as context:
        return command.get_help(context)
