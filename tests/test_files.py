"""Files appear whole or not at all, and what is no file is not replaced by one."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from convwright.errors import ConvwrightError
from convwright.files import write_atomically, write_text


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fails(temporary):
        temporary.write_text("half")
        raise RuntimeError("no more\nsecond line")

    with pytest.raises(ConvwrightError, match=r"a\.txt could not be written: no more$"):
        write_atomically(path, fails)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_no_partial_file(tmp_path):
    def interrupted(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_told(tmp_path):
    with pytest.raises(ConvwrightError, match="it is a folder"):
        write_text(tmp_path, "text")


def test_no_such_folder_is_told(tmp_path):
    with pytest.raises(ConvwrightError, match="No such file or directory"):
        write_text(tmp_path / "absent" / "a.txt", "text")


def test_a_symbolic_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    link.symlink_to(target)
    write_text(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "text")
    reader.join(10)
    assert heard == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_that_is_full_is_told_and_stays_a_device(tmp_path):
    device = tmp_path / "full"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        with device.open("w"):
            pass
    except OSError:
        pytest.skip("making devices takes privileges")
    with pytest.raises(ConvwrightError, match="full could not be written: No space left on device"):
        write_text(device, "text")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_standard_output_by_its_device(tmp_path):
    code = "from pathlib import Path; from convwright.files import write_text; write_text(Path('/dev/stdout'), 'text')"
    with (tmp_path / "out").open("w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "text"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert piped.stdout == "text"
