"""Disks that fill up, and folders that become read-only, in the middle of a run."""

import os
import resource
import subprocess
import sys

import pytest

from convwright.training.run import Run

TRAIN = [sys.executable, "-m", "convwright", "train"]
OPTIONS = ["--data", "digits", "--network", "cifar_resnet8", "--epochs", "2"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts, limits and users of Linux")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run([*TRAIN, *OPTIONS, "--out", path], check=True, capture_output=True)
    return path


def check_told(done, what):
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("convwright: ")
    assert what in last


def check_goes_on(path, whole):
    assert not list(path.rglob("*.partial"))
    done = subprocess.run([*TRAIN, "--resume", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Run.open(path).weights.read_bytes() == Run.open(whole).weights.read_bytes()


def test_a_file_that_cannot_grow_is_told_and_the_run_goes_on_later(tmp_path, whole):
    """A limit on the size of files stands for a full disk, where mounting one is not allowed."""
    path, size = tmp_path / "run", (whole / "model.safetensors").stat().st_size

    def limited():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, size + 1000))  # the weights fit, a checkpoint does not

    # Without measuring its coverage, which writes a file too.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [*TRAIN, *OPTIONS, "--out", path]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited, env=variables)
    check_told(done, "checkpoints/step-")
    check_goes_on(path, whole)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tmp_path, whole):
    disk = tmp_path / "disk"
    disk.mkdir()
    needed = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
    size = int(needed * 0.9)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting takes privileges")
    try:
        done = subprocess.run([*TRAIN, *OPTIONS, "--out", disk / "run"], capture_output=True, text=True)
        check_told(done, "No space left on device")
        assert Run.open(disk / "run").load_checkpoint() is not None
        subprocess.run(["mount", "-o", f"remount,size={10 * needed}", disk], check=True)
        check_goes_on(disk / "run", whole)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_run_directory_that_became_read_only_is_told(tmp_path, whole):
    path = tmp_path / "run"
    stopped = subprocess.run([*TRAIN, *OPTIONS, "--out", path, "--patience", "1"], capture_output=True)
    assert stopped.returncode == 0
    (path / "summary.json").unlink()
    for file in sorted((path / "checkpoints").glob("*.pt"))[1:]:  # so that there is something to train
        file.unlink()
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", path, path], capture_output=True)
    if mounted.returncode == 0:
        subprocess.run(["mount", "-o", "remount,ro,bind", path], check=True)
    elif os.geteuid() == 0:
        pytest.skip("mounting takes privileges")
    else:
        (path / "checkpoints").chmod(0o500)
        path.chmod(0o500)
    try:
        done = subprocess.run([*TRAIN, "--resume", path], capture_output=True, text=True)
        check_told(done, "could not be written")
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", path], check=True)
        path.chmod(0o700)
        (path / "checkpoints").chmod(0o700)
