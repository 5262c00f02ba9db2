"""Decoding in processes that share memory with this one. They end when this process does."""

import os
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO

import numpy as np

from convwright.data.decode_worker import Decoded, Failure, Task, perform, receive, send
from convwright.data.framing import Framing
from convwright.data.images import quiet
from convwright.data.items import Reference
from convwright.data.shared_buffer import SharedBuffer
from convwright.errors import ConvwrightError
from convwright.printable import printable

CHUNK_BYTES = 2**22
"""Bytes of pixels that a process decodes at a time, about."""
MAX_IMAGES_IN_CHUNK = 64
"""Images that a process decodes at a time."""
LINES_KEPT = 20
"""Lines of a process's standard error that are kept for a message."""
SECONDS_FOR_ERRORS = 2.0
PACKAGE_FOLDER = Path(__file__).parents[2]
"""The folder that this package is imported from."""


class _Process:
    """A process that decodes, with the memory in which it leaves the pixels."""

    def __init__(self) -> None:
        self._buffer = SharedBuffer()
        folders = [*filter(None, sys.path), str(PACKAGE_FOLDER)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
        self._process = subprocess.Popen(
            # With -P, modules in the current folder do not hide installed ones.
            [sys.executable, "-P", "-c", "from convwright.data.decode_worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=self._buffer.inherited,
            start_new_session=True,  # signals from a terminal are for this process, which then ends its own
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._tasks: IO[bytes] = self._process.stdin
        self._results: IO[bytes] = self._process.stdout
        self._errors: deque[bytes] = deque(maxlen=LINES_KEPT)
        self._error_reader = threading.Thread(
            target=_keep_lines, args=(self._process.stderr, self._errors), daemon=True
        )
        self._error_reader.start()

    def run(self, task: Task) -> tuple[Decoded, np.ndarray | None]:
        """Perform a task; the pixels stay in the buffer until the next one."""
        pixels = None
        if task.shape is not None:
            shape = (len(task.references), *task.shape)
            size = int(np.prod(shape))
            pixels = np.frombuffer(self._buffer.mapped(size), np.uint8, size).reshape(shape)
            task = task._replace(buffer=self._buffer.name)
        try:
            send(self._tasks, task)
            result = receive(self._results)
        except OSError:
            result = None
        if result is None:
            raise ConvwrightError(self._describe_end())
        return result, pixels

    def _describe_end(self) -> str:
        """Return how the process ended: its status, and the last line that it wrote to its standard error."""
        status = self._process.wait()
        self._error_reader.join(SECONDS_FOR_ERRORS)
        lines = [line.decode(errors="replace").strip() for line in self._errors]
        last = next(filter(None, reversed(lines)), "memory may be short")
        return f"a process that decodes images ended with status {status}; {printable(last)}"

    def close(self) -> None:
        """End the process."""
        for stream in (self._tasks, self._results):
            try:
                stream.close()
            except OSError:
                continue
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._buffer.close()


class Decoders:
    """Processes that decode images; none: this process decodes.

    Args:
        processes: Number of processes; they are started when they are first needed.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._started: list[_Process] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max(processes, 1), thread_name_prefix="decoding")
        weakref.finalize(self, _close, self._started, self._threads)

    def headers(self, references: Sequence[Reference]) -> Decoded:
        """Return the headers of images, and the failures by position."""
        found = self._run(references, None, Framing(), traits=False, pixels=None)
        return Decoded(_failures(found), [header for _, each in found for header in each.headers])

    def pixels(
        self, references: Sequence[Reference], pixels: np.ndarray, framing: Framing, *, traits: bool = False
    ) -> Decoded:
        """Decode images.

        Args:
            references: The images.
            pixels: uint8, images x channels x height x width, which is written.
            framing: How images are cropped and resized.
            traits: Whether digests and moments are computed.
        """
        shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        found = self._run(references, shape, framing, traits=traits, pixels=pixels)
        if not traits:
            return Decoded(_failures(found), [])
        digests = np.concatenate([each.digests for _, each in found if each.digests is not None])
        moments = np.concatenate([each.moments for _, each in found if each.moments is not None])
        return Decoded(_failures(found), [], digests, moments)

    def _run(
        self,
        references: Sequence[Reference],
        shape: tuple[int, int, int] | None,
        framing: Framing,
        *,
        traits: bool,
        pixels: np.ndarray | None,
    ) -> list[tuple[int, Decoded]]:
        """Return the results of chunks of the images, with the position at which each chunk starts."""
        if not self.processes:
            with quiet():
                return [(0, perform(Task(references, shape, framing, traits), pixels))]
        count = len(references)
        most = (
            MAX_IMAGES_IN_CHUNK
            if shape is None
            else min(MAX_IMAGES_IN_CHUNK, CHUNK_BYTES // max(1, int(np.prod(shape))))
        )
        size = max(1, min(most, -(-count // self.processes)))
        work = partial(self._run_chunk, references, shape, framing, traits, pixels, size)
        return list(self._threads.map(work, range(0, count, size)))

    def _run_chunk(
        self,
        references: Sequence[Reference],
        shape: tuple[int, int, int] | None,
        framing: Framing,
        traits: bool,
        pixels: np.ndarray | None,
        size: int,
        start: int,
    ) -> tuple[int, Decoded]:
        process = self._process()
        try:
            result, found = process.run(Task(references[start : start + size], shape, framing, traits))
            if pixels is not None and found is not None:
                pixels[start : start + size] = found
        finally:
            self._idle.put(process)
        return start, result

    def _process(self) -> _Process:
        """Return a process that is idle; there are as many processes as threads that call this."""
        with self._lock:
            if len(self._started) < self.processes:
                self._started.append(_Process())
                return self._started[-1]
        return self._idle.get()


def _keep_lines(stream: IO[bytes], lines: deque[bytes]) -> None:
    """Read a stream until it ends, so that its writer never waits, and keep the last lines."""
    with stream:
        for line in iter(partial(stream.readline, 4096), b""):
            lines.append(line)


def _failures(found: list[tuple[int, Decoded]]) -> dict[int, Failure]:
    return {start + position: failure for start, each in found for position, failure in each.failures.items()}


def _close(processes: list[_Process], threads: ThreadPoolExecutor) -> None:
    with suppress(RuntimeError):  # one of these threads may hold the last reference, and cannot wait for itself
        threads.shutdown(cancel_futures=True)
    for process in processes:
        process.close()


def usable_cores() -> int:
    """Return the number of cores that this process may use, shared with the processes beside it of the same run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // processes_of_run())


def processes_of_run() -> int:
    """Return the number of processes on this machine that train together, of which this is one."""
    number = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, int(number)) if number.isdigit() else 1
