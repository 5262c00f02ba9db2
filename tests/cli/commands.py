"""Every command of the command line, for tests that hold for all of them."""

import click

from convwright.cli.main import app


def every_command() -> dict[str, click.Command]:
    """Return all commands but groups, by their words on the command line: `scale plan`."""
    found: dict[str, click.Command] = {}

    def collect(group: click.Group, words: tuple[str, ...]) -> None:
        with click.Context(group) as context:
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                assert command is not None
                if isinstance(command, click.Group):
                    collect(command, (*words, name))
                else:
                    found[" ".join((*words, name))] = command

    collect(app, ())
    return found


def option_names(command: click.Command) -> dict[str, str]:
    """Return the option of each parameter of a command, under its first name: `learning_rate: --learning-rate`."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {option.name: option.opts[0] for option in options if option.name}
