"""Other packages' progress bars and advice, hidden while they work."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the progress bars and advice of other packages, and undo what they change in this process.

    ONNX Runtime's tool adds a handler to the root logger and folders to `sys.path`. Errors are raised.
    """
    before, handlers, level = logging.root.manager.disable, logging.root.handlers[:], logging.root.level
    places = sys.path[:]
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
            yield
    finally:
        logging.disable(before)
        logging.root.handlers[:], sys.path[:] = handlers, places
        logging.root.setLevel(level)
        sys.stdout.flush()
