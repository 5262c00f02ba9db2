"""One process of a run on a node of a Ray cluster, started and watched by an actor. No torch in here."""

import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from convwright.files import unpack
from convwright.training.launch import free_port, group_options
from convwright.version import __version__

INTERFACE_ADDRESS = 0x8915
"""SIOCGIFADDR of linux/sockios.h."""


@dataclass(frozen=True)
class NodeFacts:
    """What a process of the cluster reports of its node before it starts to train."""

    name: str
    address: str
    """The node's address within the cluster."""
    port: int
    """A port that no process of the node uses."""
    version: str
    """The installed version of Convwright."""
    reads_run: bool
    """Whether the node reads the run directory under the same path."""
    writes_run: bool
    """Whether the node can write files into it."""
    reads_data: bool
    """Whether the node has the images under the same path."""


@dataclass(frozen=True)
class ProcessState:
    """How far a process has come."""

    status: int | None
    """Exit status, minus the number of the signal that killed it; None while it runs."""
    printed: str
    """What it has printed on standard error since the last time."""


class ClusterProcess:
    """An actor that runs `convwright train --resume` as a process of its node.

    A process of its own gets signals and can be ended, which a thread of the actor could not.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="convwright-run-")
        self.log = Path(self.folder.name) / "log"
        self.shown = 0
        """Bytes of the log that have been returned."""

    def facts(self, mark: str, data: str | None) -> NodeFacts:
        """Return what has to be known about the node.

        Args:
            mark: A file in the run directory that no other directory has.
            data: Path of the images; None: they have no path.
        """
        address = _node_address()
        readable = data is None or Path(data).exists()
        reads = Path(mark).exists()
        writes = reads and _is_writable(Path(mark).parent)
        return NodeFacts(platform.node(), address, free_port(address), __version__, reads, writes, readable)

    def start(
        self,
        run: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        files: Mapping[str, bytes] | None,
    ) -> None:
        """Start the process.

        Args:
            run: The run directory.
            arguments: Further arguments of `convwright train`.
            environment: Environment variables that are set for it.
            folder: Working directory, where the node has it.
            files: Files of the run directory, by name, where the node does not read it: they are copied; else None.
        """
        if files is not None:
            run = str(Path(self.folder.name) / "run")
            unpack(files, Path(run))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        # Lightning Fabric would take Slurm's variables, which the cluster was started with, for those of the run.
        if (interface := interface_of(_node_address())) is not None:
            kept.setdefault("GLOO_SOCKET_IFNAME", interface)
        where: dict[str, Any] = {"cwd": folder} if Path(folder).is_dir() else {}
        with self.log.open("wb") as log, heard_interrupts():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "convwright", "train", "--resume", run, *arguments],
                env=kept | dict(environment),
                stdout=subprocess.DEVNULL,
                stderr=log,
                **where,
                **group_options(),
            )

    def state(self) -> ProcessState:
        """Return whether the process has ended, and what it has printed."""
        assert self.process is not None, "start() comes first"
        status = self.process.poll()  # first, so that nothing it has printed is missed
        with self.log.open("rb") as log:
            log.seek(self.shown)
            content = log.read()
        whole = content if status is not None else content[: content.rfind(b"\n") + 1]
        self.shown += len(whole)
        return ProcessState(status, whole.decode(errors="replace"))

    def send(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self) -> None:
        """Kill the process, if it still runs, and remove the copy of the run."""
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGKILL)
            self.process.wait()
        self.folder.cleanup()


@contextmanager
def heard_interrupts() -> Iterator[None]:
    """Start processes that get SIGINT: Ray blocks it in its workers, and processes inherit that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_writable(folder: Path) -> bool:
    """Return whether this process can create files in a folder, tried with one that is removed again."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _node_address() -> str:
    ray: Any = import_module("ray")
    address: str = ray.util.get_node_ip_address()
    return address


def interface_of(address: str) -> str | None:
    """Return the network interface with an IPv4 address; None where it cannot be found out.

    Without it Gloo listens on the address that the machine's name has, which is often that of this machine alone.

    Args:
        address: The address.
    """
    if not sys.platform.startswith("linux"):
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                answer = fcntl.ioctl(opened.fileno(), INTERFACE_ADDRESS, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return None
