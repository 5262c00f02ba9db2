"""The studio in Chromium: every tab is used by keyboard and mouse, without an error, at two widths."""

import shutil
import socket
import threading
import time

import pytest

pytest.importorskip("fastapi")

import uvicorn

from convwright.studio_app.application import application

from ..chromium import EXECUTABLE, Browser
from ..subjects import trained_run

TOKEN = "a-token-of-this-test"
TABS = ("Network", "Data", "Train", "Compare", "Explain", "Ship")


class Address:
    def __init__(self, text):
        self.text = text

    def as_uri(self):
        return self.text


@pytest.fixture
def address(tmp_path):
    """A studio with two runs on a port of its own."""
    for name in ("first", "second"):
        shutil.copytree(trained_run(), tmp_path / "runs" / name)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            application(tmp_path, TOKEN), log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token={TOKEN}"
        server.should_exit = True
        thread.join(30)


def wait_for(browser, condition, seconds=90):
    end = time.monotonic() + seconds
    while not browser.run(f"Boolean({condition})"):
        assert time.monotonic() < end, condition
        time.sleep(0.1)


def set_value(browser, selector, value):
    browser.run(
        f"(() => {{ const field = document.querySelector('{selector}'); field.value = '{value}';"
        "field.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
def test_every_tab_works_in_a_browser(address):
    with Browser() as browser:
        browser.open(Address(address), 1280)
        wait_for(browser, "document.querySelector('#stages rect') && document.querySelector('#position .here')")
        browser.run("document.querySelector('#tab-Network').focus()")
        set_value(browser, "#expression", "densenet121")
        wait_for(browser, "document.querySelector('#totals').textContent.startsWith('densenet121:')")
        set_value(browser, "#se", "16")
        wait_for(browser, "document.querySelector('#totals').textContent.startsWith('densenet121|se:16:')")
        set_value(browser, "#expression", "nothing_like_it")
        wait_for(browser, "document.querySelector('[data-error=network]').textContent.includes('nothing_like_it')")
        wait_for(browser, "document.querySelector('#explain-model').value")
        for form, result in (
            ("[data-post=data]", "[data-html=data] table"),
            ("[data-post=compare]", "#curves polyline"),
            ("[data-upload=explain]", "[data-html=explain] .map"),
        ):
            use(browser, form)
            wait_for(browser, f"document.querySelector('{result}')")
        for width in (1280, 390):
            browser.resize(width, 800)
            for tab in TABS:
                browser.run(f"document.querySelector('#tab-{tab}').click()")
                shown = "[...document.querySelectorAll('[role=tabpanel]')].filter(p => !p.hidden).map(p => p.id)"
                assert browser.run(shown) == [f"panel-{tab}"]
                assert browser.run("document.documentElement.scrollWidth") <= width, (tab, width)
                browser.prefer(dark=width == 390)
                assert browser.violations() == [], (tab, width)
        unnamed = "[...document.querySelectorAll('input, select')].filter(f => !f.labels.length).map(f => f.outerHTML)"
        assert browser.run(unnamed) == []
        # The browser itself logs the refusal of the network that does not exist.
        assert [text for text in browser.complaints if "status of 422" not in text] == []
        assert all(each.startswith((address.partition("?")[0], "data:")) for each in browser.requests)


def use(browser, form):
    """Fill a form in and send it."""
    if "upload" in form:
        browser.run(
            f"""(async () => {{
                const canvas = document.createElement('canvas'); canvas.width = canvas.height = 16;
                canvas.getContext('2d').fillRect(4, 2, 6, 12);
                const data = new DataTransfer();
                const blob = await new Promise(done => canvas.toBlob(done));
                data.items.add(new File([blob], 'photo.png'));
                const field = document.querySelector('{form} input[type=file]');
                field.files = data.files; field.dispatchEvent(new Event('change'));
            }})()"""
        )
        return
    browser.run("document.querySelectorAll('#chosen input').forEach(field => { field.checked = true })")
    browser.run(f"document.querySelectorAll('{form} select').forEach(field => {{ field.value = 'digits' }})")
    browser.run(f"document.querySelector('{form}').requestSubmit()")
