"""Warnings name the line of the caller, not one of the library."""

import warnings
from pathlib import Path

import convwright as cw
from convwright.errors import ConvwrightWarning, warn
from convwright.training.run import Run

SOURCE = Path(cw.__file__).parent


def test_a_warning_names_the_callers_line(tmp_path):
    run = cw.train("digits", network="cifar_resnet8", epochs=0.05, out=tmp_path / "run", progress=False)
    (run.path / "checksums.json").unlink()
    for opened in (cw.open_run, Run.of, cw.evaluate):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            opened(run.path)
        ours = [each for each in caught if issubclass(each.category, ConvwrightWarning)]
        assert ours
        assert {each.filename for each in ours} == {__file__}


def test_a_warning_outside_of_the_library_names_its_own_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("limited")
    assert [(str(each.message), each.filename) for each in caught] == [("limited", __file__)]


def test_nothing_warns_in_another_way():
    """A level of the stack would be wrong as soon as a function is called from another one."""
    found = [path for path in SOURCE.rglob("*.py") if "warnings.warn(" in path.read_text(encoding="utf-8")]
    assert found == []
