"""Locks exclude other processes and threads, and end with their process."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest

from convwright.errors import ConvwrightWarning
from convwright.locks import LockHeldError, locked

HOLD = """
import sys, time
from pathlib import Path
from convwright.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_excludes_other_processes_until_they_are_killed(tmp_path, holder):
    with pytest.raises(LockHeldError, match=r"lock: locked by another process"), locked(tmp_path / "lock", wait=False):
        pytest.fail("the lock was given to two processes")
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", wait=False):
        pass


def test_waiting_is_reported_once_and_ends_with_the_holder(tmp_path, holder):
    calls = []

    def waiting():
        calls.append(1)
        holder.kill()

    with locked(tmp_path / "lock", waiting=waiting):
        assert calls == [1]


def test_a_lock_excludes_other_threads_and_can_be_taken_again(tmp_path):
    path, found = tmp_path / "lock", []

    def attempt():
        try:
            with locked(path, wait=False):
                found.append("locked")
        except LockHeldError:
            found.append("held")

    with locked(path):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    attempt()
    assert found == ["held", "locked"]


def test_the_lock_ends_with_an_error_in_the_block(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with locked(tmp_path / "lock", wait=False):
        pass


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_is_an_error_or_a_warning(tmp_path, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(OSError, match="locks"), locked(tmp_path / "lock"):
        pytest.fail("the block ran without the lock")
    with pytest.warns(ConvwrightWarning, match="has no locks"), locked(tmp_path / "lock", required=False):
        pass


def test_a_lock_in_a_missing_folder_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), locked(tmp_path / "missing" / "lock", required=False):
        pass
