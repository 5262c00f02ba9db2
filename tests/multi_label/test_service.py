"""A service names every class above its threshold, as `predict` does."""

import base64
import io

import pytest
from PIL import Image

import convwright as cw

pytest.importorskip("fastapi")
pytest.importorskip("onnxruntime")

from ..serving.conftest import client_of


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_every_class_above_its_threshold_is_named(run, arrays, tmp_path):
    file = tmp_path / "tiles.onnx"
    run.export(file, images=20, explain=True)
    contents = [png(pixels) for pixels in arrays[0][640:645]]
    alone = [cw.predict(file, io.BytesIO(content))[0].to_dict()["predictions"] for content in contents]
    assert [] in alone
    assert any(len(classes) > 1 for classes in alone)
    with client_of([file]) as client:
        answer = client.post("/predict", files=[("image", content) for content in contents])
        assert [each["predictions"] for each in answer.json()["predictions"]] == alone
        for options in ("top=2", "coverage=0.9"):
            refused = client.post(f"/predict?{options}", files={"image": contents[0]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (422, "wrong_option")
        for content, classes in zip(contents, alone, strict=True):
            answer = client.post("/predict?explain=1", files={"image": content})
            assert answer.status_code == (200 if classes else 422)
            if classes:
                picture = base64.b64decode(answer.json()["predictions"][0]["map"])
                assert Image.open(io.BytesIO(picture)).format == "PNG"
