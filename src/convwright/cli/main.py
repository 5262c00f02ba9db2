"""The command line: the commands of `convwright`, and how they fail.

A command is a function in a file of its own here. Those files import only what is light at their top; torch,
numpy and their like are imported inside the function that needs them, so that every command starts at once.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from convwright.cli import (
    bench,
    data,
    demo,
    evaluate,
    explain,
    export,
    models,
    predict,
    report,
    reproduce,
    scale,
    show,
    train,
)
from convwright.cli.output import (
    PipeClosedError,
    abandon,
    complain,
    drop_broken_output,
    echo,
    output_errors,
    prepare_streams,
)
from convwright.errors import ConvwrightError, ConvwrightWarning

COMMANDS: dict[str, Callable[..., None]] = {
    "models": models.models,
    "show": show.show,
    "data": data.data,
    "train": train.train,
    "evaluate": evaluate.evaluate,
    "predict": predict.predict,
    "report": report.report,
    "export": export.export,
    "bench": bench.bench,
    "reproduce": reproduce.reproduce,
    "demo": demo.demo,
}
"""Every command, in the order in which help lists them."""
GROUPS: dict[str, typer.Typer] = {"scale": scale.app, "explain": explain.app}
"""Commands that have commands of their own."""

# What Typer raises where a command is used wrongly. Older versions stand on click and newer ones hold their
# own copy, so the class is found through the one that all of them export.
_WrongUse: type[Exception] = typer.BadParameter.__mro__[2]


class _StoppedError(ConvwrightError):
    exit_status = 130  # 128 + SIGINT, as shells report it


def _stopped(interruption: KeyboardInterrupt) -> _StoppedError:
    error = _StoppedError(str(interruption) or "interrupted")
    error.exit_status = getattr(interruption, "exit_status", _StoppedError.exit_status)
    return error


class _Commands(TyperGroup):
    """Raises interruptions and closed pipes as errors of ours, before Typer handles them in its own way."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            raise _stopped(interruption) from None
        except BrokenPipeError:
            raise PipeClosedError from None


app = typer.Typer(name="convwright", cls=_Commands, pretty_exceptions_enable=False)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Design, train, explain and ship efficient convolutional networks."""
    if version:
        from convwright import __version__

        echo(f"convwright {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        with output_errors():
            typer.echo(context.get_help())
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status: 0, 1 for work that failed, 2 for wrong use."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status. Errors are one line on stderr, without a traceback."""
    show = warnings.showwarning
    warnings.showwarning = partial(_warn, show, set())
    try:
        prepare_streams()
        status = app(list(arguments), prog_name="convwright", standalone_mode=False)
        with output_errors():
            sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (PipeClosedError, BrokenPipeError):
        abandon(sys.stdout)
        return PipeClosedError.exit_status
    except ConvwrightError as error:
        return _fail(error, error.exit_status)
    except _WrongUse as error:
        command = next((name for name in arguments if name in COMMANDS or name in GROUPS), "")
        return _fail(f"{_message(error)} (see '{' '.join(filter(None, ('convwright', command, '--help')))}')", 2)
    except typer.Abort:
        return _fail("interrupted", _StoppedError.exit_status)
    except OSError as error:  # a full disk, a file without permission: the system's reason is enough
        place = error.filename or ("standard output" if "--help" in arguments else "")  # help is printed by Typer
        return _fail(f"{place}: {error.strerror}" if place else error, 1)
    except KeyboardInterrupt as interruption:
        return _fail(interruption or "interrupted", _StoppedError.exit_status)
    finally:
        warnings.showwarning = show


def _warn(
    otherwise: Callable[..., None], printed: set[str], message: Warning | str, kind: type[Warning], *place: Any
) -> None:
    """Print our own warnings as one line, each once, and others as Python does."""
    if issubclass(kind, ConvwrightWarning):
        if str(message) not in printed:
            complain(message)
        printed.add(str(message))
    else:
        otherwise(message, kind, *place)


def _message(error: Any) -> str:
    """Return what was wrong, without the full stop that would end in the middle of our line."""
    return error.format_message().rstrip(".")


def _fail(error: object, status: int) -> int:
    """Report an error in one line. What the command had printed before must not fail when Python ends."""
    complain(error)
    drop_broken_output()
    return status
