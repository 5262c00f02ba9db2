"""Handling of every request: token, size of headers, log, metrics, and responses to unexpected errors."""

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convwright.printable import printable
from convwright.serving.limits import HEADER_BYTES
from convwright.serving.logs import log
from convwright.serving.metrics import Metrics
from convwright.serving.problems import Refusal

OPEN = frozenset(("/health", "/ready"))
"""Addresses that need no token: containers and load balancers request them to check the service."""
FACTS = "convwright"
"""Key in the ASGI scope of a request for the values that are added to its log line."""
DISCARD_BYTES, DISCARD_SECONDS = 100_000_000, 2.0
"""Maximum bytes and seconds for which the body of a refused request is read."""
DISCONNECTED = 499
"""Status in the log of a request whose client closed the connection before the response."""


class _Body:
    """The body of a request.

    That of a refused request is read to its end: a client that is still sending would not read the response.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive, self.ended = receive, False

    async def receive(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        self.ended = self.ended or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read the rest of the body and drop it, up to `DISCARD_BYTES` and for at most `DISCARD_SECONDS`."""
        count = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self.ended and count < DISCARD_BYTES:
                    count += len((await self.receive()).get("body", b""))


class Gate:
    """Checks requests before the application sees them, and logs and counts them.

    Args:
        app: The application.
        metrics: Counters of the service.
        token: Token that requests need; None: none.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, token: str | None = None) -> None:
        self.app, self.metrics, self.token = app, metrics, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        facts: dict[str, object] = {}
        scope[FACTS] = facts

        body = _Body(receive)

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    await body.discard()
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, body.receive, observed)
        except Refusal as refusal:
            await _refuse(refusal, observed)
            facts["code"] = refusal.code
        except ClientDisconnect:
            status = DISCONNECTED
        except Exception as error:  # unexpected: the log has its text, and the response must not reveal it
            facts |= {"code": "failed", "error": f"{type(error).__name__}: {printable(error)[:300]}"}
            if not status:
                await _refuse(Refusal(500, "failed", "the service failed; its log has the reason"), observed)
        self._count(scope, status, time.perf_counter() - started, facts)

    def _check(self, scope: Scope) -> None:
        """Check headers and token.

        Raises:
            Refusal: The headers are too large, or the token is missing or wrong.
        """
        headers = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES:
            raise Refusal(431, "headers_too_large", f"the headers have more than {HEADER_BYTES // 1024} kB")
        if self.token is None or scope["path"] in OPEN:
            return
        given = next((value for name, value in headers if name == b"authorization"), b"")
        if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
            raise Refusal(401, "no_token", "the token is missing or wrong; send the header Authorization: Bearer TOKEN")

    def _count(self, scope: Scope, status: int, seconds: float, facts: Mapping[str, object]) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        level = logging.ERROR if status >= 500 and status != 503 else logging.INFO
        path = printable(scope["path"])[:200]
        values = {"method": scope["method"], "path": path, "status": status, "milliseconds": round(1000 * seconds, 2)}
        log("request", level, **values, **facts)


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = refusal.body()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers()}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
