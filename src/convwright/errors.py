"""The errors that users see: one clear line, and the exit status of the command that met them.

Code in a message stands between backquotes, as Python has it: a parameter (`out`), one with its value (`clip_norm=1`),
or a call (`cw.resume('runs/a')`). The command line shows the option or the command instead.
"""

import contextlib
import functools
import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PASSED_OVER = (str(Path(__file__).parent) + os.sep, contextlib.__file__, functools.__file__)
"""Where the files lie that stand between a caller's line and a warning: this package, and what calls its functions."""


class ConvwrightError(Exception):
    """Work that failed. Its text is one line that says what was wrong and what would be right."""

    exit_status = 1


class UsageError(ConvwrightError):
    """Wrong use: an argument, a file's content or a combination that cannot mean anything."""

    exit_status = 2


class ArgumentError(UsageError):
    """An argument of a function with a value that it cannot have; the command line names the option instead.

    Args:
        argument: Name of the parameter.
        reason: What is wrong with its value, and what would be right.
    """

    source = ""
    """File that the value was read from; empty for a value that was given."""
    cause: "UsageError | None" = None
    """The error about the value, before the argument was named; None where there was none."""

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(f"{argument}: {reason}")
        self.argument, self.reason = argument, reason


class UnknownArgumentError(ArgumentError, TypeError):
    """An argument that a function does not have."""


class SeveralErrors(ArgumentError):  # noqa: N818 - it stands for several
    """Several arguments with values that they cannot have. Its text has a line for each.

    Args:
        errors: The errors, in the order of the arguments; `argument` and `reason` are those of the first.
    """

    def __init__(self, errors: Sequence[UsageError]) -> None:
        first = errors[0]
        if isinstance(first, ArgumentError):
            super().__init__(first.argument, first.reason)
        else:
            super().__init__("", str(first))
        self.errors = tuple(errors)
        self.args = ("\n".join(map(str, errors)),)


def each_error(error: UsageError) -> tuple[UsageError, ...]:
    """Return the errors that an error stands for."""
    return error.errors if isinstance(error, SeveralErrors) else (error,)


def together(errors: Sequence[UsageError]) -> UsageError:
    """Return one error for all errors of a call: the error itself where there is one, else `SeveralErrors`."""
    flat = [one for each in errors for one in each_error(each)]
    return flat[0] if len(flat) == 1 else SeveralErrors(flat)


@contextmanager
def collected(errors: list[UsageError]) -> Iterator[None]:
    """Append a usage error that is raised in the context to `errors` instead of passing it on."""
    try:
        yield
    except UsageError as error:
        errors.append(error)


class NetworkError(UsageError):
    """A network, or an expression naming one, that cannot be built."""


class DataError(UsageError):
    """Data that is not there, or that cannot be learnt from."""


class DataTooLargeError(DataError):
    """Images that at their resolution take more memory than there is."""


class RunError(UsageError):
    """A directory that is not a run, or a run that lacks the requested content."""


class ImagesChangedError(RunError):
    """Images that are not those that a run or a design began with."""


class WriteError(ConvwrightError):
    """A file that the system could not write, as on a full disk."""


class NotFiniteError(ConvwrightError):
    """A network's outputs or weights are NaN or infinite."""


class OutOfMemoryError(ConvwrightError):
    """Work that needs more memory than there is.

    Args:
        text: What does not fit, and what would.
        problem: What does not fit, without advice; empty: the text.
    """

    def __init__(self, text: str, problem: str = "") -> None:
        super().__init__(text)
        self.problem = problem or text


class RunHeldError(RunError):
    """A run that another process is training."""


class SubprocessError(ConvwrightError):
    """A process that was started for this work failed, after it had printed why.

    Args:
        text: What failed.
        status: Its exit status.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.exit_status = status


class ConvwrightWarning(UserWarning):
    """Warning about work that continues with a limitation. Its text is one line."""


def warn(message: str) -> None:
    """Warn with `ConvwrightWarning`. The warning names the line outside of this package whose call led to it.

    Args:
        message: What is limited, in one line.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(_PASSED_OVER):
        frame = frame.f_back
    assert frame is not None, "this Python has no frames"
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    name = frame.f_globals.get("__name__")
    warnings.warn_explicit(message, ConvwrightWarning, frame.f_code.co_filename, frame.f_lineno, name, registry)


@contextmanager
def argument(name: str) -> Iterator[None]:
    """Name an argument in errors about its value.

    Args:
        name: Name of the parameter whose value is used inside the context.

    Raises:
        ArgumentError: The context raised a `UsageError`. Other errors are passed on as they are.
    """
    try:
        yield
    except ArgumentError:
        raise
    except UsageError as error:
        named = ArgumentError(name, str(error))
        named.cause = error
        raise named from None
