"""What processes of a run on other machines print. No torch in here."""

import sys
from contextlib import suppress

from convwright.training.launch import failure_reason

PREFIX = "convwright: "
"""Start of lines with warnings and errors."""


class ProcessOutput:
    """What a process has printed. Its last warnings and errors are kept until it is known how the run ends.

    Args:
        shown: Whether to print it on this machine's standard error.
    """

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown
        self.kept: list[str] = []
        self.last = ""
        self.lost = ""
        """Why the actor no longer answers."""

    def add(self, text: str) -> None:
        """Print the lines of a text, but for warnings and errors at its end."""
        for line in text.splitlines():
            self.kept.append(line)
            if not line.startswith(PREFIX):
                self.show_kept()
            self.last = line if line.strip() else self.last

    def show_kept(self) -> None:
        """Print the lines that are kept."""
        if self.shown:
            with suppress(OSError):  # a log that cannot be written must not end the work
                sys.stderr.write("".join(line + "\n" for line in self.kept))
                sys.stderr.flush()
        self.kept = []

    def reason(self, status: int) -> str:
        """Return why the process ended; a line that says so is not printed any more, those before it are."""
        if status > 0 and not self.lost:
            self.kept = self.kept[:-1]
        self.show_kept()
        if self.lost:
            return f"its node no longer answers ({self.lost})"
        return failure_reason(status, [self.last] if self.last else [])
