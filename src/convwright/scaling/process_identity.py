"""Worker processes, identified so that another process of the same machine can see whether one still runs."""

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that trains a task."""

    host: str
    """The machine since it was started, or the container, so that process numbers are unique."""
    process: int
    started: str | None
    """Start time in ticks of the system's clock; None where the system has no /proc."""

    @classmethod
    def current(cls) -> "ProcessIdentity":
        """Return this process."""
        return cls(_host(), os.getpid(), _start_time(os.getpid()))

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "ProcessIdentity":
        """Return the process that `to_dict` described."""
        started = data.get("started")
        return cls(str(data.get("host")), int(str(data.get("process"))), None if started is None else str(started))

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready object."""
        return asdict(self)

    @property
    def is_alive(self) -> bool | None:
        """Whether the process runs; None for one of another machine, and on systems without /proc.

        A process that runs counts as alive even if it sends no heartbeats: it is only suspended, as with a laptop
        asleep, or has no access to the database for a while.
        """
        if self.host != _host() or self.started is None:
            return None
        return _start_time(self.process) == self.started


def _host() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def _start_time(process: int) -> str | None:
    """Return when a process started; None if it does not run, or the system has no /proc."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
