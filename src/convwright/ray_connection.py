"""Connections to a Ray cluster. Ray is imported when a connection is opened."""

import logging
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from convwright.errors import ArgumentError, ConvwrightError, UsageError
from convwright.extras import install_command, require_package

LOCAL = "local"
"""Address of a cluster of this process alone."""
CLIENT = "ray://"
"""Start of addresses of Ray's client server."""
PATIENCE = 10.0
"""Seconds within which a connection to a cluster must be made."""


class RayConnection:
    """A connection to a Ray cluster, closed when the context ends if it was opened here.

    Args:
        address: What `ray start` printed, `auto`, or `local` for a cluster of this process alone.
        cores: Processor cores of a task or a worker.
        purpose: What needs the cluster, as the subject of the error message where Ray is missing.

    Raises:
        ArgumentError: The address is none, the number of cores is wrong, or no node of the cluster has as many.
        UsageError: Ray is not installed.
        ConvwrightError: No cluster answers at the address.
    """

    def __init__(self, address: str, cores: int = 1, purpose: str = "training on a cluster") -> None:
        if cores < 1:
            raise ArgumentError("cores_per_task", f"must be 1 or more, not {cores}")
        check_address(address)
        with _signal_handlers_kept():  # Ray replaces that of SIGTERM
            self.ray: Any = require_package("ray", purpose)
            self.cores = cores
            self.started = not self.ray.is_initialized()
            if self.started:
                self._start(address)
            else:
                _check_connected(self.ray, address)
        try:
            self._check_cores()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection, if it was opened here; with it a cluster of this process alone."""
        if self.started:
            with _signal_handlers_kept():
                self.ray.shutdown()

    @property
    def size(self) -> int:
        """Number of tasks or workers that the cluster can run at once, each of them on one node."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return max(1, sum(int(each.get("CPU", 0)) // self.cores for each in nodes))

    def _start(self, address: str) -> None:
        _check_reachable(address)
        own = {"address": LOCAL, "include_dashboard": False} if address == LOCAL else {"address": address}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a client that gets no answer, which the error reports
                self.ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises some without a class of their own
            advice = "; a cluster with tokens needs RAY_AUTH_MODE=token and its token" * (address != LOCAL)
            raise ConvwrightError(f"no Ray cluster answers at {address}: {first_line(error)}{advice}") from None

    def _check_cores(self) -> None:
        """Check that a node has the cores of a task: Ray would wait forever for one that has."""
        most = max((int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]), default=0)
        if self.cores > most > 0:
            raise ArgumentError("cores_per_task", f"must be at most {most}, the cores of the cluster's largest node")


def _check_connected(ray: Any, address: str) -> None:
    """Check that this process, which is connected to a cluster already, is not asked for another one."""
    if address in (LOCAL, "auto") or address.startswith(CLIENT):  # a client's address is not kept by Ray
        return
    own = str(ray.get_runtime_context().gcs_address)
    if _resolved(own) != _resolved(address):
        raise ArgumentError(
            "cluster",
            f"this process is connected to the Ray cluster at {own}, not {address}; end that connection first",
        )


def _resolved(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    with suppress(OSError):
        host = socket.gethostbyname(host.strip("[]"))
    return host, port


def check_address(address: str) -> None:
    """Check that an address is one of a cluster, without connecting to it.

    Raises:
        ArgumentError: The address is not that of a cluster.
    """
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if address not in (LOCAL, "auto") and "://" not in host and (not host or not port.isdecimal()):
        raise ArgumentError("cluster", f"must be `auto`, `local`, HOST:PORT or ray://HOST:PORT, not {address!r:.80}")


def _check_reachable(address: str) -> None:
    """Check that something listens at an address: Ray itself tries for minutes, and prints that again and again.

    Raises:
        ArgumentError: It is no address.
        ConvwrightError: Nothing listens there.
    """
    check_address(address)
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if address in (LOCAL, "auto") or "://" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConvwrightError(f"no Ray cluster answers at {address}: {reason}") from None


def require_ray_library(module: str, purpose: str) -> Any:
    """Import a library of Ray, such as `ray.data`, whose dependencies Ray alone does not bring.

    Args:
        module: The module to import.
        purpose: What needs it, as the subject of the error message.

    Raises:
        UsageError: Ray or a package that the library needs is not installed.
    """
    require_package("ray", purpose)
    try:
        return import_module(module)
    except ImportError as error:
        reason = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else first_line(error)
        raise UsageError(f"{purpose} needs {module}: {reason}: {install_command('ray')}") from None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, where Ray has the reason; its type where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Put back the handlers of SIGINT and SIGTERM when the block ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
