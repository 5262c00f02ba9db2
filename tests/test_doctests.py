"""The examples in the docstrings of public functions are run, and give what they show."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.photos import temple_and_flower

import convwright as cw
import convwright.api

RUNS = {
    "digits": {"data": "digits", "network": "cifar_resnet8", "epochs": 0.2},
    "photos": {"data": "photos", "network": "cifar_resnet8", "resolution": 32, "epochs": 1, "batch_size": 16},
    "dense": {"data": "photos", "network": "densenet_bc_l40_k12", "resolution": 32, "epochs": 0.5, "batch_size": 16},
    "gated": {"data": "photos", "network": "cifar_seresnet8", "resolution": 32, "epochs": 0.5, "batch_size": 16},
}
"""Runs that examples may use, by their folder in `runs`."""
FINDER = doctest.DocTestFinder(recurse=False)


def public_objects() -> Iterator[tuple[str, object]]:
    """Yield every public function and class of the library, and the methods of the classes, by name."""
    found: dict[str, object] = {"cw": cw}
    found |= {f"cw.{name}": getattr(cw, name) for name in cw.__all__ if name != "__version__"}
    found |= {f"cw.explain.{name}": getattr(cw.explain, name) for name in cw.explain.__all__}
    for module in pkgutil.iter_modules(convwright.api.__path__, "convwright.api."):
        found |= {
            f"{module.name}.{name}": each
            for name, each in vars(importlib.import_module(module.name)).items()
            if getattr(each, "__module__", "") == module.name and not name.startswith("_")
        }
    seen = set()
    for name, each in found.items():
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield name, each
        if inspect.isclass(each):
            yield from (
                (f"{name}.{member}", value) for member, value in vars(each).items() if inspect.isfunction(value)
            )


def examples() -> list[doctest.DocTest]:
    """Return the examples of every public object that has some."""
    tests = [test for name, each in public_objects() for test in FINDER.find(each, name, module=False)]
    return [test for test in tests if test.examples]


@pytest.fixture(scope="session")
def run_named(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the directory of a run, trained when it is first used."""
    folder = tmp_path_factory.mktemp("doctests")
    temple_and_flower(_made(folder / "photos"))

    def make(name: str) -> Path:
        path = folder / "runs" / name
        if name in RUNS and not path.exists():
            request = dict(RUNS[name])
            data = folder / "photos" if request["data"] == "photos" else request["data"]
            cw.train(**request | {"data": str(data)}, out=str(path), progress=False)
        return path if name else folder

    return make


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_example(example, run_named, tmp_path, monkeypatch):
    shutil.copytree(run_named("") / "photos", tmp_path / "photos")
    _made(tmp_path / "new")
    shutil.copy(tmp_path / "photos" / "temple" / "00.png", tmp_path / "new" / "holiday.png")
    active = [each.source for each in example.examples if not each.options.get(doctest.SKIP)]
    text = "".join(active)
    made = set(re.findall(r"out=\"runs/(\w+)\"", text))
    for name in set(re.findall(r"\"runs/(\w+)\"", text)) - made:
        shutil.copytree(run_named(name), tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    example.globs = {"cw": cw, "torch": torch, "np": np}
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=output.append)
    assert not runner.failures, "".join(output)


def test_public_verbs_have_examples():
    named = {test.name for test in examples()}
    functions = [name for name, each in public_objects() if inspect.isfunction(each) and name.count(".") == 1]
    assert len(functions) > 8
    assert not [name for name in functions if name not in named]


def test_no_example_of_an_explanation_is_skipped():
    skipped = [test.name for test in examples() if any(one.options.get(doctest.SKIP) for one in test.examples)]
    assert not [name for name in skipped if name.startswith("cw.explain.")]


def test_a_wrong_example_is_noticed():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    runner = doctest.DocTestRunner()
    runner.run(test, out=lambda text: None)
    assert runner.failures == 1


def _made(path: Path) -> Path:
    path.mkdir()
    return path
