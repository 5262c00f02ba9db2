"""Lines of progress, bars and status lines show names as they are."""

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convwright.cli.generate import option_names
from convwright.display import progress
from convwright.printable import printable

CODES = st.sampled_from(
    [":100:", ":cat:", "[bold]", "[/]", "[red]x[/red]", ":", "[", "]", "\\[", "a b", "\x1b[31m", "\n"]
)
NAMES = st.lists(CODES, min_size=1, max_size=5).map("".join) | st.text(max_size=20)


def drawn(draw: Callable[[], object]) -> str:
    """Return what is drawn on the console of progress, as if that were a wide terminal."""
    file = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        for name, value in {"_file": file, "_force_terminal": True, "_width": 1000, "is_interactive": True}.items():
            patch.setattr(progress.errors, name, value)
        draw()
    return file.getvalue()


@given(NAMES)
def test_lines_show_names_as_they_are(name: str) -> None:
    lines = [printable(line) for line in f"<{name}>".split("\n")]
    assert "\n".join(lines) in drawn(lambda: progress.print_progress(f"<{name}>"))


@given(NAMES)
def test_status_lines_and_bars_show_names_as_they_are(name: str) -> None:
    def status() -> None:
        with progress.status("first") as update:
            update(f"<{name}>")
            progress.print_progress("a line above, with which the status is drawn again")

    def bar() -> None:
        with progress.counting() as show:
            show(1, 2, f"<{name}>")

    for draw in (status, bar):
        assert printable(f"<{name}>") in drawn(draw)


def test_code_is_in_the_words_of_the_command_line_while_a_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with option_names({"resolution": "--resolution"}):
        progress.print_progress("`resolution` changes it, and so does `fit=False`")
    progress.print_progress("`resolution` changes it")
    assert capsys.readouterr().err == "--resolution changes it, and so does --no-fit\n`resolution` changes it\n"
