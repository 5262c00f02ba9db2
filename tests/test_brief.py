"""Objects that public functions return, and what they hold, have a `repr` of one short line."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import convwright as cw
from convwright.brief import LONGEST, brief_repr

OTHERS = (nn.Module, type)
"""Classes whose `repr` is by convention another: modules of torch show their layers."""

INTERNAL = {"TrainConfig", "Recipe", "Pattern", "Checksums"}
"""Records behind public objects, which are printed whole where something is wrong with them."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Return results of the public functions."""
    folder = tmp_path_factory.mktemp("a folder whose name is as long as those of real runs often are")
    runs = {"dense": "densenet_bc_l16_k8", "gated": "cifar_seresnet8|scale:w=0.5"}
    dense, gated = (
        cw.train("digits", network=network, epochs=0.05, out=folder / name, progress=False)
        for name, network in runs.items()
    )
    predictor, maps = cw.load(gated), cw.explain.cam(gated, count=2)
    images = np.zeros((2, 8, 8, 1), np.uint8)
    return [
        *(dense, gated.explain, cw.open_data("digits"), cw.open_data("digits").train, cw.survey("digits"), cw.models()),
        *(cw.describe("resnet18"), cw.cost("resnet18"), cw.network("resnet18|scale:d=2,w=1.5,r=1.3|se:16"), cw.SE()),
        *(cw.prepare("digits", network=runs["gated"]), cw.TrainRequest(data="digits", epochs=3, mixup=0.2)),
        *(cw.evaluate(dense), cw.compare(dense, gated), predictor, predictor.predict(images), maps),
        *(cw.explain.faithfulness(None, maps, steps=2), cw.explain.excitations(gated), cw.explain.drop(gated)),
        *(cw.explain.prune(dense, [0.5], draws=1), cw.explain.activation_maps(predictor, images)),
        *(cw.explain.overlays(predictor, images), cw.plan("cifar_resnet8", "macs<=20M")),
    ]


def reachable(value: object, seen: set[type]) -> Iterator[object]:
    """Yield the first object of each of our public classes that a value holds, at any depth."""
    if isinstance(value, list | tuple | dict):
        for each in list(value.values() if isinstance(value, dict) else value)[:3]:
            yield from reachable(each, seen)
    kind = type(value)
    if kind.__module__.startswith("convwright") and kind not in seen and not isinstance(value, OTHERS):
        seen.add(kind)
        if not kind.__name__.startswith("_"):
            yield value
        for name, each in getattr(value, "__dict__", {}).items():
            if not name.startswith("_"):
                yield from reachable(each, seen)


def test_every_repr_is_one_short_line(roots: list[object]) -> None:
    seen: set[type] = set()
    found = {type(each).__name__: repr(each) for root in roots for each in reachable(root, seen)}
    assert {"Run", "DropStep", "Split", "Plan", "Predictions", "Evaluation", "Network", "Predictor"} <= found.keys()
    wrong = {name: text for name, text in found.items() if name not in INTERNAL and not _is_brief(text)}
    assert not wrong, wrong.keys()


def _is_brief(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= LONGEST and " at 0x" not in text


def test_values_that_do_not_fit_are_left_out() -> None:
    assert brief_repr("Name", {}) == "Name()"
    assert brief_repr("Name", {"a": 1, "b": None, "c": 0.123456, "d": [1, 2], "e": Path("x")}) == (
        "Name(a=1, c=0.1235, d=<2>, e='x')"
    )
    assert brief_repr("Name", {"a": "x" * 200}) == f"Name(a='{'x' * 47}...')"
    assert brief_repr("Name", {"a": Path("x" * 200) / "run"}) == f"Name(a='...{'x' * 43}/run')"
    for length in range(1, 60):
        text = brief_repr("Name", {"a": "x" * length, "c": "y" * 30, "b": 1})
        assert len(text) <= LONGEST
        assert text.endswith(("b=1)", "...)"))
    assert brief_repr("Name", {"a": "one\ntwo\x1b"}).isprintable()
