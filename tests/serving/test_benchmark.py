"""The benchmark of services runs at its smallest size, and continues where it was stopped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..installed import skip_without

for package in ("litserve", "locust"):
    skip_without(package)
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "serve.py"
SMALL = ("--network", "cifar_resnet8", "--clients", "1", "--seconds", "0.3", "--side", "32")


@pytest.mark.slow
def test_measurements_are_kept(tmp_path):
    command = [sys.executable, str(SCRIPT), *SMALL, "--services", "convwright", "plain", "--out", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    for service in ("convwright", "plain"):
        found = json.loads((tmp_path / f"{service}-1.json").read_text())
        assert found["statuses"].keys() == {"200"}
        assert 0 < found["median ms"] <= found["p99 ms"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.stdout == first.stdout
