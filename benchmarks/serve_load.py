"""Load for `benchmarks/serve.py`, with Locust: `python benchmarks/serve_load.py ADDRESS BODY CLIENTS SECONDS OUT`.

Each client is a user of Locust that keeps its connection, and sends the file BODY as JSON again as soon as it has an
answer. It waits for the requests on their way. OUT gets every time, the statuses, and the reasons of requests without
an answer; Locust's own report rounds times above 100 ms to two digits.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, task
from locust.env import Environment

LONGEST_SECONDS = 120.0


def main() -> None:
    address, body, clients, seconds, out = sys.argv[1:]
    content = Path(body).read_bytes()
    statuses, broken, milliseconds = Counter[int](), Counter[str](), list[float]()

    class Client(FastHttpUser):
        host, wait_time = address, constant(0)
        network_timeout = connection_timeout = LONGEST_SECONDS

        @task
        def predict(self) -> None:
            self.client.post("/predict", data=content, headers={"Content-Type": "application/json"})

    def count(response_time: float, response: Any, exception: object, **_: object) -> None:
        status = int(getattr(response, "status_code", 0) or 0)
        statuses[status] += 1
        if not status:
            broken[type(exception).__name__] += 1
        elif status == 200:
            milliseconds.append(response_time)

    environment = Environment(user_classes=[Client], stop_timeout=LONGEST_SECONDS)
    environment.events.request.add_listener(count)
    runner = environment.create_local_runner()
    started = time.perf_counter()
    runner.start(int(clients), spawn_rate=1000)
    gevent.sleep(float(seconds))
    runner.quit()
    found = {
        "seconds": time.perf_counter() - started,
        "statuses": statuses,
        "broken": broken,
        "milliseconds": milliseconds,
    }
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
