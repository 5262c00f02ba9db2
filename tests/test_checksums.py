"""Damage to a folder's files is noticed; interrupted and concurrent writing is not damage."""

import os
import subprocess
import sys

import pytest

from convwright.checksums import NAME, Checksums, verify
from convwright.errors import RunError


@pytest.fixture
def folder(tmp_path):
    checksums = Checksums(tmp_path)
    checksums.write("a.bin", bytes(range(256)))
    checksums.write("b.txt", b"text")
    return checksums


def test_files_are_read_as_they_were_written(folder):
    assert folder.read("a.bin") == bytes(range(256))
    assert folder.verified("b.txt").read_bytes() == b"text"
    verify(folder.folder / "a.bin")


@pytest.mark.parametrize("name", ["a.bin", "b.txt", NAME])
def test_every_flipped_bit_is_noticed(folder, name):
    path = folder.folder / name
    whole = path.read_bytes()
    for place in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        other = "a.bin" if name == NAME else name
        with pytest.raises(RunError):
            folder.read(other)
        with pytest.raises(RunError):
            folder.verified(other)
    path.write_bytes(whole)
    folder.read("a.bin")


def test_a_file_without_a_checksum_is_refused(folder):
    (folder.folder / "c.txt").write_text("not ours")
    with pytest.raises(RunError, match=r"c\.txt: is not listed in checksums\.json"):
        folder.read("c.txt")
    verify(folder.folder / "c.txt")  # somebody else's file, which happens to lie there


def test_a_pipe_or_folder_in_place_of_a_file_is_refused(folder):
    (folder.folder / "b.txt").unlink()
    for make in (os.mkfifo, os.mkdir):
        make(folder.folder / "b.txt")
        with pytest.raises(RunError, match=r"b\.txt: not a regular file"):
            folder.read("b.txt")
        if make is os.mkfifo:
            (folder.folder / "b.txt").unlink()


def test_without_checksums_everything_is_accepted_until_they_are_recorded(tmp_path):
    checksums = Checksums(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "a.pt").write_text("one")
    assert checksums.read("checkpoints/a.pt") == b"one"
    checksums.record_existing()
    assert checksums.read("checkpoints/a.pt") == b"one"
    (tmp_path / "checkpoints" / "a.pt").write_text("two")
    with pytest.raises(RunError, match="its checksum is wrong"):
        checksums.read("checkpoints/a.pt")
    checksums.record_existing()  # which never blesses damage
    with pytest.raises(RunError, match="its checksum is wrong"):
        checksums.read("checkpoints/a.pt")


def test_writers_killed_or_failed_before_the_file_is_replaced_leave_no_damage(folder):
    for number in range(3):  # a full disk takes the small checksums, again and again, and not the file
        folder.record({"b.txt": str(number) * 32, "never-written.txt": "9" * 32})
        assert folder.read("b.txt") == b"text"
    folder.record({"a.bin": "3" * 32})
    assert "never-written" not in folder.path.read_text()
    folder.write("b.txt", b"new")
    assert folder.read("b.txt") == b"new"


def test_earlier_content_is_refused_once_it_is_replaced(folder):
    folder.write("b.txt", b"new")
    (folder.folder / "b.txt").write_bytes(b"text")  # as restored from an older copy of the folder
    with pytest.raises(RunError, match="its checksum is wrong"):
        folder.read("b.txt")


def test_removed_checksums_are_recorded_anew_by_the_next_write(folder):
    folder.path.unlink()
    folder.write("b.txt", b"new")
    assert folder.read("a.bin") == bytes(range(256))


def test_names_that_are_not_utf_8_are_recorded(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("text")
    checksums = Checksums(tmp_path)
    checksums.record_existing()
    assert checksums.read(os.fsdecode(b"\xff.txt")) == b"text"


def test_a_later_version_is_named(folder):
    folder.path.write_text(folder.path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(RunError, match=r"checksums\.json: version 2 of the format, written by a later Convwright"):
        folder.read("b.txt")


def test_checksums_of_other_programs_are_left_alone(tmp_path):
    (tmp_path / NAME).write_text('{"weights.pth": "of another program"}')
    (tmp_path / "weights.pth").write_bytes(b"weights")
    verify(tmp_path / "weights.pth")


WRITER = """
import sys
from pathlib import Path
from convwright.checksums import Checksums
checksums = Checksums(Path(sys.argv[1]))
for round in range(int(sys.argv[2])):
    checksums.write("b.txt", b"%d" % round * 100)
"""


@pytest.mark.parametrize("rounds", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_readers_do_not_take_a_concurrent_writer_for_damage(folder, rounds):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, folder.folder, str(rounds)])
    reads = 0
    while writer.poll() is None:
        folder.read("b.txt")
        folder.verified("b.txt")
        reads += 1
    assert writer.wait() == 0
    assert reads > 1
    assert folder.read("b.txt") == b"%d" % (rounds - 1) * 100
