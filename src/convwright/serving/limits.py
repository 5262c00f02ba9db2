"""What a service accepts, and how many requests at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from convwright.serving.problems import Refusal

BODIES = 8
"""Number of bodies of the maximum size that may be in memory at once."""
HEADER_BYTES = 2**15
"""Maximum bytes of the headers of a request."""


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of a service."""

    body: float = 20.0
    """Most megabytes of a request's body."""
    pixels: float = 50.0
    """Most million pixels of an image."""
    images: int = 64
    """Most images of a request."""
    queue: int = 64
    """Most requests for predictions at once, waiting ones included."""
    timeout: float = 30.0
    """Most seconds that a request takes."""
    batch: int = 8
    """Most images that the network computes at once."""
    wait: float = 2.0
    """Most milliseconds that an image waits for others to be computed with."""

    @property
    def body_bytes(self) -> int:
        """Most bytes of a request's body."""
        return int(self.body * 1e6)

    @property
    def most_pixels(self) -> int:
        """Most pixels of an image."""
        return int(self.pixels * 1e6)


class Admission:
    """Counts requests for predictions and the bytes of their bodies. It is used in one thread only.

    Args:
        limits: Limits of the service.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self.limits = limits
        self.requests = self.bytes = 0

    @contextmanager
    def request(self) -> Iterator["BodyBytes"]:
        """Count a request while the context lasts.

        Raises:
            Refusal: There are as many requests already as there may be.
        """
        if self.requests >= self.limits.queue:
            raise Refusal(429, "busy", f"{self.requests} requests are waiting already; try again in a moment")
        self.requests += 1
        body = BodyBytes(self)
        try:
            yield body
        finally:
            self.requests -= 1
            self.bytes -= body.count


class BodyBytes:
    """Bytes of one request's body.

    Args:
        admission: Counter of all requests.
    """

    def __init__(self, admission: Admission) -> None:
        self.admission, self.count = admission, 0

    def add(self, count: int) -> None:
        """Count further bytes.

        Raises:
            Refusal: The body, or all bodies together, are larger than they may be.
        """
        limits = self.admission.limits
        self.count += count
        self.admission.bytes += count
        if self.count > limits.body_bytes:
            raise Refusal(413, "body_too_large", f"the body has more than {limits.body:g} MB; send smaller images")
        if self.admission.bytes > max(BODIES, 1) * limits.body_bytes:
            raise Refusal(429, "busy", "too many large requests are being read; try again in a moment")
