"""Every program in benchmarks/ reads its arguments, and runs at its smallest size where that takes seconds.

Of programs that take minutes or other packages, and have no small size, only the options are read.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .installed import skip_without

FOLDER = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if "ArgumentParser" in path.read_text(encoding="utf-8"))
SMALLEST: dict[str, tuple[str, ...]] = {
    "augmentation": ("--data", "digits", "--seconds", "0.1", "--only", "plain", "--out", "out"),
    "classes": ("--batches", "1"),
    "cost": ("--repeats", "2", "--candidates", "2"),
    "curation": ("--table", "--out", "out"),
    "design": ("--table", "--out", "out"),
    "eight_minutes": ("--table", "--out", "out"),
    "fashion": ("--table", "--out", "out"),
    "ideas": ("--table", "--out", "out"),
    "install_size": (),
    "inference": ("--networks", "cifar_resnet8", "--resolution", "32", "--rounds", "1", "--batch", "2"),
}
SLOW: dict[str, tuple[str, ...]] = {
    "cam": ("--data", "digits", "--epochs", "0.01", "--count", "4", "--out", "out"),
    "data": ("--images", "4", "--runs", "1", "--steps", "1"),
    "distributed": ("--networks", "cifar_resnet8"),
    "explain": ("--data", "digits", "--epochs", "0.01", "--runs", "seresnet", "--only", "train", "--out", "out"),
    "features": ("--networks", "cifar_resnet8", "--resolution", "32", "--rounds", "1", "--steps", "1"),
    "file": ("--count", "1", "--rounds", "1"),
    "gpu": ("--device", "cpu", "--quick", "--out", "out"),
    "latency": ("--networks", "resnet18", "--rounds", "2"),
    "memory": ("--batch", "2", "--depths", "10", "--rounds", "1", "--steps", "1", "--no-large", "--out", "out"),
    "paired": (
        *("optimizer", "--data", "digits", "--networks", "cifar_resnet8"),
        *("--seeds", "2", "--epochs", "0.02", "--out", "out"),
    ),
    "opening": ("--images", "4"),
    "report": ("--data", "digits", "--repeat", "1"),
    "search": ("--data", "digits", "--epochs", "0.02", "--seeds", "1"),
    "serve": ("--network", "cifar_resnet8", "--services", "convwright", "--clients", "1", "--seconds", "0.2"),
    "startup": ("--runs", "1", "--only", "import"),
    "streaming": ("--images", "8", "--processes", "1", "--runs", "1"),
    # Neither timm's nor plain operators are left to compare with.
    "training": (
        *("--networks", "cifar_resnet14", "--threads", "1", "--rounds", "1", "--steps", "1", "--out", "out"),
        *("--without", "plain", "plain, memory kept", "fused", "fused, memory-efficient", "fused, bfloat16"),
    ),
}
HELP_ALONE = {
    "defaults": "other packages, in environments of their own",
    "ideas_figures": "results of `ideas`, and Chromium",
    "image_sets": "packages of the system, and downloads",
    "limits": "minutes, on all of Fashion-MNIST",
    "pictures": "a report's page, and Chromium",
    "pretrained": "two minutes of training",
    "studio": "Chromium, and an idle machine",
    "scaling_study": "hours, and it rewrites the documentation's pictures",
    "time_to_accuracy": "hours, and other packages",
}
"""What programs need that are not run."""
PACKAGES = {
    "latency": ("timm", "onnxscript", "openvino"),
    "serve": ("fastapi", "uvicorn", "locust"),
    "file": ("openvino",),
}
HELP = """
import contextlib, runpy, sys
from pathlib import Path
for path in map(Path, sys.argv[1:]):
    sys.argv = [path.name, "--help"]
    before = set(sys.modules)
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        assert not end.code, f"{path.name} ended with {end.code}"
    else:
        raise AssertionError(f"{path.name} shows no help")
    for name in set(sys.modules) - before:  # benchmarks/data.py and others have the names of other modules
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == path.parent:
            del sys.modules[name]
"""


def run(*arguments: str, folder: Path) -> str:
    """Run Python with one thread in a folder, and return what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(FOLDER.parent / "src")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-3000:]
    return done.stdout


def test_every_program_is_run_or_named_with_what_it_needs() -> None:
    assert sorted([*SMALLEST, *SLOW, *HELP_ALONE]) == PROGRAMS


def test_every_program_shows_its_options(tmp_path: Path) -> None:
    skip_without("timm")
    shown = run("-c", f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n{HELP}", *_paths(), folder=tmp_path)
    assert shown.count("show this help message") == len(PROGRAMS)


@pytest.mark.parametrize("name", [*SMALLEST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_program_runs_at_its_smallest_size(name: str, tmp_path: Path) -> None:
    for package in PACKAGES.get(name, ()):
        skip_without(package)
    assert run(str(FOLDER / f"{name}.py"), *(SMALLEST | SLOW)[name], folder=tmp_path).strip()


def test_the_load_of_services_counts_every_answer(tmp_path: Path) -> None:
    skip_without("locust")
    (tmp_path / "body.json").write_text('{"images": []}')
    with answering() as (port, bodies):
        values = (f"http://127.0.0.1:{port}", "body.json", "2", "0.3", "found.json")
        run(str(FOLDER / "serve_load.py"), *values, folder=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(bodies) == {b'{"images": []}'}
    assert sum(found["statuses"].values()) == len(bodies) > 2
    assert set(found["statuses"]) == {"200", "429"}
    assert len(found["milliseconds"]) == found["statuses"]["200"]
    assert found["seconds"] >= 0.3
    assert not found["broken"]


@contextmanager
def answering() -> Iterator[tuple[int, list[bytes]]]:
    """Answer with status 200 and 429 in turns; give the port and the bodies that have come."""
    bodies: list[bytes] = []

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(429 if len(bodies) % 2 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, bodies
        server.shutdown()


def _paths() -> list[str]:
    return [str(FOLDER / f"{name}.py") for name in PROGRAMS]
