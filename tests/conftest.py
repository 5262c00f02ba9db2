"""Settings for every test: no deadlines (machines differ) and no more threads than there are workers for."""

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for programs that tests start

    import torch

    torch.set_num_threads(1)

if os.environ.get("CONVWRIGHT_TESTS") == "core":  # what the core tests need is there without any extra
    from convwright.extras import EXTRAS

    BESIDE_EXTRAS = ("jinja2", "markupsafe", "plotly", "sklearn")  # in the core, and in what tests need
    sys.modules.update(
        {module: None for modules in EXTRAS.values() for module in modules if module not in BESIDE_EXTRAS}  # type: ignore[misc]
    )
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
