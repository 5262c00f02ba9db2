"""Whatever a request holds, its answer is a prediction or one of the documented refusals, as JSON."""

import base64
import io
import json
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from convwright.serving.limits import HEADER_BYTES
from convwright.serving.problems import REASONS

from .conftest import LIMITS, client_of


def refused(answer):
    """Return status and code of a refusal."""
    error = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert error["status"] == answer.status_code
    assert answer.status_code in REASONS
    assert error["message"]
    return answer.status_code, error["code"]


def bomb(width, height):
    """Return a small PNG that declares a large image."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def png(size=(20, 20)):
    content = io.BytesIO()
    Image.linear_gradient("L").resize(size).save(content, "PNG")
    return content.getvalue()


GOOD = png()
TEXT = base64.b64encode(GOOD).decode()
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
CASES = {
    "no image": ({"files": {"image": b"hello"}}, 415, "unknown_format"),
    "a format that starts a program": ({"files": {"image": EPS}}, 415, "unknown_format"),
    "an empty file": ({"files": {"image": b""}}, 415, "unknown_format"),
    "a truncated image": ({"files": {"image": GOOD[: len(GOOD) // 2]}}, 422, "unreadable_image"),
    "a bomb": ({"files": {"image": bomb(30_000, 30_000)}}, 413, "too_many_pixels"),
    "a large image": ({"files": {"image": png((1000, 501))}}, 413, "too_many_pixels"),
    "a large body": ({"files": {"image": GOOD + bytes(1_100_000)}}, 413, "body_too_large"),
    "many images": ({"files": [("image", GOOD)] * 6}, 413, "too_many_images"),
    "many images in JSON": ({"json": {"images": [TEXT] * 6}}, 413, "too_many_images"),
    "no type": ({"content": GOOD}, 415, "unknown_type"),
    "another type": ({"content": b"a=1", "headers": {"Content-Type": "text/plain"}}, 415, "unknown_type"),
    "no boundary": ({"content": GOOD, "headers": {"Content-Type": "multipart/form-data"}}, 422, "unreadable_body"),
    "a form without files": (
        {"content": b"--x--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        422,
        "no_images",
    ),
    "no JSON": ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "unreadable_body"),
    "deep JSON": (
        {"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
        422,
        "unreadable_body",
    ),
    "other JSON": ({"json": [1]}, 422, "unreadable_body"),
    "no texts": ({"json": {"images": [1]}}, 422, "unreadable_body"),
    "no base64": ({"json": {"images": ["\x00"]}}, 422, "unreadable_body"),
    "no images": ({"json": {"images": []}}, 422, "no_images"),
    "a wrong option": ({"files": {"image": GOOD}, "params": {"top": "many"}}, 422, "wrong_option"),
    "a coverage above 1": ({"files": {"image": GOOD}, "params": {"coverage": 90}}, 422, "wrong_option"),
    "options that exclude each other": (
        {"files": {"image": GOOD}, "params": {"coverage": 0.9, "top": 2}},
        422,
        "wrong_option",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_request_is_refused_with_the_reason(name, client):
    request, status, code = CASES[name]
    assert refused(client.post("/predict", **request)) == (status, code)


def test_one_bad_image_refuses_all_by_its_name(client):
    answer = client.post(
        "/predict", files=[("image", ("good.png", GOOD)), ("image", ("bad.png", GOOD[: len(GOOD) // 2]))]
    )
    assert refused(answer)[0] == 422
    assert "bad.png" in answer.json()["error"]["message"]


def test_other_addresses_and_methods(client):
    assert refused(client.get("/absent")) == (404, "unknown_address")
    assert refused(client.get("/predict")) == (405, "wrong_method")
    assert refused(client.get("/health", headers={"X-Long": "x" * HEADER_BYTES})) == (431, "headers_too_large")


def test_a_token_is_needed_but_for_the_state(exported):
    with client_of([exported], token="secret") as client:
        for address in ("/models", "/metrics", "/docs", "/openapi.json"):
            assert refused(client.get(address)) == (401, "no_token")
        for wrong in ("Bearer secre", "Bearer secrets", "secret", "Basic secret"):
            assert refused(client.get("/models", headers={"Authorization": wrong}))[0] == 401
        assert refused(client.post("/predict", files={"image": GOOD}))[0] == 401
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        answer = client.post("/predict", files={"image": GOOD}, headers={"Authorization": "Bearer secret"})
        assert answer.status_code == 200


def test_a_file_without_map_or_limits_refuses_them(exported, tmp_path):
    import convwright as cw

    from ..subjects import trained_run

    path = tmp_path / "plain.onnx"
    cw.open_run(trained_run()).export(path, input="tensor", images=20, limits=False)
    with client_of([path]) as client:
        assert refused(client.post("/predict?explain=1", files={"image": GOOD})) == (422, "no_map")
        assert refused(client.post("/predict?coverage=0.9", files={"image": GOOD})) == (422, "wrong_option")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.just(TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["images", "name", "data"]), inner),
    max_leaves=12,
)
IMAGES = st.one_of(
    st.binary(max_size=300),
    st.integers(0, len(GOOD)).map(lambda end: GOOD[:end]),
    st.tuples(st.integers(8, len(GOOD) - 1), st.integers(0, 255)).map(
        lambda change: GOOD[: change[0]] + bytes([change[1]]) + GOOD[change[0] + 1 :]
    ),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(lambda size: bomb(*size)),
    st.sampled_from([b"BM", b"GIF89a", b"\xff\xd8\xff", b"II*\x00", b"RIFF\x00\x00\x00\x00WEBP"]).flatmap(
        lambda start: st.binary(max_size=200).map(lambda rest: start + rest)
    ),
)
KINDS = st.sampled_from(
    [
        "image/png",
        "application/octet-stream",
        "application/json",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "text/html",
    ]
)
BODIES = st.one_of(
    st.tuples(IMAGES, KINDS).map(lambda each: {"content": each[0], "headers": {"Content-Type": each[1]}}),
    IMAGES.map(lambda image: {"files": {"image": image}}),
    JSON_VALUES.map(lambda value: {"content": json.dumps(value), "headers": {"Content-Type": "application/json"}}),
    st.lists(JSON_VALUES, max_size=3).map(
        lambda value: {"content": json.dumps({"images": value}), "headers": {"Content-Type": "application/json"}}
    ),
)


@settings(suppress_health_check=[*HealthCheck], max_examples=150)
@given(body=BODIES, explain=st.booleans())
def test_any_body_has_a_documented_answer(body, explain, client):
    answer = client.post("/predict", params={"explain": explain}, **body)
    if answer.status_code != 200:
        assert refused(answer)[0] != 500
    else:
        for each in answer.json()["predictions"]:
            assert all(0 <= one["probability"] <= 1 for one in each["predictions"])
    assert client.get("/ready").status_code == 200
    assert client.app.service.admission.requests == client.app.service.admission.bytes == 0


def test_the_limits_of_the_tests_are_those_of_the_cases():
    assert (LIMITS.body_bytes, LIMITS.most_pixels, LIMITS.images) == (1_000_000, 500_000, 5)
