"""Time until the studio answers, and until its tab Network shows a change: `python benchmarks/studio.py`.

The first start has no compiled Python files and no cache of Convwright. The tab is used in Chromium with Playwright:
the time is from the movement of a slider, or another network, to the end of the frame with its cost and its place.
"""

import argparse
import http.client
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from machine import describe
from playwright.sync_api import Page, sync_playwright

NETWORKS = ("resnet18", "resnet50", "efficientnet_b0", "efficientnet_b4", "densenet121", "densenet201", "mobilenet_v2")
SLIDERS = {"depth": (0.8, 1.4), "width": (0.7, 1.3), "resolution": (160, 320)}
UPDATE = """([field, value]) => new Promise(done => {
  const started = performance.now(), totals = document.querySelector('#totals');
  const observer = new MutationObserver(() => {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
  });
  observer.observe(totals, {childList: true, characterData: true, subtree: true});
  const input = document.querySelector(`#${field}`);
  input.value = value;
  input.dispatchEvent(new Event('input', {bubbles: true}));
})"""
"""Milliseconds from a change of a field until the frame that shows it is drawn."""


@contextmanager
def started(folder: str, environment: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Start a studio; give its address and the seconds until its page was answered."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "convwright", "studio", folder, "--port", "0", "--no-open-browser"]
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().rpartition(": ")[2].strip()
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request("GET", f"/?{parts.query}")
        response = connection.getresponse()
        response.read()
        cookie = (response.getheader("set-cookie") or "").partition(";")[0]
        connection.request("GET", "/", headers={"Cookie": cookie})
        assert connection.getresponse().status == 200
        yield address, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def start_seconds(folder: str, repeats: int) -> tuple[float, list[float]]:
    """Return the time of a first start, and of later ones."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {"PYTHONPYCACHEPREFIX": f"{empty}/python", "XDG_CACHE_HOME": f"{empty}/cache"}
        with started(folder, environment) as (_, first):
            pass
    later = []
    for _ in range(repeats + 1):
        with started(folder, {}) as (_, seconds):
            later.append(seconds)
    return first, later[1:]


def updates(page: Page, repeats: int) -> dict[str, list[float]]:
    """Return milliseconds of updates, by kind of change."""
    found: dict[str, list[float]] = {"another network": [], "a slider": []}
    for _ in range(repeats):
        for network in NETWORKS:
            found["another network"].append(page.evaluate(UPDATE, ["expression", network]))
            for name, values in SLIDERS.items():
                found["a slider"] += [page.evaluate(UPDATE, [name, value]) for value in values]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("this benchmark needs Chromium")
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        first, later = start_seconds(folder, options.repeats)
        print(f"first start {first:.2f} s; later starts, median of {len(later)}: {statistics.median(later):.2f} s")
        with started(folder, {}) as (address, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=Path(chromium), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address)
            page.wait_for_selector("#position .here", timeout=60_000)
            for kind, values in updates(page, options.repeats).items():
                late = statistics.quantiles(values, n=20)[-1]
                print(
                    f"{kind}: median {statistics.median(values):.0f} ms, 95 % below {late:.0f} ms, {len(values)} times"
                )
            browser.close()


if __name__ == "__main__":
    main()
