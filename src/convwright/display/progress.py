"""Progress of long work, shown on a terminal until the work ends. No torch in here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from convwright.display.translation import translation
from convwright.printable import printable, printable_lines

errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Progress goes to standard error, so that results can be piped. Markup and emoji codes in names have no effect."""


def print_progress(text: str) -> None:
    """Print a line of progress on standard error, unwrapped; markup and control characters have no effect."""
    with suppress(OSError):  # a log that cannot be written must not end the work
        errors.print(literal(printable_lines(translation.get()(text))), soft_wrap=True)


def literal(text: str) -> Text:
    """Return text that is shown as it is: rich reads markup and emoji codes in `str` alone."""
    return Text(text)


def status_text(text: str) -> Text:
    """Return text for a status line: control characters in names are spelled out."""
    return literal(printable(text))


def described() -> TextColumn:
    """Return the column that describes a task, with no markup read into names."""
    return TextColumn("{task.description}", markup=False)


class Bars(Progress):
    """Progress bars on standard error, which are removed at the end; if it is not a terminal, nothing is printed.

    Args:
        columns: What each bar shows.
        options: Further options of `rich.progress.Progress`.
    """

    def __init__(self, *columns: str | ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, console=errors, transient=True, disable=not errors.is_terminal, **options)

    def stop(self) -> None:
        """Remove the bars."""
        if not self.disable:  # rich before 15 would print an empty line
            super().stop()


@contextmanager
def counting() -> Iterator[Callable[[int, int, str], None]]:
    """Yield a function that draws progress bars, on standard error if that is a terminal.

    Its arguments are the number of steps done, the number of all steps, and the name of the work; each name has a bar.
    """
    with Bars(described(), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn()) as bar:
        tasks: dict[str, object] = {}

        def show(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(printable(what), total=total)
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield show


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that replaces the text of a status line, which disappears at the end.

    Args:
        text: First text of the line.
    """
    if not errors.is_terminal:
        yield lambda _: None
        return
    with errors.status(status_text(text)) as shown:
        yield lambda step: shown.update(status_text(step))
