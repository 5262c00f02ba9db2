"""Commands that are killed, starved of disk space, or run twice at once; and what must be true of their files then."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import yaml
from safetensors import safe_open

import convwright as cw
from convwright.files import PARTIAL

COMMAND = [sys.executable, "-m", "convwright"]
PATIENCE = 600
"""Seconds after which a command hangs."""


@dataclass(frozen=True)
class Job:
    """A command that writes below a folder, and what it must leave there.

    Args:
        start: Arguments of the command.
        result: Returns what must be equal however often the command was killed.
        resume: Arguments that continue; those of `start` by default.
        ready: Whether there is something to continue; else the command is started again.
        cached: Whether its cache is below the folder too.
    """

    start: Callable[[Path], Sequence[object]]
    result: Callable[[Path], Any]
    resume: Callable[[Path], Sequence[object]] | None = None
    ready: Callable[[Path], bool] = lambda folder: True
    cached: bool = False

    def arguments(self, folder: Path) -> list[str]:
        """Return what a user would type now."""
        resumes = self.resume and self.ready(folder)
        return [str(each) for each in (self.resume(folder) if self.resume and resumes else self.start(folder))]


@dataclass
class Count:
    """What was done to a command, and what became of its files."""

    kills: int = 0
    refusals: int = 0
    equal: int = 0
    looked_at: int = 0
    half_written: int = 0
    seed: int = field(default_factory=lambda: random.SystemRandom().randrange(10**6))

    def __str__(self) -> str:
        return (
            f"{self.kills:4} kills, {self.refusals:4} failures in one line, {self.equal:3} equal results, "
            f"{self.half_written} of {self.looked_at:,} files half-written (seed {self.seed})"
        )


def environment(folder: Path, cached: bool = False) -> dict[str, str]:
    """Return the environment of a command; `cached`: with a cache of its own below the folder.

    The tests' common cache has the compiled kernels, which take a minute.
    """
    return os.environ | {"OMP_NUM_THREADS": "1"} | ({"XDG_CACHE_HOME": str(folder / "cache")} if cached else {})


def launched(job: Job, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, *job.arguments(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, job.cached),
        start_new_session=True,
        **options,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command; return its status and its last line. Only a full disk or another writer may refuse it."""
    try:
        _, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError("the command hangs") from None
    assert "Traceback" not in errors, errors
    lines = errors.strip().splitlines()
    if process.returncode:
        assert process.returncode in (1, 2), errors
        assert lines, "a failure without a message"
        assert lines[-1].startswith("convwright: "), errors
    return process.returncode, lines[-1] if lines else ""


def finish(job: Job, folder: Path) -> None:
    """Run the command, or continue it, to its end."""
    status, line = ended(launched(job, folder))
    assert status == 0, line


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file below a folder."""
    found = {}
    for path in folder.rglob("*"):
        try:
            stat = path.stat()
        except FileNotFoundError:  # removed meanwhile
            continue
        found[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return found


def kill_at_random(job: Job, folder: Path, draw: random.Random, count: Count) -> bool:
    """Run the command and kill it: at any moment, or soon after it has written something; alone, or its group."""
    before, process = written(folder), launched(job, folder)
    end = time.monotonic() + PATIENCE
    changes = draw.choice((0, 1, 1, 2, 3))
    while changes and process.poll() is None:
        assert time.monotonic() < end, "the command hangs"
        if (now := written(folder)) != before:
            before, changes = now, changes - 1
        time.sleep(0.002)
    time.sleep(draw.choice((0, 0.01, 0.2, 2)) * draw.random())
    alive = process.poll() is None
    if alive and draw.random() < 0.5:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also the workers that outlived it
    process.communicate()
    count.kills += alive
    return alive


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_bytes()),
    ".yaml": lambda path: yaml.safe_load(path.read_bytes()),
    ".csv": lambda path: path.read_bytes().endswith(b"\n") or 1 / 0,
    ".html": lambda path: path.read_text().rstrip().endswith("</html>") or 1 / 0,
    ".pt": lambda path: ZipFile(path).testzip() is None or 1 / 0,
    ".safetensors": lambda path: safe_open(path, "numpy").keys(),
    ".onnx": cw.load,
}


def check_files(folder: Path, count: Count) -> None:
    """Check that every file is whole, as far as its kind has an end that can be seen."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in READERS and PARTIAL not in str(path) and "/cache/" not in str(path):
            count.looked_at += 1
            try:
                READERS[path.suffix](path)
            except Exception as error:
                count.half_written += 1
                raise AssertionError(f"{path.relative_to(folder)} is half-written: {error}") from error


