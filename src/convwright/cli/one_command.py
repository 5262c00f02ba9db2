"""Whether this process runs one command."""

from contextvars import ContextVar

IS_ONE_COMMAND: ContextVar[bool] = ContextVar("is_one_command", default=False)
"""Whether this process was started for one command, and does nothing else."""
