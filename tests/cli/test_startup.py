"""Commands import what they use, and none of the packages that take long and are not needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = ("torch._dynamo", "torch._inductor", "sympy")
"""What torch compiles networks with: a second of imports."""
UNUSED = (*COMPILER, "lightning_fabric", "torchvision", "sklearn", "scipy", "pandas", "matplotlib", "timm", "onnx")
RUNNER = """
import json, sys
from convwright.cli.main import main
sys.argv = ["convwright", *json.loads(sys.argv[1])]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*arguments: object) -> set[str]:
    """Return the names of the modules that a command has imported when it ends."""
    command = [sys.executable, "-c", RUNNER, json.dumps([str(each) for each in arguments])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """Return a run of one step on digits, and the modules that it needed."""
    run = tmp_path_factory.mktemp("startup") / "run"
    options = ["--network", "cifar_resnet8", "--epochs", "0.02", "--no-fused", "--out", run]
    return run, modules_after("train", "--data", "digits", *options)


def test_training_needs_torch_alone(trained: tuple[Path, set[str]]) -> None:
    run, modules = trained
    assert (run / "summary.json").exists()
    assert "torch" in modules
    needless = modules & {*UNUSED, "plotly"}
    assert not needless


def test_resuming_does_without_the_compiler_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--network", "cifar_resnet8", "--epochs", "0.1", "--no-fused", "--optimizer", "adamw", "--out", run]
    modules_after("train", "--data", "digits", *options)
    (run / "summary.json").unlink()
    max((run / "checkpoints").glob("*.pt")).unlink()
    needless = modules_after("train", "--resume", run) & {*UNUSED}
    assert not needless
    assert (run / "summary.json").exists()


def test_evaluation_needs_torch_alone(trained: tuple[Path, set[str]]) -> None:
    needless = modules_after("evaluate", trained[0]) & {*UNUSED, "plotly"}
    assert not needless


def test_a_report_needs_torch_and_plotly(trained: tuple[Path, set[str]], tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    needless = modules_after("report", trained[0], "--out", tmp_path / "report.html") & {*UNUSED}
    assert not needless


def test_a_prediction_of_a_run_needs_torch_alone(trained: tuple[Path, set[str]], tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").save(tmp_path / "image.png")
    needless = modules_after("predict", trained[0], tmp_path / "image.png") & {*UNUSED, "plotly", "rich"}
    assert not needless


def test_the_studio_starts_without_torch() -> None:
    pytest.importorskip("fastapi")
    code = "import sys, convwright.studio_app.server; print(*{'torch', 'pandas'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"
