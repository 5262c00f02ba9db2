"""Latency of networks on this machine: measured with random weights, a few times, and cached."""

import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from convwright import json_text
from convwright.arch import Network
from convwright.arch.resolution import sides
from convwright.display.progress import status
from convwright.engines.registry import open_file
from convwright.errors import ConvwrightError, UsageError, warn
from convwright.extras import require_package, version
from convwright.files import cache_folder, digest_of, write_text
from convwright.modules import build
from convwright.timing import Timing, measure_call

ENGINES = ("torch", "onnxruntime", "openvino")
"""Engines: torch in the format channels last, or one of the extra `deploy` that runs an exported file."""


@dataclass
class Stopwatch:
    """Measures the median time of a batch in seconds, and keeps it in the user's cache if it is reliable.

    On a busy machine it is the minimum, which comes with a warning and is not kept.
    """

    batch: int = 1
    """Images in a batch."""
    threads: int | None = None
    """Threads of the engine; its own choice by default."""
    engine: str = "torch"
    """One of `ENGINES`."""
    remember: bool = True
    """Whether latencies are read from the cache and written into it."""
    remeasure: bool = False
    """Whether latencies in the cache are measured again, and replaced."""
    progress: Callable[[str], None] | None = None
    """Called with the name of each network that is measured, and not read from the cache."""
    measured: int = field(default=0, init=False)
    """Number of networks measured, without those read from the cache."""
    unreliable: dict[str, Timing] = field(default_factory=dict, init=False)
    """Times of the networks, by name, that were measured while the machine was busy."""
    _warned: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.threads is not None and self.threads < 1):
            raise UsageError("batch and threads are each 1 or more")
        if self.engine not in ENGINES:
            raise UsageError(f"no engine {self.engine!r}; there are {', '.join(ENGINES)}")
        if self.engine != "torch":
            require_package(self.engine, f"measuring with {self.engine}")

    def __call__(self, network: Network) -> float:
        """Return a network's latency in seconds."""
        key = self._key(network)
        known = self._read(key) if self.remember and not self.remeasure else None
        if known is not None:
            return known
        if self.progress:
            self.progress(network.name)
        timing = self._measure(network)
        self.measured += 1
        if not timing.reliable:
            self._doubt(network, timing)
        elif self.remember:
            self._write(key, timing.estimate)
        return timing.estimate

    def _doubt(self, network: Network, timing: Timing) -> None:
        """Note a time that cannot be relied on; warn at the first one."""
        if not self.unreliable:
            base, _, factors = network.name.partition("|scale:")
            warn(
                f"the latency of {base}{', scaled,' if factors else ''} is unreliable because the machine was busy "
                f"({timing.doubt}); using the fastest of {len(timing.seconds)} runs, not cached; measure again on an "
                "idle machine"
            )
        self.unreliable[network.name] = timing

    def _measure(self, network: Network) -> Timing:
        return self._measure_torch(network) if self.engine == "torch" else self._measure_exported(network)

    def _measure_exported(self, network: Network) -> Timing:
        """Measure the network as a file that `convwright export` writes, in the engine."""
        from convwright.exporting.subject import Subject
        from convwright.exporting.writing import write_unverified

        subject = Subject.untrained(network)
        images = np.zeros((self.batch, network.channels, *sides(network.resolution)), np.uint8)
        with TemporaryDirectory(prefix="convwright-latency-") as folder:
            path = Path(folder) / "network.onnx"
            write_unverified(subject, path)
            run = open_file(path, self.engine, self.threads).run
            return measure_call(lambda: run(images))

    @torch.inference_mode()
    def _measure_torch(self, network: Network) -> Timing:
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self.threads or threads)
            module = build(network, seed=0).eval().to(memory_format=torch.channels_last)
            images = torch.zeros(self.batch, network.channels, *sides(network.resolution))
            images = images.contiguous(memory_format=torch.channels_last)
            return measure_call(lambda: module(images))
        finally:
            torch.set_num_threads(threads)

    def _key(self, network: Network) -> str:
        described = json_text.dump(
            network.to_json() | {"name": "", "papers": [], "results": []}, ascii_only=True, sort_keys=True
        )
        digest = digest_of(described.encode())
        threads = self.threads or torch.get_num_threads()
        made_with = torch.__version__ if self.engine == "torch" else version(self.engine)
        return f"rounds {digest} {self.engine} {made_with} batch {self.batch} threads {threads}"

    def _read(self, key: str) -> float | None:
        """Return a latency from the cache; None if it has none, or the file is damaged."""
        with suppress(ConvwrightError):
            found = json_text.read(_file_of(key))
            if isinstance(found, dict) and found.get("key") == key and _is_latency(found.get("seconds")):
                return float(found["seconds"])
        return None

    def _write(self, key: str, seconds: float) -> None:
        """Write a latency into the cache; warn once if that fails."""
        try:
            file = _file_of(key)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json_text.dump({"key": key, "seconds": seconds}) + "\n")
        except (OSError, ConvwrightError) as error:
            if not self._warned:
                self._warned = True
                warn(f"the latency cache cannot be written, so latencies are measured again next time: {error}")


def _file_of(key: str) -> Path:
    """Return the file of one measurement, so that processes that measure at once do not write into the same file."""
    machine = "-".join(filter(None, (platform.node(), platform.machine())))
    return cache_folder() / "latency" / machine / f"{digest_of(key.encode())}.json"


def _is_latency(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


@contextmanager
def stopwatch_with_progress(batch: int, threads: int | None, engine: str, *, remeasure: bool) -> Iterator[Stopwatch]:
    """Give a stopwatch that shows on a terminal which network it measures; the arguments are its fields."""
    with status("measuring latency") as update:

        def show(name: str) -> None:
            update(f"measuring {name}")

        yield Stopwatch(batch, threads, engine, remeasure=remeasure, progress=show)
