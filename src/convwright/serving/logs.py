"""Logs of a service: a line of JSON for each event, without the content of images."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO

from convwright import json_text

LOGGER = logging.getLogger("convwright.serving")
OTHERS = ("uvicorn.error", "asyncio", "ray.serve")
"""Further loggers whose warnings and errors become lines of the log."""


class JsonLines(logging.Formatter):
    """Formats the members of a record's `event` as one line of JSON in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        facts = getattr(record, "facts", {})
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values = {"time": moment, "level": record.levelname.lower(), "event": record.getMessage(), **facts}
        return json_text.dump(values, ascii_only=True)


def log(event: str, level: int = logging.INFO, **facts: object) -> None:
    """Log an event.

    Args:
        event: What happened, in one or two words.
        level: Level of Python's `logging`.
        facts: Values of JSON by name.
    """
    LOGGER.log(level, event, extra={"facts": facts})


@contextmanager
def written_to(stream: IO[str] | None = None) -> Iterator[None]:
    """Write the log as lines of JSON while the context lasts.

    Args:
        stream: Where to write; standard error by default.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    loggers = [LOGGER, *(logging.getLogger(name) for name in OTHERS)]
    before = [(each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO if each is LOGGER else logging.WARNING)
        each.propagate = False
    try:
        yield
    finally:
        for each, (level, propagate) in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
            each.propagate = propagate
