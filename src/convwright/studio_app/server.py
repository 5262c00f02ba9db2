"""The process of the studio: its socket, its address and its end."""

import contextlib
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from convwright.errors import ArgumentError
from convwright.studio_app.application import application

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def run_studio(
    root: Path, *, allow: Sequence[Path], host: str, port: int, open_browser: bool, max_upload: float
) -> None:
    """Serve the studio until the process receives SIGTERM or Ctrl-C.

    Args:
        root: The folder.
        allow: Further folders that may be read.
        host: Address to listen on.
        port: Port to listen on; 0: any that is free.
        open_browser: Whether to open the page in the browser.
        max_upload: Most megabytes of a request.

    Raises:
        ArgumentError: The address cannot be used.
    """
    token = secrets.token_urlsafe(24)
    root, allow = root.resolve(), [path.resolve() for path in allow]
    # Runs name their images relative to the folder in which they were trained.
    with _listening(host, port) as listener, contextlib.chdir(root):
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/?token={token}"
        hosts = LOOPBACK if shown in LOOPBACK else ()
        app = application(root, token, allow=allow, hosts=hosts, max_upload=max_upload)
        config = uvicorn.Config(
            app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=1, lifespan="off"
        )
        print(f"Studio of {root}: {address}", flush=True)
        print("Stop it with Ctrl+C; runs that it started continue.", file=sys.stderr, flush=True)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        name = "host" if isinstance(error, socket.gaierror | UnicodeError) else "port"
        raise ArgumentError(name, f"cannot listen on {host} port {port}: {reason}; choose another one") from None
