"""Replicas of the service on a Ray cluster, through Ray Serve.

Each replica is the application of the single process, in a process of the cluster; Ray's proxies, one on each node,
distribute the requests among them. This process starts the replicas and ends them when it receives a signal.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from convwright.errors import ArgumentError, ConvwrightError
from convwright.extras import require_package
from convwright.ray_connection import RayConnection, last_line, require_ray_library
from convwright.serving import logs
from convwright.serving.application import Application, application
from convwright.serving.limits import ServiceLimits
from convwright.serving.metrics import Metrics
from convwright.serving.models import Computing, Models, absolute, named
from convwright.serving.replica_metrics import MetricsBoard, ReplicaMetrics
from convwright.serving.server import KEPT_ALIVE, SIGNALS, warn_if_open

NAME = "convwright"
"""Name of the application in Ray Serve."""
PURPOSE = "serving on a cluster"
CHECK_SECONDS = 5.0
"""Time between two checks of the application's state."""
MARGIN_SECONDS = 5.0
"""Time beyond that of a request after which Ray Serve gives up a request or a replica that ends."""
STARTS = 3
"""Attempts to start Ray Serve."""
SPARE_REQUESTS = 64
"""Requests beyond the queue that a replica takes from Ray's proxies, so that it refuses them itself."""


@dataclass(frozen=True)
class Replicas:
    """The replicas of a service, and the cluster that runs them."""

    cluster: str
    """What `ray start` printed, `auto`, or `local` for a cluster of this process alone."""
    count: int = 1
    cores: int = 1
    """Processor cores of each replica."""


