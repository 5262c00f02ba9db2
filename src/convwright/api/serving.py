"""Models over HTTP."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from convwright.bounds import COUNT, DURATION
from convwright.errors import ArgumentError
from convwright.options import Bounds, checks_arguments

if TYPE_CHECKING:
    from convwright.training.run import Run

TOKEN = "CONVWRIGHT_TOKEN"
"""Environment variable with the token, used if the argument is missing."""


@checks_arguments
def serve(
    models: "Sequence[Run | str | Path] | Run | str | Path",
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Bounds(ge=0, le=65535)] = 8000,
    token: str | None = None,
    engine: str | None = None,
    batch: Annotated[int, Bounds(ge=1, le=1024)] = 8,
    wait: Annotated[float, Bounds(ge=0, le=1000)] = 2.0,
    queue: Annotated[int, COUNT] = 64,
    timeout: Annotated[float, DURATION] = 30.0,
    max_body: Annotated[float, Bounds(gt=0, le=2000)] = 20.0,
    max_pixels: Annotated[float, Bounds(gt=0, le=89)] = 50.0,
    max_images: Annotated[int, COUNT] = 64,
    cluster: str | None = None,
    replicas: Annotated[int, COUNT] = 1,
    cores_per_task: Annotated[int, COUNT] = 1,
) -> None:
    """Serve predictions of exported files and runs over HTTP, until the process is stopped.

    Models whose files change are loaded again without a dropped request. The page at /docs describes the addresses.

    Args:
        models: Exported files and runs. Their names are those of the files; NAME=PATH gives another name.
        host: Address to listen on; by default only this machine can connect. 0.0.0.0: every network.
        port: Port to listen on; 0: any that is free.
        token: Requests must have the header Authorization: Bearer TOKEN; /health and /ready need none. To keep the
            token out of the list of processes, set the environment variable CONVWRIGHT_TOKEN instead.
        engine: Engine for exported files: onnxruntime, openvino or torch; by default the fastest.
        batch: Most images to compute at once, of one or several requests. Only sizes that change no bit of a
            prediction are used.
        wait: Most milliseconds that an image waits for those of other requests.
        queue: Most requests at once; further ones are refused with status 429.
        timeout: Most seconds that a request takes; then it is refused with status 503.
        max_body: Most megabytes of a request; larger ones are refused with status 413.
        max_pixels: Most million pixels of an image; larger ones are refused with status 413.
        max_images: Most images of a request; more are refused with status 413.
        cluster: Serve on this Ray cluster through Ray Serve: an address, `auto`, or `local`. Its nodes read the files
            under the same paths, and all listen on `host` and `port`.
        replicas: Processes of the cluster that answer requests; the limits are those of each.
        cores_per_task: Cores of each replica.

    Raises:
        ArgumentError: The address cannot be used, or an argument has a wrong value.
        UsageError: A file or a run cannot be opened, or an optional package is missing.

    Example:
        >>> cw.serve(["fashion.onnx", "runs/digits"], port=8080)  # doctest: +SKIP
    """
    from convwright.serving.limits import ServiceLimits

    limits = ServiceLimits(max_body, max_pixels, max_images, queue, timeout, batch, wait)
    token = token if token is not None else os.environ.get(TOKEN) or None
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise ArgumentError("token", "must be printable ASCII characters, at least one")
    if cluster is not None:
        from convwright.serving.replicas import Replicas, run_replicas

        where = Replicas(cluster, replicas, cores_per_task)
        run_replicas(_paths(models), limits, where, host=host, port=port, token=token, engine=engine)
        return
    for name, value in (("replicas", replicas), ("cores_per_task", cores_per_task)):
        if value != 1:
            raise ArgumentError(name, "needs `cluster`; without one, a single process uses all cores")
    from convwright.serving.server import run_service

    run_service(_paths(models), limits, host=host, port=port, token=token, engine=engine)


def _paths(models: "Sequence[Run | str | Path] | Run | str | Path") -> list[Path]:
    from convwright.prediction.files import path_of

    several = models if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    return [path_of(each) for each in several]
