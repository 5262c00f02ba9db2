"""The process of a service: its socket, its signals and its shutdown."""

import logging
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from convwright.engines.runner import cores
from convwright.errors import ArgumentError
from convwright.extras import require_package
from convwright.serving import logs
from convwright.serving.application import Application, application
from convwright.serving.limits import ServiceLimits
from convwright.serving.metrics import Metrics
from convwright.serving.models import Computing, Models
from convwright.serving.problems import Refusal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEPT_ALIVE = 75
"""Seconds that an idle connection stays open: longer than usual clients and proxies keep it (60), since a request that
is sent while the service closes the connection is lost."""


class JsonProtocol(H11Protocol):
    """Uvicorn's HTTP protocol, which also refuses bytes that are not HTTP with a JSON body."""

    def send_400_response(self, msg: str) -> None:
        """Send the response to bytes that are not HTTP, or to headers that are too large."""
        refusal = Refusal(400, "not_http", "the request is not valid HTTP, or its headers are too large")
        body = refusal.body()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()


class Server(uvicorn.Server):
    """A server that reports that it is ending as soon as it receives a signal.

    Args:
        config: Uvicorn's configuration.
        app: The application.
    """

    def __init__(self, config: uvicorn.Config, app: Application) -> None:
        super().__init__(config)
        self.application = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new connections, and end when all requests are answered."""
        if not self.application.service.draining:
            logs.log("ending", signal=signal.Signals(sig).name)
        self.application.service.draining = True
        super().handle_exit(sig, frame)


def run_service(
    paths: Sequence[Path],
    limits: ServiceLimits,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    engine: str | None = None,
) -> None:
    """Serve models until the process receives SIGTERM or Ctrl-C.

    Args:
        paths: Run directories and exported files.
        limits: Limits of the service.
        host: Address to listen on.
        port: Port to listen on; 0: any that is free.
        token: Token that requests need; None: none.
        engine: Engine of exported files; None: the fastest.

    Raises:
        ArgumentError: The address cannot be used, or two models have the same name.
        ConvwrightError: A file or a run cannot be opened.
    """
    require_package("python_multipart", "reading forms")
    with _listening(host, port) as listener, logs.written_to():
        metrics = Metrics()
        app = application(Models(paths, limits, metrics, Computing(engine)), limits, metrics, token)
        config = uvicorn.Config(
            app,
            http=JsonProtocol,
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            timeout_keep_alive=KEPT_ALIVE,
            timeout_graceful_shutdown=int(limits.timeout) + 1,
        )
        actual = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        warn_if_open(host, token)
        server = Server(config, app)
        with _ending_on_signals(server):
            names = [model.name for model in app.service.models]
            logs.log("serving", address=f"http://{shown}:{actual}", models=names, cores=cores())
            server.run(sockets=[listener])
        logs.log("ended")


def warn_if_open(host: str, token: str | None) -> None:
    """Log a warning if other machines can use the service without a token."""
    if host not in LOOPBACK and token is None:
        advice = "set a token, so that only those who know it can use the service"
        logs.log("open to other machines", logging.WARNING, advice=advice)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        name = "host" if isinstance(error, socket.gaierror | UnicodeError) else "port"
        raise ArgumentError(name, f"cannot listen on {host} port {port}: {reason}; choose another one") from None
    with listener:
        yield listener


@contextmanager
def _ending_on_signals(server: Server) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server also before it runs.

    After its shutdown, uvicorn raises the signal that ended it again; then it has no effect here, so that the process
    can write its last log line.
    """

    def end(number: int, _: FrameType | None) -> None:
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, end) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            with suppress(TypeError):  # a handler that Python did not set
                signal.signal(each, handler)
