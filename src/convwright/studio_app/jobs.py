"""Processes that the studio starts: commands of Convwright that continue without it, read back from their records."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convwright import json_text
from convwright.errors import UsageError
from convwright.files import write_text
from convwright.scaling.process_identity import ProcessIdentity
from convwright.studio_app.folder import OWN, StudioFolder, read_json
from convwright.studio_app.job_process import PROCESS, STATUS

State = Literal["running", "finished", "stopped", "failed"]
MOST_RUNNING = 4
SHOWN = 6000
"""Last characters of the output that the page shows."""
SECONDS_TO_START = 60
INTERRUPTED = (130, -2, 143, -15)


@dataclass(frozen=True)
class Job:
    """A process as the page shows it."""

    number: int
    kind: str
    command: str
    state: State
    output: str
    result: str
    """Path of what it makes, relative to the studio's folder."""


class Jobs:
    """The processes of a folder.

    Args:
        folder: The studio's folder; commands run in it.
    """

    def __init__(self, folder: StudioFolder) -> None:
        self.folder = folder
        self.records = folder.path(f"{OWN}/jobs")
        self._children: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def start(self, kind: str, arguments: Sequence[str], result: str = "") -> Job:
        """Start a command in a session of its own.

        Args:
            kind: What it does, such as `train`.
            arguments: Arguments of `convwright`.
            result: Path of what it makes.

        Raises:
            UsageError: Too many processes run.
        """
        with self._lock:
            if sum(job.state == "running" for job in self.newest()) >= MOST_RUNNING:
                raise UsageError(f"{MOST_RUNNING} processes run already; stop one or wait")
            number = max([0, *self._numbers()]) + 1
            record = self.records / str(number)
            record.mkdir(parents=True)
            about = {"kind": kind, "arguments": list(arguments), "result": result, "started": time.time()}
            write_text(record / "job.json", json_text.dump(about))
            with (record / "output.txt").open("wb") as output:
                child = subprocess.Popen(
                    [sys.executable, "-m", "convwright.studio_app.job_process", str(record), *arguments],
                    cwd=self.folder.root,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | {"NO_COLOR": "1", "COLUMNS": "100"},
                )
            self._children.append(child)
        return self._job(number)

    def stop(self, number: int) -> Job:
        """Interrupt a process, as Ctrl+C does: training writes a checkpoint first.

        Raises:
            UsageError: There is no such process, or it has ended.
        """
        if number not in self._numbers() or self._job(number).state != "running":
            raise UsageError(f"process {number} is not running")
        identity = read_json(self.records / str(number) / PROCESS)
        if not identity:
            raise UsageError(f"process {number}: it is still starting; try again in a second")
        with suppress(ProcessLookupError):
            process = ProcessIdentity.from_dict(identity).process
            os.killpg(process, signal.SIGINT) if hasattr(os, "killpg") else os.kill(process, signal.SIGTERM)
        return self._job(number)

    def newest(self) -> list[Job]:
        """Return all processes, the newest first."""
        self._children = [child for child in self._children if child.poll() is None]
        return [self._job(number) for number in sorted(self._numbers(), reverse=True)[:20]]

    def _numbers(self) -> list[int]:
        with suppress(OSError):
            return [int(path.name) for path in self.records.iterdir() if path.name.isdigit()]
        return []

    def _job(self, number: int) -> Job:
        record = self.records / str(number)
        about = read_json(record / "job.json")
        arguments = about.get("arguments")
        command = shlex.join(["convwright", *map(str, arguments if isinstance(arguments, list) else [])])
        kind, result = str(about.get("kind", "")), str(about.get("result", ""))
        return Job(number, kind, command, _state(record, about), _last(record / "output.txt"), result)


def _state(record: Path, about: dict[str, object]) -> State:
    identity = read_json(record / PROCESS)
    alive = ProcessIdentity.from_dict(identity).is_alive if identity else None
    with suppress(OSError, ValueError):
        status = int((record / STATUS).read_text())
        return "finished" if status == 0 else "stopped" if status in INTERRUPTED else "failed"
    if not identity:
        started = about.get("started")
        young = isinstance(started, int | float) and time.time() - started < SECONDS_TO_START
        return "running" if young else "failed"
    if alive is None:
        with suppress(OSError):
            os.kill(ProcessIdentity.from_dict(identity).process, 0)
            return "running"
    return "running" if alive else "stopped"


def _last(path: Path) -> str:
    """Return the end of a file; of lines that were overwritten on the terminal the last version."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4 * SHOWN))
        text = file.read().decode("utf-8", "replace")
        return "\n".join(line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n"))[-SHOWN:]
    return ""
