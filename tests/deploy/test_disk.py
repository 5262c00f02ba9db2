"""Disks that are full: one line that names the file, and what was there stays as it was."""

import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import convwright as cw
from convwright.benchmarking.measuring import ENGINES, Setting, measure_file, prepared
from convwright.engines.selection import FOLDER, find_selection, fingerprint, save_selection
from convwright.errors import ConvwrightError
from convwright.exporting.export import FORMATS, export

from .subjects import check_of, images_for
from .test_bench import line

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits of Linux")


@contextmanager
def files_up_to(size):
    """Let no file of this process grow beyond a size, which stands for a full disk."""
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99], ids=["nothing", "half", "nearly all"])
@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_does_not_fit_leaves_what_was_there(format, share, subject, tmp_path):
    out = tmp_path / f"network{FORMATS[format]}"
    check = check_of(subject)
    files = export(subject, out, format, check).files
    before = contents(tmp_path)
    for path in files:  # also with room for OpenVINO's .bin, and not for its .xml
        with (
            files_up_to(share * path.stat().st_size),
            pytest.raises(ConvwrightError, match=rf"^{tmp_path}/network\.\w+ could not be written: File too large$"),
        ):
            export(subject, out, format, check)
        assert contents(tmp_path) == before
        assert len(list(tmp_path.iterdir())) == len(files)
    cw.load(out)


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_to_a_full_disk_is_one_line(format, subject, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting takes privileges")
    try:
        with pytest.raises(ConvwrightError, match=r"disk/network\.\w+ could not be written: No space left on device$"):
            export(subject, disk / f"network{FORMATS[format]}", format, check_of(subject))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_interrupted_publication_is_no_sound_pair(subject, tmp_path, monkeypatch):
    """OpenVINO's two files cannot be replaced at once: between the two, loading must fail."""
    pytest.importorskip("openvino")
    from convwright.exporting import export as exporting

    from .subjects import subject_of

    out = tmp_path / "network.xml"
    export(subject, out, "openvino", check_of(subject))
    other = subject_of("cifar_resnet8|scale:w=0.25|resolution:16")
    write, moved = exporting.write_atomically, []

    def once(path, fill):
        if moved:
            raise KeyboardInterrupt
        moved.append(path.name)
        write(path, fill)

    monkeypatch.setattr(exporting, "write_atomically", once)
    with pytest.raises(KeyboardInterrupt):
        export(other, out, "openvino", check_of(other))
    assert moved == ["network.bin"]
    with pytest.raises(ConvwrightError, match=r"network\.bin belongs to another export"):
        cw.load(out)
    assert {path.name for path in tmp_path.iterdir()} == {"network.bin", "network.xml"}


def test_measuring_without_room_for_temporary_files_is_one_line(subject, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    images = images_for(subject, 8)
    with (
        files_up_to(1000),
        pytest.raises(ConvwrightError, match=r"could not be written: File too large"),
        prepared(subject, list(ENGINES.values()), ["f32"]),
    ):
        pytest.fail("there is no room")
    with files_up_to(1000), pytest.raises(ConvwrightError, match=r"images\.npy could not be written: File too large"):
        measure_file(tmp_path / "any.onnx", Setting("onnxruntime", "f32", 1, 1), images)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(ConvwrightError, match=r"no temporary folder could be made: No such file or directory; set TMP"):
        measure_file(tmp_path / "any.onnx", Setting("onnxruntime", "f32", 1, 1), images)


def test_a_pick_that_does_not_fit_leaves_the_one_before(subject, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    before = fingerprint(run)
    with prepared(subject, [ENGINES["onnxruntime"]], ["f32"]) as folder:
        pick = save_selection(run, folder, line("onnxruntime", 2e-3, 0.9), before)
        kept = contents(run / FOLDER)
        for size in (0, 100, (folder / "f32.onnx").stat().st_size - 1):
            with files_up_to(size), pytest.raises(ConvwrightError, match="could not be written: File too large"):
                save_selection(run, folder, line("onnxruntime", 1e-3, 0.9), before)
            assert contents(run / FOLDER) == kept
            assert [path.name for path in run.iterdir()] == [FOLDER]
    assert find_selection(run) == (pick, run / FOLDER / "f32.onnx")
    assert np.isfinite(pick.milliseconds)
