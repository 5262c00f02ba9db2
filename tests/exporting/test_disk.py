"""Disks that are full: one line that names the file, and what was there stays as it was."""

import subprocess
import sys

import pytest

import convwright as cw
from convwright.errors import ConvwrightError
from convwright.exporting.export import export
from convwright.exporting.writing import FORMATS

from ..limits import contents, files_up_to
from ..subjects import QUICK_FORMATS, check_of, subject_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits of Linux")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99], ids=["nothing", "half", "nearly all"])
@pytest.mark.parametrize("format", QUICK_FORMATS)
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


@pytest.mark.parametrize("format", QUICK_FORMATS)
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
