"""Work in threads: items made ahead of their use, and many files handled at once."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with how many are done, of how many, and what is being done."""


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, depth: int = 2
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` for each item, in order, made by threads that stay ``depth`` items each ahead of their use.

    With no workers, items are made as they are asked for. An exception in the making is raised here, in its turn.
    Closing the generator ends the threads.
    """
    if not workers:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers * depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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
