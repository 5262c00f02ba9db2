"""Checks of every request (host, token, size), and the headers of every response."""

import secrets
from collections.abc import Iterable
from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Scripts are the studio's own file. Drawings and tables of results have styles in them."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Gate:
    """Refuses requests without the token, from other hosts' pages, and with bodies that are too large.

    Args:
        app: The application.
        token: The token of the address.
        hosts: Host names that may be in the address; none: any.
        largest: Most bytes of a body.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str], largest: int) -> None:
        self.app, self.token, self.hosts, self.largest = app, token, frozenset(hosts), largest
        self.cookie = f"convwright-{sha256(token.encode()).hexdigest()[:8]}"  # browsers share cookies between ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = Headers(scope=scope)
        given = QueryParams(scope["query_string"]).get("token")
        if self.hosts and headers.get("host", "").rpartition(":")[0] not in self.hosts:
            await _refusal(403, "this host name is not that of the studio; use the printed address")(
                scope, receive, send
            )
        elif given is not None and self._is_token(given) and scope["method"] == "GET":
            response = RedirectResponse("/", 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            await response(scope, receive, send)
        elif not self._is_token(cookie_parser(headers.get("cookie", "")).get(self.cookie, "")):
            message = "the token is missing or wrong; open the address that `convwright studio` printed"
            await _refusal(401, message)(scope, receive, send)
        elif (refusal := _wrong_length(scope["method"], headers.get("content-length"), self.largest)) is not None:
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _wrong_length(method: str, length: str | None, largest: int) -> JSONResponse | None:
    """Return the refusal of a request by its header Content-Length; None where the header is right."""
    if length is None:
        text = "the header Content-Length is missing; send the number of bytes of the body"
        return _refusal(411, text) if method == "POST" else None
    if not (length.isascii() and length.isdigit()):
        return _refusal(400, "the header Content-Length must be a whole number of bytes")
    return _too_large(largest) if int(length[:20]) > largest else None


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _too_large(largest: int) -> JSONResponse:
    return _refusal(
        413,
        f"the request is larger than {largest / 1e6:g} MB; send a smaller image, or start the studio with a "
        "larger --max-upload",
    )
