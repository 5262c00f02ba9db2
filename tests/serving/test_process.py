"""The service as a process: it starts, ends on a signal, and opens changed files anew under load."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

import convwright as cw

from ..subjects import trained_run
from .test_refusals import GOOD

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
PATIENCE = 60.0


@contextmanager
def served(*arguments):
    """Run the command; give the process, its address, and the lines of its log so far."""
    command = [sys.executable, "-m", "convwright", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines = []
    try:
        assert process.stderr is not None
        first = json.loads(process.stderr.readline())
        assert first["event"] == "serving"

        def read():
            nonlocal lines
            for line in process.stderr:
                lines += [json.loads(line)]

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_for(lambda: answers(first["address"]))
        yield process, first["address"], lines
    finally:
        process.kill()
        process.wait()


def answers(address):
    try:
        return httpx.get(f"{address}/ready").status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def start_upload(address, content):
    """Return a connection over which the first half of a request has been sent."""
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content[:20])
    return connection


def test_a_request_that_has_begun_is_answered_after_sigterm(exported):
    with served(exported) as (process, address, lines):
        connection = start_upload(address, GOOD)
        assert answers(address)  # the service has met the request before
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: any(line["event"] == "ending" for line in lines))
        wait_for(lambda: not answers(address))
        assert process.poll() is None
        connection.sendall(GOOD[20:])
        assert b"200 OK" in connection.recv(1000)
        connection.close()
        assert process.wait(PATIENCE) == 0
        assert [line["event"] for line in lines][-1] == "ended"
        assert all(line["level"] == "info" for line in lines)


def test_a_signal_ends_the_service_at_any_time(exported):
    command = [sys.executable, "-m", "convwright", "serve", str(exported), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # says that it serves; the server has not started yet
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_bytes_that_are_no_http_are_refused_as_json(exported):
    with served(exported) as (_, address, lines):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            connection.sendall(b"\x00\xff nonsense\r\n\r\n")
            answer = b""
            while part := connection.recv(10_000):
                answer += part
        assert answer.startswith(b"HTTP/1.1 400")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["status"] == 400
        with socket.create_connection((host, int(port)), PATIENCE) as connection, suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 2_000_000)  # headers that do not end
            assert b" 200 " not in connection.recv(10_000)
        assert answers(address)
        assert lines


def test_a_refusal_reaches_clients_that_are_still_sending(exported):
    with served(exported, "--max-body", "1", "--token", "secret") as (_, address, _):
        content = bytes(30_000_000)
        for headers, status in (({}, 401), ({"Authorization": "Bearer secret"}, 413)):
            answer = httpx.post(f"{address}/predict", files={"image": content}, headers=headers, timeout=PATIENCE)
            assert answer.status_code == answer.json()["error"]["status"] == status


def test_the_python_of_the_guide_runs(exported, tmp_path, monkeypatch):
    (tmp_path / "shirt.png").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    with served(exported) as (_, address, lines):
        for block in blocks:
            exec(compile(block.replace("http://127.0.0.1:8000", address), "docs/serve.md", "exec"), {})
        wait_for(lambda: sum(line.get("status") == 200 and line.get("images") == 1 for line in lines) == len(blocks))


def test_changed_files_are_opened_under_load_without_a_dropped_request(exported, tmp_path):
    path = tmp_path / "model.onnx"
    shutil.copy(exported, path)
    other = tmp_path / "new.onnx"
    cw.open_run(trained_run()).export(other, input="tensor", limits=False, int8=True, max_drop=100, images=50)
    image = tmp_path / "image.png"
    image.write_bytes(GOOD)
    old, new = (cw.load(each).predict(image).to_dict()["predictions"][:3] for each in (path, other))
    assert old != new
    found, stop = [], threading.Event()

    def load(address):
        with httpx.Client(timeout=PATIENCE) as client:
            while not stop.is_set():
                found.append(client.post(f"{address}/predict", files={"image": GOOD}))

    def seen(predictions):
        return found and found[-1].json()["predictions"][0]["predictions"] == predictions

    with served(path) as (process, address, lines):
        threads = [threading.Thread(target=load, args=(address,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: seen(old))
        other.replace(path)
        wait_for(lambda: seen(new))
        (tmp_path / "damaged").write_bytes(exported.read_bytes()[:-100])
        (tmp_path / "damaged").replace(path)
        wait_for(lambda: "problem" in httpx.get(f"{address}/models").json()["models"][0])
        wait_for(lambda: seen(new))
        shutil.copy(exported, tmp_path / "copy")
        (tmp_path / "copy").replace(path)
        wait_for(lambda: seen(old))
        assert "problem" not in httpx.get(f"{address}/models").json()["models"][0]
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert {answer.status_code for answer in found} == {200}
    assert all(answer.json()["predictions"][0]["predictions"] in (old, new) for answer in found)
    events = [line["event"] for line in lines]
    assert (events.count("reloaded"), events.count("reload failed")) == (2, 1)


def run(*arguments):
    command = [sys.executable, "-m", "convwright", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def test_wrong_use_is_one_line(exported, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:-50])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            ("absent.onnx",): "no such file",
            (exported, exported): "both named digits",
            (exported, "--port", port): "--port: cannot listen",
            (exported, "--host", "no.such.host.invalid"): "--host: cannot listen",
            (exported, "--engine", "abacus"): "abacus",
            (trained_run(), "--engine", "openvino"): "--engine: an engine runs exported files",
            (exported, "--token", ""): "--token",
            (exported, "--max-pixels", "0"): "--max-pixels",
            (damaged,): str(damaged),
        }
        for arguments, text in cases.items():
            done = run(*arguments)
            assert done.returncode == 2, arguments
            assert text in done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr
