"""The processes of a run on several devices: started, sent signals, and ended when one has failed."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from convwright.errors import ConvwrightError
from convwright.machine import c_function

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE = 3.0
"""Seconds in which the first process may end by itself after another one has failed."""
PATIENCE = 30.0
"""Seconds in which the other processes may end by themselves after the first one."""


def launch(devices: int, arguments: Sequence[str], run: Path, *, quiet: bool = False) -> int:
    """Run `convwright` in one process for each device.

    Only the first process prints.

    Args:
        devices: Number of processes.
        arguments: Arguments of the command line.
        run: The run directory, for messages.
        quiet: Whether the first process prints nothing either.

    Returns:
        Exit status of the first process.

    Raises:
        ConvwrightError: Another process failed; the message has its number and its last line.
    """
    environment = os.environ | {
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices))),
    }
    with tempfile.TemporaryFile() as silenced:
        processes = [_start(rank, arguments, environment, silenced, quiet=quiet) for rank in range(devices)]
        with _Forwarding(processes):
            failed = _first_failure(processes)
            _end(processes)
        if failed > 0:
            silenced.seek(0)
            lines = silenced.read().decode(errors="replace").strip().splitlines()
            why = failure_reason(processes[failed].returncode, lines)
            raise ConvwrightError(
                f"{run}: the process of device {failed} ended: {why}; "
                f"resume from the last checkpoint with `cw.resume({str(run)!r})`"
            )
        return processes[0].returncode if processes[0].returncode >= 0 else 128 - processes[0].returncode


def _start(
    rank: int, arguments: Sequence[str], environment: dict[str, str], silenced: IO[bytes], *, quiet: bool
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "convwright", *arguments]
    environment = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    options: dict[str, Any] = {} if rank == 0 and not quiet else {"stdout": subprocess.DEVNULL, "stderr": silenced}
    return subprocess.Popen(command, env=environment, **options, **group_options())


def group_options() -> dict[str, Any]:
    """Return options of `subprocess.Popen` for a process that gets signals from its parent only, and ends with it."""
    if os.name == "posix":
        prctl = c_function("prctl") if sys.platform.startswith("linux") else None

        def end_with_parent() -> None:
            """End this process when the one that started it is killed, where the system is Linux."""
            if prctl is not None:  # looked up before the fork, after which other threads may hold the loader's lock
                prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        return {"process_group": 0, "preexec_fn": end_with_parent}
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def _first_failure(processes: "Sequence[subprocess.Popen[bytes]]") -> int:
    """Wait until all processes have ended, or one has failed; return the number of that one, or 0."""
    while True:
        ended = [process.poll() for process in processes]
        failures = [rank for rank, status in enumerate(ended) if status]
        if failures:
            # The first process reports an error that all have; a process that waits for a dead one never ends.
            deadline = time.monotonic() + GRACE
            while processes[0].poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            return 0 if processes[0].poll() else failures[0]
        if None not in ended:
            return 0
        time.sleep(0.05)


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """End all processes. They get time to end by themselves only if the first one has ended."""
    deadline = time.monotonic() + (PATIENCE if processes[0].poll() is not None else 0)
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def failure_reason(status: int, lines: Sequence[str]) -> str:
    """Return why a process ended.

    Args:
        status: Its exit status; minus the number of the signal that killed it.
        lines: What it printed.

    Returns:
        The signal, its last line, or its exit status.
    """
    if status < 0:
        return f"killed by signal {-status}"
    return lines[-1].removeprefix("convwright: ") if lines else f"exit status {status}"


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of this machine that no process uses.

    Args:
        host: An address of this machine.
    """
    with socket.socket() as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])


class _Forwarding:
    """A context in which signals are passed on to processes.

    The processes have a group of their own, so that each gets a signal once. In a thread other than the main thread
    Python allows no signal handlers, and signals are left alone.
    """

    def __init__(self, processes: "Sequence[subprocess.Popen[bytes]]") -> None:
        self.processes = processes
        self.before: dict[int, object] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self.before[number] = signal.signal(number, self._pass_on)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _pass_on(self, number: int, _: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)
