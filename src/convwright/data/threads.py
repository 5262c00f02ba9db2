"""Work in threads: items prefetched in order, and many files processed at once."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with the number of items done, their total and a description of the work."""
PORTION_SECONDS = 0.02
"""Time for which a thread takes items at once: handing over one by one takes as long as reading a small image."""
MAX_PORTION = 64
"""Most items that a thread takes at once."""
AHEAD = 2
"""Portions for each thread that are started before the results of earlier ones are used."""


def prefetch(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, depth: int = 2
) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item, in order, computed by threads before the results are used.

    An exception of an item is raised when its turn comes. Closing the generator ends the threads.

    Args:
        work: Function of an item.
        items: The items.
        workers: Number of threads; 0: results are computed when they are used.
        depth: Results that each thread computes in advance.
    """
    if not workers:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
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
    """Yield `work(item)` for each item, in order, computed by as many threads as there are cores.

    Args:
        work: Function of an item.
        items: The items.
        progress: Called after each item.
        doing: Description of the work for `progress`.
    """
    done, size = 0, 1

    def portions() -> Iterator[Sequence[Item]]:
        start = 0
        while start < len(items):
            portion = items[start : start + size]
            start += len(portion)
            yield portion

    def work_on(portion: Sequence[Item]) -> tuple[list[Result], float]:
        began = time.perf_counter()
        return [*map(work, portion)], time.perf_counter() - began

    with closing(prefetch(work_on, portions(), os.cpu_count() or 1, AHEAD)) as worked:
        for results, seconds in worked:
            for result in results:
                yield result
                done += 1
                if progress is not None:
                    progress(done, len(items), doing)
            size = max(1, min(MAX_PORTION, int(PORTION_SECONDS * len(results) / max(seconds, 1e-9))))
