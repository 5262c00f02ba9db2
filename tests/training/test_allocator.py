"""Freed memory is given back to the system, or kept, as it is asked for."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
SCRIPT = """
import sys
import torch
from convwright.training import allocator
for name in sys.argv[1:]:
    getattr(allocator, name)()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

torch.ones(2**23).add_(1)
before = resident()
maps = [torch.ones(6 * 2**20) for _ in range(8)]  # 24 MiB each: between malloc's own limits
held = resident() - before
del maps[::2], maps[0]
print(held > 150, resident() - before < held / 2)
"""


@pytest.mark.parametrize(
    ("names", "returned"),
    [
        (["return_freed_memory"], "True"),
        (["keep_freed_memory"], "False"),
        (["keep_freed_memory", "return_freed_memory"], "True"),
    ],
)
def test_large_blocks(names: list[str], returned: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", returned]
