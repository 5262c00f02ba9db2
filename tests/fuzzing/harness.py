"""What every fuzz test shares: random inputs either work or end in one clear line, soon, and in little memory."""

import random
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from convwright.errors import ConvwrightError, ConvwrightWarning, SeveralErrors
from convwright.printable import printable

HANG_SECONDS = 60
"""An input that takes longer than this hangs."""
MEMORY_BYTES = 1_500_000_000
"""Most memory that the inputs of one test may take beyond what the process had."""
LONGEST_LINE = 3000
EXAMPLES = 100
"""Inputs between two looks at the clock."""


@dataclass
class Count:
    """What became of the inputs of one test."""

    worked: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0

    def __str__(self) -> str:
        total = self.worked + self.refused
        return (
            f"{total:7,} inputs: {self.worked:,} worked, {self.refused:,} refused in one line; "
            f"slowest {self.slowest:.2f} s, {self.memory / 1e6:,.0f} MB more memory"
        )


class HangError(BaseException):
    """An input that did not end; no `Exception`, so that neither commands nor Hypothesis catch it."""


@contextmanager
def limited() -> Iterator[None]:
    """Interrupt what takes longer than `HANG_SECONDS`, where the system has a timer for it."""

    def end(*_: object) -> None:
        raise HangError

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_error(error: ConvwrightError) -> None:
    """Check that an error is one line that a terminal can show, with an exit status of the contract."""
    assert error.exit_status in (1, 2), error.exit_status
    for each in error.errors if isinstance(error, SeveralErrors) else (error,):
        line = str(each)
        assert line, "an error without text"
        assert "\n" not in line, line
        assert printable(line) == line, ascii(line)
        assert len(line) < LONGEST_LINE, line


def check(use: Callable[[Any], object], value: Any, count: Count) -> None:
    """Use one input. Warnings of others are errors too: a command would print them."""
    started = time.monotonic()
    with warnings.catch_warnings(), limited():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvwrightWarning)
        try:
            use(value)
            count.worked += 1
        except ConvwrightError as error:  # any other error fails the test
            check_error(error)
            count.refused += 1
    count.slowest = max(count.slowest, time.monotonic() - started)


def fuzz(inputs: st.SearchStrategy[Any], use: Callable[[Any], object], *, seconds: float, examples: int) -> Count:
    """Use random inputs.

    Args:
        inputs: Where they come from.
        use: Does with an input what a command does.
        seconds: Go on for this long, each time from another seed; 0: `examples` inputs, always the same.
        examples: How many inputs there are without `seconds`.
    """
    count, before, end = Count(), peak_bytes(), time.monotonic() + seconds
    start = random.SystemRandom().randrange(2**32) if seconds else 0
    for turn in range(10**9):
        options = settings(
            max_examples=EXAMPLES if seconds else examples,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )

        @options
        @seed(start + turn)
        @given(inputs)
        def one(value: Any) -> None:
            check(use, value, count)

        try:
            one()
        except HangError:
            pytest.fail(f"an input hangs: see the traceback; seed {start + turn}")
        if time.monotonic() >= end:
            break
    count.memory = peak_bytes() - before
    assert count.memory < MEMORY_BYTES, count
    return count


def peak_bytes() -> int:
    """Return the most memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
