"""What users install: the wheel holds every file that the package reads."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_code_templates_and_the_mark_of_types(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(ZipFile(wheel).namelist())
    source = ROOT / "src"
    there = {
        path.relative_to(source).as_posix()
        for path in (source / "convwright").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there <= packed, sorted(there - packed)
    assert "convwright/py.typed" in packed
    assert any(name.startswith("convwright/reporting/templates/") for name in packed)
