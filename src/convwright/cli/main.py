"""The command line: the commands of `convwright`, and how they fail.

Each command is loaded when it is used, so that every command starts at once.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from convwright.cli.messages import in_command_line_words
from convwright.cli.one_command import IS_ONE_COMMAND
from convwright.cli.output import (
    PipeClosedError,
    abandon,
    drop_broken_output,
    echo,
    output_errors,
    prepare_streams,
    print_error,
)
from convwright.errors import ConvwrightError, ConvwrightWarning, SeveralErrors, SubprocessError
from convwright.extras import missing_package
from convwright.version import __version__


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    Args:
        name: Name of the group.
        lazy: Module and variable of each command, and the line that help shows for it; without a line the command is
            hidden.
        options: What `click.Group` takes.
    """

    def __init__(self, name: str, lazy: dict[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(name, **options)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of help."""
        return [name for name, (_, line) in self.lazy.items() if line]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in self.lazy:
            return None
        module, _, variable = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"convwright.cli.{module}"), variable)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List all commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][1]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that a shell offers, without importing the commands."""
        named = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=self.lazy[name][1]) for name in named] + options

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises a `ConvwrightError` where it is interrupted or its output pipe is closed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            raise _stopped(interruption) from None
        except BrokenPipeError:
            raise PipeClosedError from None


COMMANDS: dict[str, tuple[str, str]] = {
    "models": ("models:models", "List the networks of the zoo."),
    "show": ("show:show", "Show a network's stages, cost and drawing."),
    "data": ("data:data", "Survey a data set before training on it."),
    "train": ("train:train", "Train a network on images."),
    "evaluate": ("evaluate:evaluate", "Measure a trained network on the test images."),
    "compare": ("compare:compare", "Compare two trained networks on the same images."),
    "predict": ("predict:predict", "Rank the most likely classes of images."),
    "report": ("report:report", "Write a page that compares trained networks."),
    "export": ("export:export", "Write a trained network as one verified file."),
    "bench": ("bench:bench", "Measure latency in every engine."),
    "serve": ("serve:serve", "Serve predictions over HTTP."),
    "studio": ("studio:studio", "Open a local web application."),
    "reproduce": ("reproduce:reproduce", "Compare the papers' published values with ours."),
    "design": ("design:design", "Design, train and export a network for images and a budget."),
    "ablate": ("ablate:ablate", "Measure which of the three papers' ideas helps on your data."),
    "demo": ("demo:demo", "Design a network for real images in four minutes."),
    "scale": ("scale:app", "Plan, search and train scaled networks."),
    "explain": ("explain:app", "Show what a trained network looks at, reuses and gates."),
}
"""Every command, in the order in which help lists them: its place, and its line in the list."""


class _StoppedError(ConvwrightError):
    exit_status = 130  # 128 + SIGINT, as shells report it


def _stopped(interruption: KeyboardInterrupt) -> _StoppedError:
    error = _StoppedError(str(interruption) or "interrupted")
    error.exit_status = getattr(interruption, "exit_status", _StoppedError.exit_status)
    return error


@click.group(
    "convwright",
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings={"max_content_width": 100, "help_option_names": ["--help", "-h"]},
)
@click.option("--version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def app(context: click.Context, version: bool) -> None:
    """Design, train, explain and ship efficient convolutional networks."""
    if version:
        echo(f"convwright {__version__}")
    elif context.invoked_subcommand is None:
        echo(context.get_help())
    else:
        return
    context.exit()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status: 0, 1 for work that failed, 2 for wrong use."""
    IS_ONE_COMMAND.set(arguments is None)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status. Errors are one line on stderr, without a traceback."""
    show = warnings.showwarning
    warnings.showwarning = partial(_warn, show, set())
    try:
        prepare_streams()
        status = app.main(list(arguments), prog_name="convwright", standalone_mode=False)
        with output_errors():
            sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (PipeClosedError, BrokenPipeError):
        abandon(sys.stdout)
        return PipeClosedError.exit_status
    except SubprocessError as error:
        return error.exit_status  # the process has printed why
    except ConvwrightError as error:
        return _fail(error, error.exit_status)
    except click.ClickException as error:
        return _fail(_usage_message(error), 2)
    except click.exceptions.Abort:
        return _fail("interrupted", _StoppedError.exit_status)
    except OSError as error:  # a full disk, a file without permission: the system's reason is enough
        place = error.filename or ("standard output" if "--help" in arguments else "")  # click prints help
        return _fail(f"{place}: {error.strerror}" if place else error, 1)
    except KeyboardInterrupt as interruption:
        return _fail(interruption or "interrupted", _StoppedError.exit_status)
    except ImportError as error:
        missing = missing_package(error)
        if missing is None:
            raise
        return _fail(missing, missing.exit_status)
    finally:
        warnings.showwarning = show


def _warn(
    show: Callable[..., None], printed: set[str], message: Warning | str, kind: type[Warning], *place: Any
) -> None:
    """Print warnings of Convwright as one line, each once, and other warnings as Python does."""
    if issubclass(kind, ConvwrightWarning):
        if str(message) not in printed:
            print_error(in_command_line_words(str(message)))
        printed.add(str(message))
    else:
        show(message, kind, *place)


def _usage_message(error: click.ClickException) -> str:
    """Return what was wrong with the arguments, and the command that shows the right ones."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "convwright"
    return f"{error.format_message().rstrip('.')} (see '{command} --help')"


def _fail(error: object, status: int) -> int:
    """Report an error in one line, and several in a line each.

    What the command had printed before must not fail when Python ends.
    """
    for each in error.errors if isinstance(error, SeveralErrors) else (error,):
        print_error(in_command_line_words(str(each)))
    drop_broken_output()
    return status
