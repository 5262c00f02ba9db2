"""Settings for every test: no deadlines (machines differ) and no more threads than there are workers for."""

import os
import tempfile

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

if "CI" in os.environ:  # where nobody reads which tests were skipped, what they need must be there
    import shutil

    import timm  # noqa: F401

    assert shutil.which("chromium"), "CI needs Debian's chromium"
