"""Files appear whole or not at all, and what is no file is not replaced by one."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from convwright import files
from convwright.errors import ConvwrightError
from convwright.files import (
    as_utf8,
    cache_folder,
    new_folder,
    remove_partial,
    write_atomically,
    write_bytes,
    write_text,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_any_editor_becomes_plain_utf_8(encoding):
    assert as_utf8("\u00e4 1\r\n".encode(encoding)) == "\u00e4 1\r\n".encode()


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xfe\x00", b"caf\xe9.png\n"])
def test_content_in_another_encoding_is_left_as_it_is(content):
    assert as_utf8(content) == content


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fails(temporary):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ConvwrightError, match=r"a\.txt could not be written: No space left on device$"):
        write_atomically(path, fails)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("no more"), TypeError("a bug"), KeyError("a bug")])
def test_a_programming_error_is_not_reported_as_a_failed_write(tmp_path, error):
    def fails(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)) as raised:
        write_atomically(tmp_path / "a.txt", fails)
    assert raised.value is error
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_partial_file(tmp_path):
    def interrupted(temporary):
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_reported(tmp_path):
    with pytest.raises(ConvwrightError, match="it is a folder"):
        write_text(tmp_path, "text")


def test_a_missing_folder_is_reported(tmp_path):
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


WRITER = """
import sys
from pathlib import Path
from convwright.files import new_folder, write_bytes
path, letter, kind = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
for round in range(int(sys.argv[4])):
    if kind == "file":
        write_bytes(path, letter * (1000 + round))
    else:
        with new_folder(path, replace=True) as folder:
            for name in ("first", "second"):
                (folder / name).write_bytes(letter * (1000 + round))
"""


def _write_with_two_processes(path, kind, rounds, check):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, letter, kind, str(rounds)]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        check()
    assert [writer.wait() for writer in writers] == [0, 0]
    check()


@pytest.mark.parametrize("rounds", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_two_writers_of_one_file_never_tear_or_lose_it(tmp_path, rounds):
    path = tmp_path / "file"
    write_bytes(path, b"a" * 1000)

    def check():
        content = path.read_bytes()
        assert len(content) >= 1000
        assert set(content) <= {content[0]}

    _write_with_two_processes(path, "file", rounds, check)
    assert path.stat().st_size == 1000 + rounds - 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rounds", [50, pytest.param(250, marks=pytest.mark.slow)])
def test_two_writers_of_one_folder_leave_a_whole_one(tmp_path, rounds):
    path = tmp_path / "folder"
    _write_with_two_processes(path, "folder", rounds, lambda: None)
    first, second = sorted(path.iterdir())
    assert (first.name, second.name) == ("first", "second")
    assert first.read_bytes() == second.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_use_is_not_replaced_unless_requested(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(ConvwrightError, match="folder: the folder could not be made: "), new_folder(path) as folder:
        (folder / "new").touch()
    assert [found.name for found in path.iterdir()] == ["kept"]
    with new_folder(path, replace=True) as folder:
        (folder / "new").touch()
    assert [found.name for found in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_killed_writers_can_be_removed(tmp_path):
    code = "import os, sys; from pathlib import Path; from convwright.files import write_atomically; "
    code += "write_atomically(Path(sys.argv[1]), lambda t: (t.write_text('half'), os.kill(os.getpid(), 9)))"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_in_ignores_temporary_files_of_killed_writers(tmp_path):
    assert files.names_in(tmp_path / "missing") == []
    files.temporary_beside(tmp_path / "state.json").touch()
    files.temporary_beside(tmp_path / "fold-1").mkdir()
    assert files.names_in(tmp_path) == []
    others = [".hidden.partial", "state.json", ".state.json.0123.partial"]
    for name in others:
        (tmp_path / name).touch()
    assert files.names_in(tmp_path) == sorted(others)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_killed_writers_of_the_same_name_left(tmp_path, kind):
    path, other = tmp_path / "a", tmp_path / "a.json"
    old, new = files.temporary_beside(path), files.temporary_beside(path)
    of_another = files.temporary_beside(other)
    for left in (old, new, of_another):
        if kind == "folder":
            left.mkdir()
            left = left / "half"
        left.write_text("half")
    month_ago = time.time() - 30 * 86400
    for left in (old, of_another):
        for each in (*left.rglob("*"), left):
            os.utime(each, (month_ago, month_ago))
    if kind == "file":
        write_text(path, "whole")
    else:
        with new_folder(path) as folder:
            (folder / "whole").touch()
    assert {each.name for each in tmp_path.iterdir()} == {path.name, new.name, of_another.name}


def test_a_user_without_a_home_has_a_private_cache(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("convwright.files.Path.home", no_home)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cache_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(ConvwrightError, match="set XDG_CACHE_HOME"):
        cache_folder()


class Windows:
    """Stands in for Windows: open files cannot be replaced, and nothing can be renamed to an existing name."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(files, "_SHARING", True)
        monkeypatch.setattr(files, "_SHARING_SECONDS", 0.3)
        self.refusals, self.attempts = 0, 0
        replace, rename, fsync = Path.replace, Path.rename, os.fsync

        def replace_closed(path, target):
            self.attempts += 1
            if self.attempts <= self.refusals:
                raise PermissionError(errno.EACCES, "The process cannot access the file")
            return replace(path, target)

        def rename_to_new(path, target):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists")
            return rename(path, target)

        def fsync_writable(descriptor):
            os.write(descriptor, b"")  # fails for a descriptor that was opened for reading
            fsync(descriptor)

        monkeypatch.setattr(Path, "replace", replace_closed)
        monkeypatch.setattr(Path, "rename", rename_to_new)
        monkeypatch.setattr(os, "fsync", fsync_writable)


@pytest.fixture
def windows(monkeypatch, no_posix):
    return Windows(monkeypatch)


def test_on_windows_a_file_is_replaced_once_others_have_closed_it(tmp_path, windows):
    windows.refusals = 3
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert windows.attempts == 4


def test_on_windows_a_file_that_stays_open_is_reported(tmp_path, windows):
    (tmp_path / "a.txt").write_text("before")
    windows.refusals = 10**9
    with pytest.raises(ConvwrightError, match="could not be written: The process cannot access the file"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_on_windows_an_empty_folder_is_replaced_and_a_filled_one_stays(tmp_path, windows):
    path = tmp_path / "folder"
    path.mkdir()
    with new_folder(path) as folder:
        (folder / "a.txt").write_text("new")
    assert (path / "a.txt").read_text() == "new"
    with pytest.raises(ConvwrightError, match="the folder could not be made"), new_folder(path):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
    with new_folder(path, replace=True) as folder:
        (folder / "b.txt").write_text("newer")
    assert [each.name for each in path.iterdir()] == ["b.txt"]


def test_without_home_and_user_number_the_temporary_folder_is_used(tmp_path, windows, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert cache_folder() == tmp_path / "convwright"
