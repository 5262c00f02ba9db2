"""The service as replicas of Ray Serve: the same answers, limits and errors, and nothing left after SIGTERM."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import convwright as cw
from convwright.serving import replica_metrics
from convwright.serving.replica_metrics import MetricsBoard, ReplicaMetrics

from ..installed import skip_without
from .test_process import answers, run
from .test_refusals import GOOD

skip_without("ray")
skip_without("starlette")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray Serve runs on Linux")
PATIENCE = 180.0
LIMITS = ("--max-images", "2", "--max-pixels", "0.01", "--token", "secret", "--queue", "2")
TOKEN = {"Authorization": "Bearer secret"}


def free_port():
    """Return a free port that the processes of Ray do not use themselves: below those that systems give out."""
    for port in range(20_000, 30_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@contextmanager
def served(*arguments):
    """Run the command on a cluster of its own; give the process, its address and the lines of its log so far."""
    port = free_port()
    command = [sys.executable, "-m", "convwright", "serve", *map(str, arguments), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[dict[str, object]] = []
    try:
        stream = process.stderr
        assert stream is not None

        def read():
            for line in stream:
                event = json.loads(line) if line.startswith("{") else {"event": line, "level": "not JSON"}
                lines.append(event)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        end = time.monotonic() + PATIENCE
        while not any(line["event"] == "serving" for line in lines):
            assert process.poll() is None, lines
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process, f"http://127.0.0.1:{port}", lines
    finally:
        process.kill()
        process.wait()


def requests_of(text, route, status):
    """Return the requests of each replica by its name."""
    found = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name == "convwright_requests_total" and route.endswith(labels["route"]) and labels["status"] == status:
                found[labels["replica"]] = value
    return found


def wait_for_metrics(web):
    """Return the metrics once they have two replicas and the four requests."""
    end = time.monotonic() + PATIENCE
    while True:
        text = web.get("/metrics").text
        replicas = {
            labels["replica"] for family in text_string_to_metric_families(text) for _, labels, *_ in family.samples
        }
        if len(replicas) == 2 and sum(requests_of(text, "POST /predict", "200").values()) >= 4:
            return text
        assert time.monotonic() < end, text
        time.sleep(0.2)


def test_metrics_of_replicas_are_joined_with_a_label(monkeypatch):
    monkeypatch.setattr(replica_metrics, "EXCHANGE_SECONDS", 3600)
    board = MetricsBoard()
    first, second = (ReplicaMetrics(board.exchange, name) for name in ("first", "second"))
    first.requests.labels("/predict", "200").inc(3)
    second.requests.labels("/predict", "200").inc(2)
    second.seconds.labels("/predict").observe(0.1)
    for replica in (first, second, first):
        replica.exchange_once()
    for replica in (first, second):
        assert requests_of(replica.text().decode(), "/predict", "200") == {"first": 3, "second": 2}
    assert first.text().decode().count("# TYPE convwright_requests_total counter") == 1
    first.requests.labels("/predict", "200").inc()
    assert requests_of(first.text().decode(), "/predict", "200") == {"first": 4, "second": 2}
    monkeypatch.setattr(replica_metrics, "FORGOTTEN_SECONDS", 0)
    first.exchange_once()
    assert first.others == {}


@pytest.mark.slow
def test_replicas_answer_like_the_single_process_and_end_on_sigterm(exported, client, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(GOOD)
    expected = client.post("/predict", params={"top": 2}, files={"image": ("image.png", GOOD)}).json()
    with served(exported, "--cluster", "local", "--replicas", "2", *LIMITS) as (process, address, lines):
        with httpx.Client(base_url=address, headers=TOKEN, timeout=PATIENCE) as web:
            for _ in range(4):  # of both replicas
                found = web.post("/predict", params={"top": 2}, files={"image": ("image.png", GOOD)})
                assert (found.status_code, found.json()) == (200, expected)
            shown = wait_for_metrics(web)
            assert sum(requests_of(shown, "POST /predict", "200").values()) == 4
            assert web.get("/models").json()["models"][0]["name"] == "digits"
            assert web.get("/docs").text.startswith("<!doctype html>")
            refused = {
                web.get("/nothing"): (404, "unknown_address"),
                web.get("/predict"): (405, "wrong_method"),
                web.post("/predict", content=b"x", headers={"Content-Type": "text/plain"}): (415, "unknown_type"),
                web.post("/predict", files=[("image", GOOD)] * 3): (413, "too_many_images"),
                web.post("/predict", params={"top": 0}, files={"image": GOOD}): (422, "wrong_option"),
                httpx.post(f"{address}/predict", files={"image": GOOD}, timeout=PATIENCE): (401, "no_token"),
            }
            for answer, (status, code) in refused.items():
                error = answer.json()["error"]
                assert (answer.status_code, error["status"], error["code"]) == (status, status, code)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert not answers(address)
    assert [line["event"] for line in lines if line["level"] == "info"][-3:] == ["serving", "ending", "ended"]


def test_wrong_use_is_one_line(exported):
    cases = {
        ("absent.onnx", "--cluster", "local"): "no such file",
        (exported, "--replicas", "2"): "--replicas: needs --cluster",
        (exported, "--cluster", "local", "--port", "0"): "--port: must be given with a cluster",
    }
    for arguments, text in cases.items():
        done = run(*arguments)
        assert done.returncode == 2, arguments
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_a_cluster_with_too_few_cores_is_refused(exported):
    with pytest.raises(cw.ConvwrightError, match="replicas: 1000 replicas need more cores"):
        cw.serve(exported, cluster="local", replicas=1000)
