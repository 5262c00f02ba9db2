"""Hostile networks: damaged JSON, numbers beyond all bounds, texts that steer terminals."""

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import convwright as cw
from convwright.arch import Paper, Result
from convwright.arch.expression import load_network
from convwright.errors import NetworkError
from convwright.units import human, human_bytes, share

BASES = (
    "densenet_l10_k4",
    "densenet_bc_l16_k8|se:4",
    "cifar_resnet8",
    "seresnet50_v1|scale:d=0.3",
    "resnext50_32x4d|scale:d=0.3",
    "efficientnet_b0|scale:d=0.4",
    "efficientnet_v2_b0|scale:d=0.3",
    "mobilenet_v2|scale:d=0.4",
    "senet154|scale:d=0.1",
    "vgg11",
    "googlenet",
    "inception_v3|scale:d=0.3",
    "inception_resnet_v2|scale:d=0.1",
    "cifar_preact_resnet164|scale:d=0.1",
)
MUTATIONS, BUILT = 2000, 40
DIGITS = "9" * 4000
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "64", "max|64 3", "64@" + "9" * 50, "\x1b[2J", "\ud800", "he", "standard"),
    *(0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**18, -(10**18), int(DIGITS), -int(DIGITS)),
    *(0.0, -0.0, 0.5, 1.5, -1.5, 1e-300, 1e300, -1e300),
    *([], [[]], [1, 2], [[[[1]]]], ["64"], {}, {"type": "Conv"}, {"type": "SE"}, {"type": "Add", "parts": []}),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a JSON value, with a key or index of it."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def mutated(original: Any, draw: random.Random) -> str:
    """Return a network's JSON with one to three random faults."""
    data = copy.deepcopy(original)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        found = list(places(data))
        if not found:
            break
        container, key = draw.choice(found)
        match draw.choice(("replace", "replace", "replace", "delete", "add", "swap", "duplicate", "negate")):
            case "replace":
                container[key] = draw.choice(VALUES)
            case "delete":
                del container[key]
            case "add" if isinstance(container, dict):
                container[draw.choice(("stride", "se", "out", "rows", "nonsense", "type"))] = draw.choice(VALUES)
            case "swap":
                other, place = draw.choice(found)
                container[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(container[key])
            case "duplicate" if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case "negate" if isinstance(container[key], int | float):
                container[key] = -container[key]
    return json.dumps(data)


def test_damaged_json_is_a_clear_error_or_a_network_that_works(tmp_path: Path) -> None:
    draw = random.Random(0)
    originals = [cw.network(name).to_json() for name in BASES]
    accepted, refused = [], list[str]()
    file = tmp_path / "network.json"
    for _ in range(MUTATIONS):
        text = mutated(draw.choice(originals), draw)
        file.write_text(text)
        try:
            network = load_network(file)
        except NetworkError as error:  # any other error fails the test
            refused.append(str(error))
            continue
        assert cw.cost(network).macs >= 0
        assert repr(network).isprintable()
        assert str(network).replace("\n", "").isprintable()
        accepted.append(network)
    assert min(len(accepted), len(refused)) > MUTATIONS // 10, "both happen"
    assert not [text for text in refused if not text.startswith(str(file)) or not text.isprintable()]
    assert max(map(len, refused)) < 1500
    for network in draw.sample(accepted, BUILT):
        try:
            module = cw.build(network, device="meta")
        except NetworkError:
            continue
        assert sum(weight.numel() for weight in module.parameters()) == cw.cost(network).params


HUGE = (10**18, 10**400, -(10**400), 10**5000, 1e300, -1e300, float("inf"), float("nan"), "many", [], b"8")
NAMES = ("1e18", "1e400", "-1e400", "1e5000", "float", "negative", "inf", "nan", "text", "list", "bytes")
CALLS: dict[str, Callable[[Any, Any], object]] = {
    "scale depth": lambda network, value: cw.scale(network, depth=value),
    "scale width": lambda network, value: cw.scale(network, width=value),
    "scale resolution": lambda network, value: cw.scale(network, resolution=value),
    "phi": lambda network, value: cw.compound(network, value),
    "alpha": lambda network, value: cw.compound(network, 1, alpha=value),
    "beta and phi": lambda network, value: cw.compound(network, value, beta=value),
    "se": lambda network, value: cw.recalibrate(network, value),
    "se least": lambda network, value: cw.recalibrate(network, 16, least=value),
    "fit": lambda network, value: cw.fit_resolution(network, value),
    "fit least": lambda network, value: cw.fit_resolution(network, 32, value),
    "resolution": lambda network, value: cw.at(network, resolution=value),
    "classes": lambda network, value: cw.at(network, classes=value),
    "channels": lambda network, value: cw.at(network, channels=value),
    "dropout": lambda network, value: cw.arch.regularise(network, dropout=value),
    "cost resolution": lambda network, value: cw.cost(network, value),
    "cost classes": lambda network, value: cw.cost(network, classes=value),
    "build": lambda network, value: cw.build(network, value, device="meta"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", HUGE, ids=NAMES)
def test_numbers_beyond_all_bounds_are_refused_in_a_line(call: str, value: Any) -> None:
    started = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        CALLS[call]("cifar_resnet8", value)
    assert len(str(caught.value)) < 300
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("text", ["a\x1b[31m", "a\nb", "a\u202eb", "a\ud800", "a\x00"])
def test_texts_with_control_characters_are_refused(text: str) -> None:
    network = cw.network("resnet18")
    for changes in (
        {"name": text},
        {"papers": (Paper(text, "A", 2016, "1512.03385"),)},
        {"papers": (Paper("T", "A", 2016, text),)},
        {"results": (Result("ImageNet", text, 24.8),)},
    ):
        with pytest.raises(NetworkError, match="has control characters") as caught:
            replace(network, **changes)
        assert str(caught.value).isprintable()


def test_texts_of_any_language_are_kept() -> None:
    for text in ("naïve", "残差网络", "réseau 2", "שלום", "a\u00a0b"):
        assert replace(cw.network("resnet18"), name=text).name == text


def test_counts_of_any_size_are_written() -> None:
    assert human(10**400) == "1.00e+400"
    assert human_bytes(10**5000) == "1.00e+5000 B"
    assert share(10**400, 2 * 10**400) == "50.0 %"
