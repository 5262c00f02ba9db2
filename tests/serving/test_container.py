"""The Dockerfile and the Compose file start what they say, as far as that can be tried without Docker."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from convwright.extras import EXTRAS
from convwright.serving.limits import ServiceLimits

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
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE) for word in line.split()}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def instructions(name):
    """Return the arguments of every instruction of a name, with continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", TEXT)
    return re.findall(rf"^{name} +(.+)$", joined, re.MULTILINE)


def test_the_dockerfile_follows_the_usual_rules():
    """The rules of hadolint that apply here, by their numbers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    build, base = instructions("FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)  # DL3006, DL3007: a tag, which is not `latest`
    assert version
    assert build == f"python:{version[1]} AS build"
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]
    assert not instructions("ADD")  # DL3020
    assert not instructions("MAINTAINER")  # DL4000
    assert all(place.startswith("/") for place in instructions("WORKDIR"))  # DL3000
    assert not re.search(r"\b(sudo|apt|apt-get|curl|wget)\b", "\n".join(instructions("RUN")))  # DL3004, DL3008, DL4001
    pip = [each for line in instructions("RUN") for each in line.split("&&") if re.search("pip (install|wheel)", each)]
    assert pip
    assert all("--no-cache-dir" in each for each in pip)  # DL3042
    for name in ("CMD", "HEALTHCHECK"):  # DL3025, DL3012, DL4003
        assert len(instructions(name)) == 1
        assert command(name)
    assert TEXT.index("\nUSER ") < TEXT.index("\nCMD ")  # DL3002
    (port,) = instructions("EXPOSE")
    assert f"127.0.0.1:{port}/ready" in command("HEALTHCHECK")[2]
    assert f"--port {port}" in command("CMD")[2]


def test_the_container_stops_after_the_requests_that_it_answers():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["convwright"]
    assert int(service["stop_grace_period"].removesuffix("s")) > ServiceLimits().timeout + 1
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def installed_packages():
    """Return what the Dockerfile installs beside torch: the extras of this package, and further packages."""
    line = next(line for line in instructions("RUN") if "/wheels/*.whl" in line)
    extras, packages = re.findall(r'\*\.whl\)\[([\w,]+)\]" ([\w -]+?) +&&', line)[0]
    return extras.split(","), packages.split()


def test_what_the_dockerfile_installs_can_be_resolved():
    pytest.importorskip("pip")
    extras, packages = installed_packages()
    assert set(extras) <= EXTRAS.keys()
    assert set(packages) <= set(EXTRAS["deploy"])
    words = ["install", "--dry-run", "--no-build-isolation", "--quiet", f"{ROOT}[{','.join(extras)}]", *packages]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=5 * PATIENCE)


def hide_other_packages(folder):
    """Write a module that Python imports first, and that hides optional packages which the image does not have."""
    extras, packages = installed_packages()
    kept = {*packages, *(module for extra in extras for module in EXTRAS[extra]), *EXTRAS["report"]}
    hidden = sorted({module for modules in EXTRAS.values() for module in modules} - kept)
    assert {"nncf", "ray", "sqlalchemy"} <= set(hidden)
    text = f"import sys\nsys.modules.update(dict.fromkeys({hidden!r}))\n"
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_without_models_its_command_says_so(tmp_path):
    words = [word.replace("/models", str(tmp_path)) for word in command("CMD")]
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(words, env=os.environ | {"PATH": scripts}, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "Missing argument 'MODELS...'" in done.stderr


@pytest.mark.slow
def test_a_network_can_be_designed_in_it(tmp_path):
    (tmp_path / "hidden").mkdir()
    environment = os.environ | {"PYTHONPATH": hide_other_packages(tmp_path / "hidden")}
    words = ["design", "digits", "--budget", "params<=100k", "--minutes", "0.5", "--out", str(tmp_path / "design")]
    subprocess.run([sys.executable, "-m", "convwright", *words], env=environment, check=True, timeout=5 * PATIENCE)
    assert list((tmp_path / "design").glob("*.onnx"))


def test_its_command_serves_and_its_health_check_tells(exported, tmp_path):
    shutil.copy(exported, tmp_path / "one.onnx")
    shutil.copy(exported, tmp_path / "two words.onnx")
    (tmp_path / "hidden").mkdir()
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = [word.replace("/models", str(tmp_path)).replace("8000", "0") for word in command("CMD")]
    log = tmp_path / "log"
    environment = os.environ | {"PATH": scripts, "PYTHONPATH": hide_other_packages(tmp_path / "hidden")}
    with log.open("w") as stream:
        process = subprocess.Popen(words, stderr=stream, env=environment)
    try:
        wait_for(lambda: '"serving"' in log.read_text())
        first = next(line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "serving")
        assert first["models"] == ["one", "two words"]
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
