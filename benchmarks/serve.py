"""Throughput and latency of services at equal load: `python benchmarks/serve.py`.

Each service is a process of its own with the same network, and so is Locust, which sends the requests
(`serve_load.py`): each of its clients keeps its connection, and sends its next request when the one before is
answered. Every measurement is kept in `--out`, and a stopped benchmark continues.
`--overload 300` sends four times as many requests as `convwright serve` answers, for so many seconds, and this program
sends them itself: at a fixed rate, also while earlier ones wait, which clients of Locust do not do.
"""

import argparse
import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from machine import describe
from PIL import Image

SERVICES = ("convwright", "litserve-file", "litserve", "plain")
EXPORT = """
import sys
from pathlib import Path
import convwright as cw
from convwright.exporting.check_images import photographs
from convwright.exporting.export import export
from convwright.exporting.subject import Subject
subject = Subject.untrained(cw.network(sys.argv[1]))
export(subject, Path(sys.argv[2]), "onnx", photographs(subject.predictor, 4))
"""
START_SECONDS = 120.0
OVERLOAD = 4


@dataclass
class Load:
    """Outcomes of requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    """Of requests that were answered."""
    seconds: float = 0.0
    broken: Counter[str] = field(default_factory=Counter)
    """Reasons of requests that had no answer."""

    def count(self, connection: "Connection", status: int) -> None:
        """Count a request that has ended."""
        self.statuses[status] += 1
        if not status:
            self.broken[connection.reason] += 1

    def to_dict(self) -> dict[str, object]:
        """Return the figures."""
        median, late = (
            np.percentile(self.milliseconds, (50, 99)).round(2).tolist() if self.milliseconds else (None, None)
        )
        return {
            "requests a second": round(self.statuses[200] / self.seconds, 2),
            "median ms": median,
            "p99 ms": late,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "broken": dict(self.broken),
        }


class Connection:
    """One client of a service, which keeps its connection."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port, self.request = port, request
        self.reader: asyncio.StreamReader | None = None
        self.reason = ""

    async def send(self) -> int:
        """Send the request and return the status; 0 where there was no answer. A closed connection is opened again."""
        try:
            if self.reader is None or self.reader.at_eof():
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.writer.write(self.request)
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await self.reader.readexactly(int(length.partition(b":")[2]))
            return int(head.split(b" ", 2)[1])
        except (OSError, asyncio.IncompleteReadError, StopIteration) as error:
            self.reason = f"{type(error).__name__} {getattr(error, 'errno', '') or ''}".strip()
            self.reader = None
            return 0


async def closed_loop(port: int, request: bytes, clients: int, seconds: float) -> Load:
    """Send as many requests as so many clients can."""
    load, end = Load(), time.perf_counter() + seconds

    async def client() -> None:
        connection = Connection(port, request)
        while (started := time.perf_counter()) < end:
            status = await connection.send()
            load.count(connection, status)
            if status == 200:
                load.milliseconds.append(1000 * (time.perf_counter() - started))

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


async def at_rate(port: int, request: bytes, rate: float, seconds: float) -> Load:
    """Send requests at a rate, whether or not earlier ones are answered."""
    load, idle, tasks = Load(), list[Connection](), set[asyncio.Task[None]]()

    async def one() -> None:
        connection = idle.pop() if idle else Connection(port, request)
        started = time.perf_counter()
        status = await connection.send()
        load.count(connection, status)
        if status == 200:
            load.milliseconds.append(1000 * (time.perf_counter() - started))
        idle.append(connection)

    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - started
    return load


def loaded(port: int, body: bytes, clients: int, seconds: float) -> Load:
    """Send as many requests as so many clients of Locust can."""
    with tempfile.TemporaryDirectory() as folder:
        sent, found = Path(folder) / "body.json", Path(folder) / "found.json"
        sent.write_bytes(body)
        values = (f"http://127.0.0.1:{port}", sent, clients, seconds, found)
        command = [sys.executable, str(Path(__file__).parent / "serve_load.py"), *map(str, values)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        stored = json.loads(found.read_text(encoding="utf-8"))
    statuses = Counter({int(status): count for status, count in stored["statuses"].items()})
    return Load(statuses, stored["milliseconds"], stored["seconds"], Counter(stored["broken"]))


def body_of(service: str, side: int) -> bytes:
    """Return the body of a request: a photograph of a width, with three quarters of it as height."""
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(content, "JPEG")
    text = b64encode(content.getvalue()).decode()
    return json.dumps({"images": [text]} if service == "convwright" else {"image": text}).encode()


def request_of(body: bytes) -> bytes:
    """Return the bytes of a request with a body."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def running(service: str, network: str, file: Path, request: bytes) -> Iterator[tuple[int, int]]:
    """Start a service and give its port and process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = Path(__file__).parent
    peer = [sys.executable, str(here / "serve_peers.py"), service, network, str(file), str(port)]
    own = [sys.executable, "-m", "convwright", "serve", str(file), "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            own if service == "convwright" else peer, stderr=log, stdout=log, start_new_session=True
        )
        try:
            end = time.monotonic() + START_SECONDS
            while asyncio.run(closed_loop(port, request, 1, 0.01)).statuses[200] == 0:
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    sys.exit(f"{service} did not start:\n{log.read().decode()[-2000:]}")
                time.sleep(0.2)
            yield port, process.pid
        finally:
            with suppress(ProcessLookupError):  # LitServe has further processes
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def resident_mb(pid: int) -> float | None:
    """Return the memory of a process; None where the system does not report it."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    line = next(each for each in status.read_text(encoding="utf-8").splitlines() if each.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def overload(port: int, pid: int, request: bytes, seconds: float) -> dict[str, object]:
    """Send more than a service answers, and then measure how soon it answers as before."""
    rate = OVERLOAD * asyncio.run(closed_loop(port, request, 8, max(2.0, seconds / 20))).statuses[200]
    rate /= max(2.0, seconds / 20)
    asyncio.run(at_rate(port, request, rate, seconds / 10))
    before = resident_mb(pid)
    load = asyncio.run(at_rate(port, request, rate, seconds))
    started = time.perf_counter()
    while asyncio.run(closed_loop(port, request, 1, 0.01)).statuses[200] == 0:
        pass
    return {
        "sent a second": round(rate, 1),
        **load.to_dict(),
        "MB before": before,
        "MB after": resident_mb(pid),
        "recovery s": round(time.perf_counter() - started, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="efficientnet_b0")
    parser.add_argument("--services", nargs="+", default=SERVICES, choices=SERVICES)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--side", type=int, default=640, help="width of the image that is sent")
    parser.add_argument("--overload", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=Path("serve-benchmark"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "model.onnx"
    if not file.exists():
        subprocess.run([sys.executable, "-c", EXPORT, options.network, str(file)], check=True)
    print(describe(), options.network, sep="\n", flush=True)
    for service in options.services:
        todo = {f"{service}-{clients}": clients for clients in options.clients}
        if options.overload and service == "convwright":
            todo["convwright-overload"] = 0
        missing = [name for name in todo if not (options.out / f"{name}.json").exists()]
        body = body_of(service, options.side)
        request = request_of(body)
        if missing:
            with running(service, options.network, file, request) as (port, pid):
                for name in missing:
                    if todo[name]:
                        found = loaded(port, body, todo[name], options.seconds).to_dict()
                    else:
                        found = overload(port, pid, request, options.overload)
                    (options.out / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
        for name in todo:
            print(name, (options.out / f"{name}.json").read_text(encoding="utf-8"), flush=True)


if __name__ == "__main__":
    main()
