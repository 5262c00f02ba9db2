"""Benchmarks on disks that are full: one line that names the file, and existing files stay."""

import sys

import numpy as np
import pytest

from convwright.benchmarking.backends import backends
from convwright.benchmarking.job import Setting
from convwright.benchmarking.measuring import measure_file, prepared
from convwright.benchmarking.selecting import save_selection
from convwright.engines.selection import FOLDER, find_selection, fingerprint
from convwright.errors import ConvwrightError

from ..limits import contents, files_up_to
from ..subjects import images_for
from .rows import row

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def test_measuring_without_room_for_temporary_files_is_one_row(subject, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    images = images_for(subject, 8)
    with (
        files_up_to(1000),
        pytest.raises(ConvwrightError, match=r"could not be written: File too large"),
        prepared(subject, list(backends().values()), ["f32"]),
    ):
        pytest.fail("there is no room")
    with files_up_to(1000), pytest.raises(ConvwrightError, match=r"images\.npy could not be written: File too large"):
        measure_file(tmp_path / "any.onnx", Setting("onnxruntime", "f32", 1, 1), images)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(ConvwrightError, match=r"no temporary folder could be made: No such file or directory; set TMP"):
        measure_file(tmp_path / "any.onnx", Setting("onnxruntime", "f32", 1, 1), images)


def test_a_selection_that_does_not_fit_leaves_the_earlier_one(subject, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    before = fingerprint(run)
    with prepared(subject, [backends()["onnxruntime"]], ["f32"]) as folder:
        selection = save_selection(run, folder, row("onnxruntime", 2e-3, 0.9), before)
        kept = contents(run / FOLDER)
        for size in (0, 100, (folder / "f32.onnx").stat().st_size - 1):
            with files_up_to(size), pytest.raises(ConvwrightError, match="could not be written: File too large"):
                save_selection(run, folder, row("onnxruntime", 1e-3, 0.9), before)
            assert contents(run / FOLDER) == kept
            assert [path.name for path in run.iterdir()] == [FOLDER]
    assert find_selection(run) == (selection, run / FOLDER / "f32.onnx")
    assert np.isfinite(selection.milliseconds)
