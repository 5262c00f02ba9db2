"""How lines of progress name parameters: as options, while a command of the command line runs."""

from collections.abc import Callable
from contextvars import ContextVar

translation: ContextVar[Callable[[str], str]] = ContextVar("translation", default=lambda text: text)
"""Turns parameters of Python in a line of progress into options while a command of the command line runs."""
