"""How long a network takes on this machine: measured with random weights, few times, and remembered."""

import hashlib
import json
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from convwright.arch import Network
from convwright.deploy.engines import open_file
from convwright.deploy.packages import needed, version
from convwright.errors import UsageError
from convwright.files import cache_folder, write_text
from convwright.modules import build

WARM_UP, LEAST, MOST = 2, 5, 30
ENOUGH_SECONDS = 0.7
"""A measurement ends when it has taken so long, but not before `LEAST` runs."""
ENGINES = ("torch", "onnxruntime", "openvino")
"""What may run the network: torch channels last, or an exported file in an engine of the extra `deploy`."""


@dataclass
class Stopwatch:
    """Measures networks, and remembers what it measured on this machine in a file of the user's cache.

    batch: images at once; threads: of torch's, its own choice by default. The figure is the median time of a batch,
    in seconds. progress is told the name of each network that is really measured.
    """

    batch: int = 1
    threads: int | None = None
    engine: str = "torch"
    remember: bool = True
    progress: Callable[[str], None] | None = None
    measured: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.threads is not None and self.threads < 1):
            raise UsageError("batch and threads are each 1 or more")
        if self.engine not in ENGINES:
            raise UsageError(f"no engine {self.engine!r}; there are {', '.join(ENGINES)}")
        if self.engine != "torch":
            needed(self.engine, f"measuring with {self.engine}")

    def __call__(self, network: Network) -> float:
        """Return a network's latency in seconds."""
        key, known = self._key(network), self._known()
        if key not in known:
            if self.progress:
                self.progress(network.name)
            seconds = self._measure(network)
            self.measured += 1
            if not self.remember:
                return seconds
            known[key] = seconds
            with suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                write_text(self._file, json.dumps(known, indent=1) + "\n")
        return known[key]

    def _measure(self, network: Network) -> float:
        return self._measure_torch(network) if self.engine == "torch" else self._measure_exported(network)

    def _measure_exported(self, network: Network) -> float:
        """Write the network as `convwright export` does, and run it in the engine."""
        from convwright.deploy.onnx_writer import onnx_model
        from convwright.deploy.subject import Subject

        subject = Subject.untrained(network)
        images = np.zeros((self.batch, network.channels, network.resolution, network.resolution), np.uint8)
        with TemporaryDirectory(prefix="convwright-latency-") as folder:
            path = Path(folder) / "network.onnx"
            path.write_bytes(onnx_model(subject.program, subject.card).SerializeToString())
            run = open_file(path, self.engine, self.threads).run
            return _median_of(lambda: run(images))

    @torch.inference_mode()
    def _measure_torch(self, network: Network) -> float:
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self.threads or threads)
            module = build(network, seed=0).eval().to(memory_format=torch.channels_last)
            images = torch.zeros(self.batch, network.channels, network.resolution, network.resolution)
            images = images.contiguous(memory_format=torch.channels_last)
            return _median_of(lambda: module(images))
        finally:
            torch.set_num_threads(threads)

    def _key(self, network: Network) -> str:
        described = json.dumps(network.to_json() | {"name": "", "papers": [], "results": []}, sort_keys=True)
        digest = hashlib.blake2b(described.encode(), digest_size=8).hexdigest()
        threads = self.threads or torch.get_num_threads()
        made_with = torch.__version__ if self.engine == "torch" else version(self.engine)
        return f"{digest} {self.engine} {made_with} batch {self.batch} threads {threads}"

    @property
    def _file(self) -> Path:
        machine = "-".join(filter(None, (platform.node(), platform.machine())))
        return cache_folder() / "latency" / f"{machine}.json"

    def _known(self) -> dict[str, float]:
        if not self.remember:
            return {}
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(key): float(value) for key, value in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):  # none yet, or damaged: it is measured again
            return {}


def _median_of(work: Callable[[], object]) -> float:
    """Return the median time of a run, in seconds."""
    times: list[float] = []
    while len(times) < WARM_UP + LEAST or (sum(times) < ENOUGH_SECONDS and len(times) < WARM_UP + MOST):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times[WARM_UP:])
