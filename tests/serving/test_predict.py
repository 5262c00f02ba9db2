"""Predictions over HTTP are those of `convwright predict` on the same file, bit for bit."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convwright as cw

from ..subjects import trained_run
from .conftest import client_of


def expected(model, content, tmp_path, **options):
    (tmp_path / "one.png").write_bytes(content)
    (found,) = cw.predict(model, tmp_path / "one.png", **options)
    return {key: value for key, value in found.to_dict().items() if key != "file"}


def without_file(prediction):
    return {key: value for key, value in prediction.items() if key != "file"}


@pytest.mark.parametrize("options", [{}, {"top": 5}, {"coverage": 0.9}, {"coverage": 0.75}])
def test_predictions_are_those_of_the_command(options, client, exported, pictures, tmp_path):
    for content in pictures.values():
        answer = client.post("/predict", params=options, files={"image": content})
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["predictions"]
        assert without_file(found) == expected(exported, content, tmp_path, **options)


def test_every_form_of_a_body_gives_the_same(client, pictures):
    name, content = next(iter(pictures.items()))
    text = base64.b64encode(content).decode()
    bodies = [
        {"files": {"image": (name, content)}},
        {"json": {"images": [{"name": name, "data": text}]}},
        {"json": {"images": [f"data:image/png;base64,{text}"]}},
        {"content": content, "headers": {"Content-Type": "image/png"}},
        {"content": content, "headers": {"Content-Type": "application/octet-stream"}},
    ]
    answers = [client.post("/predict", **body) for body in bodies]
    assert {answer.status_code for answer in answers} == {200}
    found = [without_file(answer.json()["predictions"][0]) for answer in answers]
    assert all(each == found[0] for each in found)
    assert [answer.json()["predictions"][0]["file"] for answer in answers[:2]] == [name, name]


def test_several_images_are_answered_in_order(client, exported, pictures, tmp_path):
    answer = client.post("/predict", files=[("image", each) for each in pictures.items()])
    found = answer.json()["predictions"]
    assert [each["file"] for each in found] == list(pictures)
    for each, content in zip(found, pictures.values(), strict=True):
        assert without_file(each) == expected(exported, content, tmp_path)


def test_a_map_is_a_picture(client, pictures):
    for content in pictures.values():
        answer = client.post("/predict?explain=1", files={"image": content})
        picture = Image.open(io.BytesIO(base64.b64decode(answer.json()["predictions"][0]["map"])))
        assert min(picture.size) >= 200
        assert np.ptp(np.asarray(picture)) > 0
        alone = client.post("/predict?explain=1", files={"image": content}, headers={"Accept": "image/png"})
        assert alone.headers["content-type"] == "image/png"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(alone.content))), np.asarray(picture))


@pytest.mark.parametrize("precision", ["file", "run"])
def test_several_models_are_chosen_by_name(precision, exported, pictures, tmp_path, monkeypatch):
    run = trained_run()
    monkeypatch.chdir(tmp_path)
    other = Path("folder/other.onnx")
    other.parent.mkdir()
    other.write_bytes(exported.read_bytes())
    content = next(iter(pictures.values()))
    with client_of([exported, other] if precision == "file" else [exported, f"other={run}"]) as client:
        models = client.get("/models").json()["models"]
        assert [model["name"] for model in models] == ["digits", "other"]
        assert not any("/" in model["path"] for model in models)  # clients need no folders of the server
        answers = [
            client.post("/predict?model=other&top=3", files={"image": content}),
            client.post("/models/other/predict?top=3", files={"image": content}),
        ]
        for answer in answers:
            assert answer.json()["model"] == "other"
            source = other if precision == "file" else run
            assert without_file(answer.json()["predictions"][0]) == expected(source, content, tmp_path, top=3)
        sets = client.post("/models/other/predict?coverage=0.8", files={"image": content})
        assert without_file(sets.json()["predictions"][0]) == expected(source, content, tmp_path, coverage=0.8)
        assert client.post("/predict", files={"image": content}).json()["error"]["code"] == "model_missing"
        missing = client.post("/predict?model=absent", files={"image": content})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_model")


def test_the_page_and_the_description_need_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text.replace("http://testserver/", "")
    assert "script" not in page.text
    description = client.get("/openapi.json").json()
    body = description["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/json"} <= body.keys()
    example = body["application/json"]["examples"]["texts"]["value"]
    assert client.post("/predict", json=example).status_code == 200


def test_metrics_count_images_and_requests(client, pictures):
    def counted():
        lines = client.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    before = counted()
    client.post("/predict", files=[("image", each) for each in pictures.items()])
    after = counted()
    name = 'convwright_images_total{model="digits"}'
    assert after[name] - before.get(name, 0) == len(pictures)
    name = 'convwright_requests_total{route="/predict",status="200"}'
    assert after[name] - before.get(name, 0) == 1
