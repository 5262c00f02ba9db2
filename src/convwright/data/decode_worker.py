"""A process that decodes images into a buffer that it shares with the process that started it. Without torch.

It reads tasks from its standard input and writes results to its standard output, and ends when its input does.
"""

import mmap
import os
import pickle
import signal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

import numpy as np

from convwright.data.digests import DIGEST_BYTES, digest, moments_of
from convwright.data.framing import Framing
from convwright.data.images import Header, decode, quiet, read_header, reason
from convwright.data.items import Reference, opened

LENGTH = struct.Struct("<Q")


class Failure(NamedTuple):
    """Why an image could not be read."""

    reason: str
    lasting: bool
    """Whether another attempt would have the same result; False where permission or memory was lacking."""


class Task(NamedTuple):
    """Images to decode."""

    references: Sequence[Reference]
    shape: tuple[int, int, int] | None
    """Channels, height and width; None: read the headers only."""
    framing: Framing
    traits: bool
    """Whether digests and moments are computed."""
    buffer: int | str = ""
    """Descriptor, inherited, or path of the file that the pixels are written to, one image after another."""


class Decoded(NamedTuple):
    """What became of a task."""

    failures: dict[int, Failure]
    """By position in the task."""
    headers: list[Header | None]
    """Headers; empty where pixels were requested."""
    digests: np.ndarray | None = None
    """uint8, images x 16."""
    moments: np.ndarray | None = None
    """int64, images x 2 x channels."""


def perform(task: Task, pixels: np.ndarray | None) -> Decoded:
    """Read the images of a task.

    Args:
        task: The task.
        pixels: uint8, images x channels x height x width, which is written; None for headers.
    """
    failures: dict[int, Failure] = {}
    headers: list[Header | None] = []
    count = len(task.references)
    traits = task.traits and task.shape is not None
    digests = np.zeros((count, DIGEST_BYTES), np.uint8) if traits else None
    moments = np.zeros((count, 2, task.shape[0]), np.int64) if traits and task.shape else None
    for position, reference in enumerate(task.references):
        try:
            if task.shape is None or pixels is None:
                headers.append(read_header(opened(reference)))
                continue
            pixels[position] = decode(opened(reference), task.shape[1:], task.shape[0], task.framing)
        except Exception as error:  # Pillow raises nearly anything on damaged files
            if task.shape is None:
                headers.append(None)
            failures[position] = Failure(reason_of_reference(reference, error), is_lasting(error))
            continue
        if digests is not None and moments is not None:
            digests[position] = np.frombuffer(digest(pixels[position]), np.uint8)
            moments[position] = moments_of(pixels[position])
    return Decoded(failures, headers, digests, moments)


def reason_of_reference(reference: Reference, error: Exception) -> str:
    """Return in a few words why an image could not be read."""
    missing = isinstance(error, FileNotFoundError) and isinstance(reference, str) and os.path.islink(reference)  # noqa: PTH114
    return "a broken link" if missing else reason(error)


def is_lasting(error: Exception) -> bool:
    """Return whether another attempt would have the same result; not where permission or memory was lacking."""
    return not (isinstance(error, MemoryError) or getattr(error, "errno", None))


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message to a pipe."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Return the next message of a pipe; None where the pipe has ended."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    length = LENGTH.unpack(head)[0]
    content = stream.read(length)
    if len(content) < length:
        return None
    return pickle.loads(content)  # from the process that started this one, or was started by it


def main() -> None:
    """Perform tasks until there are no more, or nobody takes the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides when to end
    with suppress(BrokenPipeError):
        _perform_all()


def _perform_all() -> None:
    tasks, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else may be written to the pipe
    mapped: dict[int | str, mmap.mmap] = {}
    with quiet():
        while (task := receive(tasks)) is not None:
            pixels = None
            if task.shape is not None:
                shape = (len(task.references), *task.shape)
                size = int(np.prod(shape))
                if task.buffer not in mapped or len(mapped[task.buffer]) < size:
                    mapped = {task.buffer: _map(task.buffer)}
                pixels = np.frombuffer(mapped[task.buffer], np.uint8, size).reshape(shape)
            send(results, perform(task, pixels))


def _map(buffer: int | str) -> mmap.mmap:
    if isinstance(buffer, int):
        return mmap.mmap(buffer, 0)
    with open(buffer, "r+b") as file:  # noqa: PTH123
        return mmap.mmap(file.fileno(), 0)
