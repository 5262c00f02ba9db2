"""Work in threads: items prefetched in order, and many files processed at once."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with the number of items done, their total and a description of the work."""
PORTION = 16
"""Items that a thread takes at once: handing over one by one takes as long as reading a small image."""
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
    workers = os.cpu_count() or 1
    size = min(PORTION, math.ceil(len(items) / (2 * workers)))
    portions = (items[start : start + size] for start in range(0, len(items), size or 1))
    done = 0
    with closing(prefetch(lambda portion: [*map(work, portion)], portions, workers, AHEAD)) as results:
        for result in chain.from_iterable(results):
            yield result
            done += 1
            if progress is not None:
                progress(done, len(items), doing)
