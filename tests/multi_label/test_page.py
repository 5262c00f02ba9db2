"""The script of docs/multi-label.md runs as written."""

import re
from pathlib import Path

import pytest

import convwright as cw

PAGE = Path(__file__).parents[2] / "docs" / "multi-label.md"


def test_the_script_runs(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8").partition("## An example")[2]
    (code, *_) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)
    found = names["run"].evaluate()
    assert found.images == 200
    assert found.mean_average_precision > 0.8
    assert cw.load("tiles.onnx").predict("799.png").classes == names["run"].predict("799.png").predictions[0].classes
    assert Path("report.html").exists()
