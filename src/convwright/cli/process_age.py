"""How long the process of a command has run."""

import os
import time
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

IS_COMMAND: ContextVar[bool] = ContextVar("is_command", default=False)
"""Whether this process was started for one command, and does nothing else."""


def start_up_seconds() -> float:
    """Return the seconds since this process started; 0 if it was not started for one command."""
    return process_age() if IS_COMMAND.get() else 0.0


def process_age() -> float:
    """Return the age of this process in seconds; its processor time on systems without /proc."""
    with suppress(OSError, ValueError, IndexError):
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), in ticks since the boot
        return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)
    return time.process_time()
