"""Functions that differ between systems have a fallback where the system lacks them."""

import json
import os
import subprocess
import sys

import pytest
from tests.conftest import POSIX_MODULES, POSIX_NAMES
from tests.photos import temple_and_flower

from convwright import machine


@pytest.fixture
def affinity():
    """Restore the processor cores of this process after the test."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    if before is not None:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity")
def test_affinity_is_set_and_read(affinity):
    cores = machine.available_cores()
    assert cores == sorted(os.sched_getaffinity(0))
    assert machine.set_affinity(cores[-1:])
    assert machine.available_cores() == cores[-1:]


def test_without_posix_all_cores_are_available_and_affinity_stays(no_posix):
    assert machine.available_cores() == list(range(os.cpu_count() or 1))
    assert not machine.set_affinity([0])
    assert machine.user_id() is None
    assert machine.peak_memory() is None
    assert machine.c_function("mallopt") is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such functions")
def test_posix_functions_are_found():
    assert machine.user_id() == os.getuid()
    peak = machine.peak_memory()
    assert peak is not None
    assert 10**6 < peak < 10**12
    getpid = machine.c_function("getpid")
    assert getpid is not None
    assert getpid() == os.getpid()
    assert machine.c_function("no_such_function_of_any_library") is None


WITHOUT_POSIX = """
import ctypes, filelock, json, os, signal, subprocess, sys, tempfile, torch, torchvision
for module, names in {NAMES}.items():
    for name in names:
        vars(sys.modules[module]).pop(name, None)
sys.modules.update(dict.fromkeys({MODULES}))
assert not [name for name in sys.modules if name.startswith("convwright")]
assert not hasattr(os, "sched_getaffinity")
class Library(ctypes.CDLL):
    def __init__(self, name, *arguments, **options):
        if name is None:
            raise TypeError("argument 1 must be str, not None")
        super().__init__(name, *arguments, **options)
ctypes.CDLL = Library
from convwright.cli.main import run
for arguments in json.loads(sys.argv[1]):
    if status := run(arguments):
        sys.exit(f"{{arguments}}: exit status {{status}}")
"""


def test_commands_work_without_posix(tmp_path):
    """A process loses what Windows lacks before it imports the package, and runs commands."""
    (tmp_path / "photos").mkdir()
    temple_and_flower(tmp_path / "photos")
    small = ["--network", "cifar_resnet8", "--resolution", "32", "--batch-size", "16", "--epochs", "1"]
    commands = [
        ["train", "--data", "photos", *small, "--workers", "1", "--out", "run"],
        ["train", "--resume", "run"],
        ["evaluate", "run", "--split", "val", "--json"],
        ["predict", "run", "photos/temple/00.png"],
        ["data", "photos"],
        ["scale", "plan", "cifar_resnet20", "--phi", "1"],
    ]
    names = {module.__name__: names for module, names in POSIX_NAMES.items()}
    program = WITHOUT_POSIX.format(NAMES=names, MODULES=POSIX_MODULES)
    command = [sys.executable, "-c", program, json.dumps(commands)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
