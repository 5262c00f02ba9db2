"""Cards and programs with any value changed: one line of error, or a valid prediction."""

import json
import random
from contextlib import suppress
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load, save

import convwright as cw
from convwright.engines.card import CHECKSUM_PLACEHOLDER, WEIGHTS_PLACEHOLDER, Card
from convwright.engines.torch_file import PROGRAM
from convwright.errors import ConvwrightError, NotFiniteError, UsageError
from convwright.exporting.writing import FORMATS, draft, write_draft
from convwright.files import digest, digest_of
from convwright.prediction.files import FilePredictor

from ..subjects import QUICK_FORMATS, images_for, subject_of, with_new_checksum
from ..tiny import TINY

CARDS, PROGRAMS, WHOLE_FILES = 1200, 600, 70
NETWORKS = ("cifar_seresnet8|scale:w=0.25|resolution:8", TINY["dense-bottleneck"])
VALUES = [None, True, False, "", "relu", "max", "Sum", -1, 0, 1, 2, 3, 7, 0.5, -1.5, 1e300, 10**30, 10**5000, 2**31]
VALUES += [float("nan"), float("-inf"), [], [[]], [1, 2, 3], ["a", 1], {}, {"array": "none"}, {"engines": {"torch": 3}}]


def places(value, path=()):
    """Yield the path of every member of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(value, choose):
    """Return a copy of a JSON object with one member replaced, moved by one, removed, doubled or added."""
    made = deepcopy(value)
    *path, key = choose.choice(list(places(made)))
    parent = made
    for step in path:
        parent = parent[step]
    match choose.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent[key], int | float):
            parent[key] += choose.choice((-1, 1))
        case 2 if isinstance(parent, dict):
            parent[choose.choice(("unknown", "", f"{key} "))] = parent[key]
        case 3 if isinstance(parent, list):
            parent.append(parent[key])
        case _:
            parent[key] = choose.choice(VALUES)
    return made


def as_json(value):
    """Return JSON text that may hold NaN and any number of digits, as a damaged or foreign file may."""
    mark = "digits of a large number"
    return json.dumps(mark_large(value, mark)).replace(f'"{mark}"', "9" * 5000)


def mark_large(value, mark):
    """Replace what `json` refuses to write."""
    if isinstance(value, dict):
        return {key: mark_large(item, mark) for key, item in value.items()}
    if isinstance(value, list):
        return [mark_large(item, mark) for item in value]
    return mark if isinstance(value, int) and abs(value) > 10**1000 else value


def check_line(error, path):
    message = str(error)
    assert message.startswith(f"{path}: "), message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 500


def check_prediction(path, images):
    """Load a file and predict. Return whether it could be loaded; then only overflow may keep it from predicting."""
    try:
        predictor = FilePredictor(path)
    except UsageError as error:
        check_line(error, path)
        return False
    size = (len(images), predictor.channels, predictor.resolution, predictor.resolution)
    with suppress(NotFiniteError):
        probabilities = predictor.probabilities(images if size == images.shape else np.zeros(size, np.uint8))
        assert probabilities.shape == (len(images), len(predictor.classes))
        assert np.allclose(probabilities.sum(1), 1, atol=1e-4)
    return True


@pytest.fixture(scope="module", params=NETWORKS, ids=["residual", "dense"])
def subject(request):
    return subject_of(request.param)


def test_cards_with_any_value_changed_are_refused_or_sound(subject):
    choose, accepted = random.Random(0), 0
    verified = {"convwright": "1", "on": "noise", "images": 6, "engines": {"torch": {"milliseconds": 1.5, "same": 1}}}
    card = json.loads(subject.card.to_json_text()) | {"verified": verified, "seal": "0" * 32}
    own = {name: value for name, value in card.items() if name != "description"}
    for index in range(CARDS // len(NETWORKS)):
        # The description has many more members than all else, and is read by `bench` only.
        made = card | changed(own, choose) if index % 4 else changed(card, choose)
        try:
            read = Card.from_json_text(as_json(made), "file")
        except UsageError as error:
            check_line(error, "file")
            continue
        accepted += 1
        assert all(value > 0 for value in read.std)
        assert len(read.mean) == len(read.std) == read.channels
        assert 0 < read.crop <= 1
        assert all(np.isfinite(check.milliseconds) for check in read.verified.engines.values())
        if read.description != card["description"]:
            with suppress(ConvwrightError):  # as `bench` reads it
                cw.cost(cw.Network.from_json(read.description))
    assert accepted, "no mutation was harmless, so none reached the later checks"


def test_programs_with_any_value_changed_are_refused_or_predict(subject, tmp_path):
    path, images, choose = tmp_path / "network.safetensors", images_for(subject, 2), random.Random(1)
    made = draft(subject, "torch", folder=tmp_path)
    write_draft(made, path, made.card)
    content = path.read_bytes()
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    arrays, program = load(content), json.loads(metadata[PROGRAM])
    loaded = 0
    for _ in range(PROGRAMS // len(NETWORKS)):
        metadata[PROGRAM] = as_json(changed(program, choose))
        path.write_bytes(save(arrays, metadata))
        with_new_checksum(path, lambda content: content)
        loaded += check_prediction(path, images)
    assert loaded, "no mutation was harmless, so none reached the network"


@pytest.mark.parametrize("format", QUICK_FORMATS)
def test_whole_files_with_a_changed_card_are_refused_or_predict(format, tmp_path):
    """The same through every engine, whose network must fit what the card says."""
    pytest.importorskip("openvino")
    subject = subject_of(NETWORKS[0])
    path, images, choose = tmp_path / f"network{FORMATS[format]}", images_for(subject, 2), random.Random(2)
    made = draft(subject, format, folder=tmp_path)
    engines = {name: {"milliseconds": 1.0} for name in ("torch", "onnxruntime")}
    card = json.loads(made.card.to_json_text()) | {"verified": {"engines": engines}, "description": {}}
    card |= {"seal": CHECKSUM_PLACEHOLDER, "weights": WEIGHTS_PLACEHOLDER if format == "openvino" else ""}
    loaded = 0
    for _ in range(WHOLE_FILES):
        text = as_json(changed(card, choose))
        content = made.content(path, SimpleNamespace(to_json_text=lambda text=text: text))
        if format == "openvino":
            content = content.replace(WEIGHTS_PLACEHOLDER.encode(), digest(path.with_suffix(".bin")).encode())
        path.write_bytes(content.replace(CHECKSUM_PLACEHOLDER.encode(), digest_of(content).encode()))
        loaded += check_prediction(path, images)
    assert loaded
