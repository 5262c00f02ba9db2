"""Fuzzing of exported files, of their cards, and of images that are shown to them."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st

import convwright as cw
from convwright.engines.card import CHECKSUM_PLACEHOLDER, WEIGHTS_PLACEHOLDER
from convwright.errors import NotFiniteError
from convwright.exporting.writing import FORMATS, draft, write_draft
from convwright.files import digest, digest_of

from ..mutations import damaged, mutated
from ..subjects import images_for, subject_of

SEEDS = st.integers(0, 2**40)
READ_HERE = [name for name in FORMATS if name != "coreml"]  # Core ML's packages are read on Apple's systems only


@pytest.mark.parametrize("format", READ_HERE)
def test_cards(fuzz, format, tmp_path):
    """A card with any value changed, in a file whose checksum fits."""
    if format != "torch":
        pytest.importorskip("openvino" if format == "openvino" else "onnxruntime")
    subject = subject_of("cifar_seresnet8|scale:w=0.25|resolution:8")
    path, images = tmp_path / f"network{FORMATS[format]}", images_for(subject, 2)
    made = draft(subject, format, folder=tmp_path)
    engines = {name: {"milliseconds": 1.0} for name in ("torch", "onnxruntime")}
    card = json.loads(made.card.to_json_text()) | {"verified": {"engines": engines}, "description": {}}
    card |= {"seal": CHECKSUM_PLACEHOLDER, "weights": WEIGHTS_PLACEHOLDER if format == "openvino" else ""}

    def text(seed: int) -> str:
        draw, value = random.Random(seed), card
        for _ in range(draw.choice((1, 1, 2))):
            value = mutated(value, draw)
        return json.dumps(value).replace(str(10**400), "9" * 5000)

    def use(text: str) -> None:
        content = made.content(path, SimpleNamespace(to_json_text=lambda: text))
        if format == "openvino":
            content = content.replace(WEIGHTS_PLACEHOLDER.encode(), digest(path.with_suffix(".bin")).encode())
        path.write_bytes(content.replace(CHECKSUM_PLACEHOLDER.encode(), digest_of(content).encode()))
        loaded = cw.load(path)
        try:
            predictions = loaded.predict(images.transpose(0, 2, 3, 1)).to_dict()
        except NotFiniteError:  # a mean of 1e300
            return
        assert len(predictions["predictions"]) == len(images)

    fuzz(SEEDS.map(text), use, 15)


@pytest.mark.parametrize("format", READ_HERE)
def test_exported_files(fuzz, format, tmp_path):
    """Damage anywhere in a file, with the checksum that was there."""
    if format != "torch":
        pytest.importorskip("openvino" if format == "openvino" else "onnxruntime")
    subject = subject_of("cifar_seresnet8|scale:w=0.25|resolution:8")
    path = tmp_path / f"network{FORMATS[format]}"
    made = draft(subject, format, folder=tmp_path)
    write_draft(made, path, made.card)
    whole = path.read_bytes()

    def use(content: bytes) -> None:
        path.write_bytes(content)
        cw.load(path)
        assert content == whole, "damage that was not noticed"

    fuzz(SEEDS.map(lambda seed: damaged(whole, random.Random(seed))) | st.binary(max_size=60), use, 40)


KINDS = st.sampled_from(("u1", "i2", "i8", "f2", "f4", "f8", "?", "c8", "O", "U3", "M8[s]"))
SHAPES = st.lists(st.sampled_from((0, 1, 2, 3, 4, 8, 9)), max_size=5).map(tuple)


def test_arrays_of_images(fuzz, run):
    """What a caller may hand to `predict`: arrays of any shape and type, lists, and nonsense."""
    loaded = cw.load(run)

    def array(kind: str, shape: tuple[int, ...], seed: int) -> object:
        values = np.random.default_rng(seed).normal(size=shape) * np.random.default_rng(seed).choice((1, 1e3, 1e300))
        with np.errstate(all="ignore"):
            return np.abs(values).astype("i8").astype(kind) if kind.startswith("M8") else values.astype(kind)

    arrays = st.builds(array, KINDS, SHAPES, st.integers(0, 99))
    others = st.sampled_from((None, 1, "", [], [[]], {}, "no/such/file.png", b"", object, [None], ["", 1]))

    def use(images: object) -> None:
        assert "predictions" in loaded.predict(images).to_dict()

    fuzz(arrays | others | st.lists(arrays, max_size=3), use, 60)
