"""How far work has come, shown on a terminal while it lasts. Light: no torch in here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

errors = Console(stderr=True, highlight=False)
"""Progress goes to standard error, so that results can be piped."""


def say(text: str) -> None:
    """Print a line of progress as it is: not wrapped, and with no markup read into file names."""
    errors.print(text, markup=False, soft_wrap=True)


@contextmanager
def counting() -> Iterator[Callable[[int, int, str], None]]:
    """Give a function (done, total, what) that shows how far a count has come."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bar:
        tasks: dict[str, object] = {}

        def show(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield show
