"""Work in threads: items made ahead of their use, and many files handled at once."""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and what is being done."""


@dataclass(frozen=True)
class _End:
    """The last thing in the queue: how the producer ended."""

    error: BaseException | None = None


def prefetch(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """Yield the items, at most ``ahead`` of them made in advance by a thread.

    An exception in the making is raised here, in its turn. Closing the generator ends the thread.
    """
    made: queue.Queue[Item | _End] = queue.Queue(ahead)
    closed = threading.Event()

    def produce() -> None:
        end = _End()
        try:
            for item in items:
                made.put(item)
                if closed.is_set():
                    return
        except BaseException as error:
            end = _End(error)
        made.put(end)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        # Once emptied, the queue has room for the one item that the thread may still put.
        while True:
            try:
                made.get_nowait()
            except queue.Empty:
                break
        thread.join()


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None, doing: str
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in order. An interrupt drops what has not begun."""
    pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="data")
    try:
        for done, result in enumerate(pool.map(work, items), 1):
            yield result
            if progress is not None:
                progress(done, len(items), doing)
    finally:
        pool.shutdown(cancel_futures=True)