def age_partial_files(folder: Path) -> None:
    """Let a month pass for the files of killed writers, which the next writer of the same name removes then."""
    month_ago = time.time() - 30 * 86400
    for path in folder.rglob("*"):
        if PARTIAL in str(path):
            os.utime(path, (month_ago, month_ago))


def check_no_partial_files(folder: Path) -> None:
    """Check that the command, which continued, has removed what the killed one left."""
    left = [path for path in folder.rglob(f"*{PARTIAL}*") if "/cache/" not in str(path)]
    assert left == [], "files of killed writers are left"


def killed_until_done(job: Job, folder: Path, whole: Any, kills: int, count: Count) -> None:
    """Kill the command again and again, then let it end; compare its result with that of one that was left alone."""
    draw = random.Random(count.seed)
    for _ in range(kills):
        kill_at_random(job, folder, draw, count)
        check_files(folder, count)
    age_partial_files(folder)
    finish(job, folder)
    compare(job, folder, whole, count)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], object]]:
    """Mount a disk of a size in bytes; give a function that changes its size."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True, capture_output=True)
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def can_mount(folder: Path) -> bool:
    """Whether this user may mount disks."""
    try:
        with small_disk(folder, 10_000):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


def size_of(folder: Path) -> int:
    return sum(size for size, _ in written(folder).values())


def used_on_disk(folder: Path) -> int:
    """Return how many bytes of a disk are in use: whole blocks, and those of folders."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree + 1) * disk.f_frsize


def starved_until_done(job: Job, folder: Path, whole: Any, needed: int, failures: int, count: Count) -> None:
    """Let the disk be full again and again, then large; without the right to mount, limit the size of files instead."""
    draw = random.Random(count.seed)
    if can_mount(folder):
        with small_disk(folder, 4096) as resize:
            for _ in range(failures):
                resize(used_on_disk(folder) + int(needed * draw.random()))
                status, line = ended(launched(job, folder))
                assert status == 0 or "could not be written" in line or "No space left" in line, line
                count.refusals += status != 0
                check_files(folder, count)
            resize(20 * needed + 50_000_000)
            finish(job, folder)
            compare(job, folder, whole, count)
        return
    folder.mkdir()
    for _ in range(failures):
        size = int(draw.choice((0.01, 0.1, 1)) * draw.random() * needed)

        def limit(size: int = size) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        status, _ = ended(launched(job, folder, preexec_fn=limit))
        count.refusals += status != 0
        check_files(folder, count)
    finish(job, folder)
    compare(job, folder, whole, count)


def compare(job: Job, folder: Path, whole: Any, count: Count) -> None:
    check_files(folder, count)
    check_no_partial_files(folder)
    assert job.result(folder) == whole
    count.equal += 1


def two_at_once(job: Job, folder: Path, whole: Any, count: Count) -> None:
    """Run the command twice at once: each ends, or is refused in one line because of the other; the result is whole."""
    draw = random.Random(count.seed)
    one = launched(job, folder)
    time.sleep(draw.choice((0, 0.3, 3)) * draw.random())
    statuses = [ended(process)[0] for process in (one, launched(job, folder))]
    assert 0 in statuses, statuses
    count.refusals += sum(map(bool, statuses))
    compare(job, folder, whole, count)