class ReplicaApplication:
    """The application of a replica, which opens its models when Ray Serve starts it.

    Args:
        paths: Run directories and exported files.
        limits: Limits of each replica.
        token: Token that requests need; None: none.
        how: How networks are computed.
        board: Ray's handle of the actor with the counters of all replicas, a `MetricsBoard`.
    """

    def __init__(
        self, paths: Sequence[Path], limits: ServiceLimits, token: str | None, how: Computing, board: Any
    ) -> None:
        self.paths, self.limits, self.token, self.how, self.board = paths, limits, token, how, board
        self.opened: Application | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI describes it."""
        if self.opened is None:
            self.opened = await asyncio.to_thread(self._open)
        await self.opened(scope, receive, send)

    def _open(self) -> Application:
        ExitStack().enter_context(logs.written_to())  # until the replica ends
        import ray

        board = self.board
        metrics = ReplicaMetrics(lambda name, counters: ray.get(board.exchange.remote(name, counters)))
        models = Models(self.paths, self.limits, metrics, self.how)
        if (torch := sys.modules.get("torch")) is not None and self.how.threads is not None:
            torch.set_num_threads(self.how.threads)
        logs.log("replica started", process=os.getpid(), models=[model.name for model in models])
        return application(models, self.limits, metrics, self.token)


def run_replicas(
    paths: Sequence[Path],
    limits: ServiceLimits,
    replicas: Replicas,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    engine: str | None = None,
) -> None:
    """Serve models on a cluster until this process receives SIGTERM or Ctrl-C, and then end the application.

    Args:
        paths: Run directories and exported files, under paths that all nodes have.
        limits: Limits of each replica.
        replicas: The replicas.
        host: Address to listen on, on each node.
        port: Port to listen on, on each node.
        token: Token that requests need; None: none.
        engine: Engine of exported files; None: the fastest.

    Raises:
        ArgumentError: The address cannot be used, two models have the same name, or the cluster has too few cores.
        ConvwrightError: A file or a run cannot be opened, the cluster serves something else, or it does not answer.
    """
    require_package("python_multipart", "reading forms")
    serve = require_ray_library("ray.serve", PURPOSE)
    if port == 0:
        raise ArgumentError("port", "must be given with a cluster, whose nodes all listen on it")
    how, paths = Computing(engine, replicas.cores), absolute(paths)
    Models(paths, limits, Metrics(), how).close()  # wrong files are reported before the cluster is used
    connection = RayConnection(replicas.cluster, replicas.cores, PURPOSE)
    try:
        _check_cluster(serve, connection, replicas)
        with logs.written_to(), _signals() as ended:
            app = ReplicaApplication(paths, limits, token, how, _metrics_board())
            with _deployed(serve, app, replicas, host, port):
                warn_if_open(host, token)
                shown = f"[{host}]" if ":" in host else host
                names = list(named(paths))
                logs.log("serving", address=f"http://{shown}:{port}", models=names, replicas=replicas.count)
                ended.ready = True
                _wait(serve, ended)
            logs.log("ended")
    finally:
        connection.close()


def _metrics_board() -> Any:
    """Return the handle of a new `MetricsBoard`, which ends with this process.

    Raises:
        ConvwrightError: The cluster no longer answers.
    """
    import ray

    try:
        return ray.remote(num_cpus=0)(MetricsBoard).remote()
    except Exception as error:  # Ray raises errors of many kinds where its processes have gone
        raise ConvwrightError(f"the replicas could not be started: {last_line(error)[:300]}") from None


def _check_cluster(serve: Any, connection: RayConnection, replicas: Replicas) -> None:
    """Check that a cluster has the cores, and that Ray Serve does not run there: its address could not be chosen."""
    if replicas.count > connection.size:
        raise ArgumentError(
            "replicas", f"{replicas.count} replicas need more cores than the cluster has; at most {connection.size} fit"
        )
    try:
        status = serve.status()
    except Exception as error:  # of Ray, where a busy machine has ended its processes
        raise ConvwrightError(f"the cluster does not answer: {last_line(error)[:300]}") from None
    if status.proxies or status.applications:
        found = ", ".join(status.applications) or "no application"
        raise ConvwrightError(
            f"the cluster runs Ray Serve already, with {found}; end it with 'serve shutdown', or use another cluster"
        )


@contextmanager
def _deployed(serve: Any, app: ReplicaApplication, replicas: Replicas, host: str, port: int) -> Iterator[None]:
    """Start the replicas and wait until they answer; end them and Ray Serve when the block ends."""
    limits = app.limits

    class Replica:
        """A replica; `ReplicaApplication` answers its requests."""

    deployment = serve.deployment(
        serve.ingress(app)(Replica),
        name=NAME,
        num_replicas=replicas.count,
        ray_actor_options={"num_cpus": replicas.cores},
        max_ongoing_requests=limits.queue + SPARE_REQUESTS,
        graceful_shutdown_timeout_s=limits.timeout + MARGIN_SECONDS,
    )
    options = {"host": host, "port": port, "keep_alive_timeout_s": KEPT_ALIVE}
    options["request_timeout_s"] = limits.timeout + MARGIN_SECONDS
    try:
        try:
            _start(serve, deployment, options)
        except Exception as error:  # of Ray, of Ray Serve, and of the proxy's socket
            raise ConvwrightError(f"the replicas could not be started: {last_line(error)[:300]}") from None
        yield
        with suppress(Exception):  # a cluster that no longer answers has no application to end
            serve.delete(NAME)
    finally:
        with suppress(Exception):
            serve.shutdown()


def _start(serve: Any, deployment: Any, options: dict[str, object]) -> None:
    """Start Ray Serve and the application, again where Ray Serve ended a process that was slow to start."""
    from ray.exceptions import RayActorError

    for attempt in range(1, STARTS + 1):
        try:
            serve.start(http_options=options)
            serve.run(deployment.bind(), name=NAME)
            return
        except RayActorError:
            if attempt == STARTS:
                raise
            logs.log("starting again", logging.WARNING, reason="Ray Serve ended a process that was slow to start")
            serve.shutdown()


@dataclass
class _Ending:
    """Whether a signal has come."""

    event: threading.Event
    ready: bool = False
    """Whether the replicas answer; before, a signal interrupts what is being started."""


@contextmanager
def _signals() -> Iterator[_Ending]:
    """Yield what SIGTERM and Ctrl-C set."""
    ended = _Ending(threading.Event())

    def end(number: int, _: FrameType | None) -> None:
        if not ended.event.is_set():
            logs.log("ending", signal=signal.Signals(number).name)
        ended.event.set()
        if not ended.ready:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield ended
        return
    before = {each: signal.signal(each, end) for each in SIGNALS}
    try:
        yield ended
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _wait(serve: Any, ended: _Ending) -> None:
    """Wait for a signal, and log when the application's state changes.

    Raises:
        ConvwrightError: The cluster no longer answers, or the application was ended by others.
    """
    shown = "RUNNING"
    while not ended.event.wait(CHECK_SECONDS):
        try:
            found = serve.status().applications.get(NAME)
        except Exception as error:  # Ray raises errors of many kinds where its processes have gone
            raise ConvwrightError(f"the cluster no longer answers: {last_line(error)[:300]}") from None
        if found is None:
            raise ConvwrightError("the application was ended by somebody else, for example with 'serve shutdown'")
        if found.status != shown:
            shown = str(getattr(found.status, "value", found.status))
            logs.log("state", logging.INFO if shown == "RUNNING" else logging.WARNING, state=shown)
