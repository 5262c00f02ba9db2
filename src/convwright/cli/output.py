"""Everything that commands print: safe for terminals, in any encoding, and with closed or full outputs reported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from convwright import json_text
from convwright.errors import ConvwrightError
from convwright.printable import escape_in_json, printable, printable_lines

_UNENCODABLE = "backslashreplace"


class OutputError(ConvwrightError):
    """Standard output could not be written."""


class PipeClosedError(ConvwrightError):
    """The reader of standard output has gone; nothing is reported, as for other programs in a pipe."""

    exit_status = 128 + 13  # SIGPIPE


def prepare_streams() -> None:
    """Make standard output and error ready for any text.

    Characters that their encoding lacks are written as escapes. Closed streams are replaced by the null device, so
    that no file of ours gets their numbers.

    Raises:
        OutputError: Standard output is closed.
    """
    closed = sys.stdout is None
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _fill_standard_descriptors()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open to the end
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_UNENCODABLE)
    if closed:
        raise OutputError("standard output is closed; send it to a file, or to /dev/null")


def _fill_standard_descriptors() -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


def echo(text: object = "") -> None:
    """Print text of one or more lines on standard output.

    Control characters are spelled out. Names inside the text should have gone through `printable`, which spells line
    breaks out too.
    """
    write(printable_lines(str(text)) + "\n")


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print a value as JSON on standard output; see `json_line`."""
    write(json_line(value, indent=indent) + "\n")


def json_line(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON text that standard output can hold.

    Characters that could steer a terminal are escaped, and so is all that is not ASCII where the encoding of standard
    output lacks a character.

    Raises:
        ConvwrightError: A number in the value is NaN or infinite.
    """
    text = json_text.dump(value, indent=indent)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return escape_in_json(json_text.dump(value, indent=indent, ascii_only=True))
    return escape_in_json(text)


def write(text: str, stream: IO[str] | None = None) -> None:
    """Write text to standard output, or to the stream that stood for it, as it is, and flush it."""
    stream = stream or sys.stdout
    with output_errors():
        stream.write(text)
        stream.flush()


@contextmanager
def output_errors() -> Iterator[None]:
    """Report what fails while standard output is written as an error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise PipeClosedError from None
    except OSError as error:
        raise OutputError(f"standard output could not be written: {error.strerror or error}") from None


def print_error(text: object) -> None:
    """Print one line about what is wrong on standard error; without a reader it is dropped."""
    line = printable(" ".join(str(text).split(None)))
    with suppress(OSError):
        print(f"convwright: {line}", file=sys.stderr, flush=True)


def drop_broken_output() -> None:
    """Drop what is buffered for standard output if it cannot be written, so that Python can end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        abandon(sys.stdout)


def abandon(stream: IO[str]) -> None:
    """Send what is still buffered for a stream that cannot be written to the null device, so that Python can end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
