"""Interruptions: Ctrl-C and SIGTERM stop a run between two steps, after a checkpoint has been saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals that stop a run."""


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal.

    Args:
        text: What was stopped, and how to resume it.
        number: Number of the signal.
    """

    printed = False
    """Whether the process that was stopped has printed the text already."""

    def __init__(self, text: str, number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.number = number
        self.exit_status = 128 + number  # as shells report a signal


class StopSignal:
    """A context in which the first signal only sets `requested`; a second one interrupts at once.

    In a thread other than the main thread signals are left alone.
    """

    def __init__(self) -> None:
        self.requested = 0
        """Number of the signal that was received; 0 for none."""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = number
