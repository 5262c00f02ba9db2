"""The Dockerfile and the Compose file start what they say, as far as that can be tried without Docker."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .test_process import PATIENCE, answers, wait_for

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")


def command(instruction):
    """Return the words of a command in a Dockerfile."""
    found = re.findall(rf"^{instruction}(?:[^\[]|\\\n)*(\[.*\])$", TEXT, re.MULTILINE)
    return json.loads(found[-1])


def test_the_container_does_not_run_as_root_and_is_contained():
    users = re.findall(r"^USER (\w+)$", TEXT, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["convwright"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", TEXT, re.MULTILINE) for word in line.split()}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_its_command_serves_and_its_health_check_tells(exported, tmp_path):
    shutil.copy(exported, tmp_path / "one.onnx")
    shutil.copy(exported, tmp_path / "two.onnx")
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = [word.replace("/models", str(tmp_path)).replace("8000", "0") for word in command("CMD")]
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(words, stderr=stream, env=os.environ | {"PATH": scripts})
    try:
        wait_for(lambda: '"serving"' in log.read_text())
        first = next(line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "serving")
        assert first["models"] == ["one", "two"]
        port = first["address"].rpartition(":")[2]
        wait_for(lambda: answers(f"http://127.0.0.1:{port}"))
        check = [word.replace("8000", port) for word in command("HEALTHCHECK")]
        environment = os.environ | {"PATH": scripts}
        assert subprocess.run(check, env=environment, timeout=PATIENCE).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert subprocess.run(check, env=environment, timeout=PATIENCE, capture_output=True).returncode != 0
    finally:
        process.kill()
        process.wait()
