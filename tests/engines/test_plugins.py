"""Engines of other packages: installed as any package, used as any engine, and unable to break the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convwright.engines.engine import Engine
from convwright.engines.own import OWN_ENGINES
from convwright.engines.plugins import faults

MODULE = """
import os
import numpy as np
from convwright.engines import Engine

def open_file(path, card, threads, precision):
    import onnxruntime

    fault = os.environ.get("ABACUS_FAULT", "")
    if fault == "open":
        raise RuntimeError("no beads left\\nat row 3")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images):
        logits = session.run(None, {"images": images})[0]
        if fault == "run":
            raise ZeroDivisionError
        return {"wrong": logits[:, ::-1], "infinite": logits * np.inf, "shape": logits[:, :2]}.get(fault, logits)

    return run

ENGINE = Engine("abacus", "abacus_engine", (".onnx",), open_file, ("f32", "int8"))
"""
USE = """
import json, sys
import convwright as cw

run, out = sys.argv[1:]
done = cw.export(run, out, images=20)
result = cw.bench(run, engine="abacus", precision="f32", seconds=0.01, threads=1)
print(json.dumps({"export": done.to_dict(), "bench": result.to_dict()}))
"""
EXPORT = """
import json, os, sys
import convwright as cw

run, out, *faults = sys.argv[1:]
for fault in faults:
    os.environ["ABACUS_FAULT"] = fault
    print(json.dumps(cw.export(run, out, images=20).to_dict()))
"""
PREDICT = """
import json, sys
import numpy as np
import convwright as cw

predictor = cw.load(sys.argv[1], engine=sys.argv[2] or None)
(prediction,) = predictor.predict([np.zeros((8, 8), np.uint8)])
print(json.dumps([prediction.classes, "torch" in sys.modules, "abacus_engine" in sys.modules]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package that has an engine, laid out as installers do; tests/test_adding.py runs pip."""
    folder = tmp_path_factory.mktemp("installed")
    lay_out(folder, "abacus-engine", "abacus = abacus_engine:ENGINE", abacus_engine=MODULE)
    return folder


def lay_out(folder: Path, name: str, entry_point: str, **modules: str) -> None:
    """Write the modules of a package with an engine, and what installers record of it."""
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(code)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[convwright.engines]\n{entry_point}\n")


def python(folder: Path, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(folder)} | variables
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def test_an_installed_engine_exports_measures_and_predicts(installed: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits.onnx"
    done = python(installed, "-c", USE, run, out)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["export"]["verified"]["engines"]["abacus"]["difference"] < 1e-3
    (row,) = facts["bench"]["networks"][0]["engines"]
    assert (row["engine"], row["same"]) == ("abacus", 1.0)
    assert row["median_ms"] > 0
    predicted = {}
    for engine in ("abacus", "onnxruntime"):
        done = python(installed, "-c", PREDICT, out, engine)
        classes, torch, loaded = json.loads(done.stdout)
        assert not torch, "a prediction from a file needs no torch"
        assert loaded is (engine == "abacus"), "an engine of ours needs no plug-in"
        predicted[engine] = classes
    assert predicted["abacus"] == predicted["onnxruntime"]
    help_of_engines = python(installed, "-m", "convwright", "bench", out, "--engine", "none")
    assert "abacus" in help_of_engines.stderr
    assert json.loads(python(tmp_path, "-c", PREDICT, out, "").stdout)[0] == classes, "the package may be absent"


FAULTS = {
    "open": "abacus cannot run it: no beads left",
    "run": "abacus cannot run it: ZeroDivisionError",
    "wrong": "its logits differ from the network's",
    "infinite": "NaN or infinite",
    "shape": "its logits differ from the network's by up to inf",
}
"""Faults of the engine, with what is reported of them."""


def test_an_engine_that_fails_is_listed_and_the_others_are_used(installed: Path, run: Path, tmp_path: Path) -> None:
    done = python(installed, "-c", EXPORT, run, tmp_path / "digits.onnx", *FAULTS)
    assert done.returncode == 0, done.stderr
    for line, (fault, reason) in zip(done.stdout.splitlines(), FAULTS.items(), strict=True):
        facts = json.loads(line)
        assert reason in facts["problems"]["abacus"], fault
        assert "\n" not in facts["problems"]["abacus"]
        assert "onnxruntime" in facts["verified"]["engines"]
        assert "abacus" not in facts["verified"]["engines"]


BROKEN = {
    "absent:ENGINE": "ModuleNotFoundError: No module named 'absent'",
    "broken_engine:ABSENT": "AttributeError: module 'broken_engine' has no attribute 'ABSENT'",
    "broken_engine:NUMBER": "it must be a convwright.engines.Engine, not int",
    "broken_engine:TAKEN": "another engine has the name 'openvino'",
    "broken_engine:SUFFIX": "one or more of .onnx, .pte, .safetensors, .tflite, .xml, not ('.mlmodel',)",
    "broken_exit:ENGINE": "SystemExit: 3",
}
BROKEN_MODULE = """
from convwright.engines import Engine

NUMBER = 3
TAKEN = Engine("openvino", "openvino", (".xml",), print)
SUFFIX = Engine("lite", "json", (".mlmodel",), print)
"""


def lay_out_broken(folder: Path, place: str) -> None:
    """Lay out a package with a broken engine."""
    modules = {"broken_engine": BROKEN_MODULE, "broken_exit": "raise SystemExit(3)"}
    lay_out(folder, "broken-engine", f"broken = {place}", **modules)


@pytest.mark.parametrize("place", BROKEN)
def test_a_broken_plug_in_is_reported_and_left_out(place: str, tmp_path: Path) -> None:
    lay_out_broken(tmp_path, place)
    listed = python(tmp_path, "-c", "from convwright.engines.registry import engines; print(*engines())")
    assert listed.stdout.split() == [*OWN_ENGINES]
    assert BROKEN[place] in listed.stderr
    assert listed.stderr.count("is left out") == 1


def test_commands_work_beside_a_broken_plug_in(run: Path, tmp_path: Path) -> None:
    lay_out_broken(tmp_path, "absent:ENGINE")
    out = tmp_path / "digits.onnx"
    done = python(tmp_path, "-m", "convwright", "export", run, "--out", out, "--images", 5)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("convwright: the plug-in 'broken' of broken-engine (convwright.engines) is left out: ")
    predicted = python(tmp_path, "-c", PREDICT, out, "")
    assert (predicted.returncode, predicted.stderr) == (0, ""), "Convwright's own engines do not load it"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "Abacus 2"}, "its name must be lower-case letters, digits and hyphens, not 'Abacus 2'"),
        ({"name": "torch-compile"}, "another engine has the name 'torch-compile'"),
        ({"name": "abacus"}, "another engine has the name 'abacus'"),
        ({"package": ""}, "its package must be the name of a module, not ''"),
        ({"reads": ()}, "its reads must be a tuple of one or more of"),
        ({"reads": ".onnx"}, "its reads must be a tuple of one or more of"),
        ({"precisions": ("f8",)}, "its precisions must be a tuple of one or more of f32, bf16, int8, not ('f8',)"),
        ({"open": None}, "its open must be a function, not None"),
    ],
)
def test_the_contract_is_checked(changes: dict[str, object], fault: str) -> None:
    fields = {"name": "another", "package": "json", "reads": (".onnx",), "open": print}
    assert list(faults(Engine(**fields), {"abacus": OWN_ENGINES["torch"]})) == []  # type: ignore[arg-type]
    (found,) = faults(Engine(**fields | changes), {"abacus": OWN_ENGINES["torch"]})  # type: ignore[arg-type]
    assert fault in found
