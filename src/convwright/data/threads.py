"""Work in threads: items prefetched in order, and many files processed at once."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with the number of items done, their total and a description of the work."""
AHEAD = 16
"""Items for each thread that are started before the results of earlier ones are used."""


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
    results = prefetch(work, items, os.cpu_count() or 1, AHEAD)
    with closing(results):
        for done, result in enumerate(results, 1):
            yield result
            if progress is not None:
                progress(done, len(items), doing)
