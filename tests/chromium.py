"""Headless Chromium, spoken to over its debugging pipe: no library, no port."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, Self

import pytest

EXECUTABLE = shutil.which("chromium") or shutil.which("google-chrome")
SECONDS = 60
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
)


class Browser:
    """One page in a browser of its own; what it logs is kept in `complaints`, what it asks for in `requests`."""

    def __enter__(self) -> Self:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # Chromium reads commands from descriptor 3 and answers on 4; a shell puts the pipes there.
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        line = f'exec "$@" 3<&{commands} 4>&{answers}'
        command = [EXECUTABLE, *_OPTIONS.split(), f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", line, "bash", *command], pass_fds=(commands, answers), stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self._unread, self._count, self._session = b"", 0, None
        page = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self.ask("Browser.close")
        self._process.wait(10)
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def open(self, page: Path, width: int = 1400, height: int = 1000, *, dark: bool = False) -> None:
        """Show a file in a window of so many pixels, and wait until its scripts have run."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.prefer(dark=dark)
        self.ask("Page.navigate", url=page.as_uri())
        while self._event()["method"] != "Page.loadEventFired":
            pass
        self.settle()

    def prefer(self, *, dark: bool) -> None:
        """Set the reader's colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.settle()

    def settle(self) -> None:
        """Wait for two frames to be drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def run(self, script: str) -> Any:
        """Evaluate a script in the page and return its value, awaited."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def violations(self) -> list[str]:
        """Return what axe-core finds against the guidelines for accessible pages: rule, element and explanation."""
        package = pytest.importorskip("axe_playwright_python")
        if not self.run("Boolean(window.axe)"):
            self.run((resources.files(package) / "axe.min.js").read_text(encoding="utf-8") + "; 1")
        return self.run(
            "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.flatMap(rule => "
            "rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`)))"
        )

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """Print the page."""
        return base64.b64decode(self.ask("Page.printToPDF", preferCSSPageSize=True)["data"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _event(self) -> dict[str, Any]:
        while "method" not in (message := self._read()):
            pass
        return message

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            assert select.select([self._from], [], [], SECONDS)[0], f"Chromium said nothing for {SECONDS} s"
            part = os.read(self._from, 1 << 20)
            assert part, "Chromium has gone"
            self._unread += part
        text, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, what: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(what["exceptionDetails"].get("exception", what["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning"):
            self.complaints.append(str(what["args"]))
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.complaints.append(what["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
