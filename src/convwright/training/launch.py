"""Start the processes of a run on this machine, pass signals on, and end all when one has ended badly."""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from convwright.errors import ConvwrightError

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE = 3.0
"""Seconds in which the first process may end by itself after another has failed."""
PATIENCE = 30.0
"""Seconds in which the others may end by themselves after one has."""


def launch(devices: int, arguments: Sequence[str], run: Path) -> int:
    """Run `convwright` with these arguments in so many processes; return the exit status of the first.

    Only the first is heard. Raises ConvwrightError naming the process that ended badly, if it was another.
    """
    environment = os.environ | {
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices))),
    }
    with tempfile.TemporaryFile() as unheard:
        processes = [_start(rank, arguments, environment, unheard) for rank in range(devices)]
        with _Forwarding(processes):
            failed = _first_failure(processes)
            _end(processes)
        if failed > 0:
            unheard.seek(0)
            lines = unheard.read().decode(errors="replace").strip().splitlines()
            why = _told(processes[failed].returncode, lines)
            raise ConvwrightError(
                f"{run}: the process of device {failed} ended: {why}; "
                f"resume from the last checkpoint with: convwright train --resume {shlex.quote(str(run))}"
            )
        return processes[0].returncode if processes[0].returncode >= 0 else 128 - processes[0].returncode


def _start(
    rank: int, arguments: Sequence[str], environment: dict[str, str], unheard: IO[bytes]
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "convwright", *arguments]
    own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    heard = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": unheard}
    return subprocess.Popen(command, env=own, process_group=0, preexec_fn=_end_with_parent, **heard)  # type: ignore[call-overload]


def _first_failure(processes: "Sequence[subprocess.Popen[bytes]]") -> int:
    """Wait until all have ended well, or one has not; return its number, or 0."""
    while True:
        ended = [process.poll() for process in processes]
        failures = [rank for rank, status in enumerate(ended) if status]
        if failures:
            # An error that all processes meet is reported by the first; one that waits for a dead one never ends.
            deadline = time.monotonic() + GRACE
            while processes[0].poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            return 0 if processes[0].poll() else failures[0]
        if None not in ended:
            return 0
        time.sleep(0.05)


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Give the others time to end by themselves only if the first has; a process that waits for a dead one cannot."""
    deadline = time.monotonic() + (PATIENCE if processes[0].poll() is not None else 0)
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def _told(status: int, lines: Sequence[str]) -> str:
    if status < 0:
        return f"killed by signal {-status}"
    return lines[-1].removeprefix("convwright: ") if lines else f"exit status {status}"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _end_with_parent() -> None:
    """Have Linux end this process when the one that started it is killed."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class _Forwarding:
    """A context in which signals are passed on: the processes have a group of their own, so each hears them once."""

    def __init__(self, processes: "Sequence[subprocess.Popen[bytes]]") -> None:
        self.processes = processes
        self.before: dict[int, object] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._pass_on)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _pass_on(self, number: int, _: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)
