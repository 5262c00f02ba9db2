"""Refusals: every answer that is not a prediction is one JSON object with a status, a code and a sentence."""

from convwright import json_text

REASONS = {
    400: "The bytes are not HTTP.",
    401: "The token is missing or wrong.",
    404: "There is no such model or address.",
    405: "The address does not support the method.",
    413: "The body, the number of images or an image is larger than the service takes.",
    415: "The body has a type that the service does not read, or is no image.",
    422: "The request cannot be read, an image is damaged, or an option does not fit the model.",
    429: "Too many requests are waiting; try again after the seconds of Retry-After.",
    431: "The headers are larger than the service takes.",
    500: "The network failed, for example with logits that are not finite.",
    503: "The service is ending, or the request took longer than it may.",
}
"""Every status of a refusal, and what it means."""
RETRY_AFTER = 1
"""Seconds after which a refused client may try again."""


class Refusal(Exception):  # noqa: N818 - most are no errors of the service
    """An answer other than a prediction.

    Args:
        status: HTTP status, one of `REASONS`.
        code: Reason as one word for programs, such as `too_many_pixels`.
        message: Sentence for people: what is wrong, and what would be right.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the status."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(RETRY_AFTER)} if self.status in (429, 503) else {}

    def body(self) -> bytes:
        """Return the body: JSON in ASCII."""
        error = {"status": self.status, "code": self.code, "message": self.message}
        return json_text.dump({"error": error}, ascii_only=True).encode()
