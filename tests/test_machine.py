"""Functions that differ between systems have a fallback where the system lacks them."""

import os
import sys

import pytest

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
