"""The speed of training is measured with what will train, and without compiling anything for it."""

import pytest

import convwright as cw
from convwright.arch import fit_resolution
from convwright.designing import speed
from convwright.designing.speed import seconds_per_image
from convwright.modules import build
from convwright.modules.fused.library import DISABLE
from convwright.training.devices import training_device
from convwright.training.operators import compile_fused, fused_is_compiled

NETWORK = fit_resolution(cw.network("cifar_resnet8"), 8)


@pytest.fixture
def built(monkeypatch) -> list[bool]:
    """Whether each network that is measured has fused operators, in order."""
    found: list[bool] = []

    def note(*arguments, fused: bool, **options):
        found.append(fused)
        return build(*arguments, fused=fused, **options)

    monkeypatch.setattr(speed, "build", note)
    return found


def test_all_operators_that_training_may_take_are_measured(built) -> None:
    fused = training_device().type == "cpu" and compile_fused("32-true")
    assert fused_is_compiled("32-true") is compile_fused("32-true")
    assert seconds_per_image(NETWORK) > 0
    assert built == ([False, True] if fused else [False])


def test_disabled_operators_are_not_measured(built, monkeypatch) -> None:
    monkeypatch.setenv(DISABLE, "1")
    assert not fused_is_compiled("32-true")
    assert seconds_per_image(NETWORK) > 0
    assert built == [False]


def test_nothing_is_compiled_for_a_measurement(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("convwright.modules.fused.library.packaged_file", lambda *source: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not fused_is_compiled("32-true")
    assert not [*tmp_path.rglob("*.so")]
