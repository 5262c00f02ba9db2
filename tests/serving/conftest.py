"""A service in this process, with an exported file of a small trained network."""

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("onnxruntime")

from fastapi.testclient import TestClient

import convwright as cw
from convwright.serving.application import application
from convwright.serving.limits import ServiceLimits
from convwright.serving.metrics import Metrics
from convwright.serving.models import Models

from ..subjects import trained_run

LIMITS = ServiceLimits(body=1.0, pixels=0.5, images=5, queue=4, timeout=20.0)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A file with a map and limits."""
    path = tmp_path_factory.mktemp("exported") / "digits.onnx"
    cw.open_run(trained_run()).export(path, explain=True, images=60)
    return path


@pytest.fixture(scope="session")
def pictures():
    """Images of several sizes and modes as the content of files, by name."""
    random = np.random.default_rng(1)
    found = {}
    for number, (mode, size, kind) in enumerate(
        [("L", (8, 8), "PNG"), ("RGB", (40, 30), "PNG"), ("RGBA", (9, 21), "PNG"), ("RGB", (33, 64), "JPEG")]
    ):
        pixels = random.integers(0, 256, (*size[::-1], len(mode.replace("L", "x"))), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels[..., 0] if mode == "L" else pixels).save(content, kind)
        found[f"{number}.{kind.lower()}"] = content.getvalue()
    return found


def client_of(paths, limits=LIMITS, token=None):
    """Return a client of a service with these models."""
    metrics = Metrics()
    app = application(Models([Path(path) for path in paths], limits, metrics), limits, metrics, token)
    return TestClient(app, raise_server_exceptions=True)


@pytest.fixture(scope="session")
def client(exported):
    with client_of([exported]) as client:
        yield client


@pytest.fixture
def many():
    """Return a transport-level client of an application, for requests at once."""

    def make(app):
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")

    return make
