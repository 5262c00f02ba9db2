from pathlib import Path

import pytest

from convwright.data import memory
from convwright.errors import DataError, OutOfMemoryError


def test_what_fits_passes_and_what_does_not_names_a_resolution_that_does() -> None:
    memory.check_fits(100, 3, 64, free=10_000_000)
    with pytest.raises(DataError) as caught:
        memory.check_fits(1000, 3, 224, free=50_000_000)
    assert str(caught.value) == (
        "1,000 images of 224 x 224 pixels take 150.5 MB of memory, and 30.0 MB may be used: resolution 96 would fit"
    )
    memory.check_fits(1000, 3, 96, free=50_000_000)


def test_too_many_images_for_any_resolution() -> None:
    with pytest.raises(DataError, match="no resolution would fit"):
        memory.check_fits(10_000, 3, 224, free=1000)


def test_a_containers_limit_counts_caches_as_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    assert memory._of_container(tmp_path) == 300
    (tmp_path / "memory.stat").write_text("anon 400\nactive_file 100\ninactive_file 200\n")
    assert memory._of_container(tmp_path) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._of_container(tmp_path) is None


def test_a_system_that_does_not_tell_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.check_fits(10**9, 3, 10**4)


def test_features_that_do_not_fit_are_described_as_features() -> None:
    memory.check_features_fit(1000, 1280, free=10_000_000)
    with pytest.raises(OutOfMemoryError, match=r"features of 10,000 images, 1,280 for each, take 51\.2 MB") as raised:
        memory.check_features_fit(10_000, 1280, free=10_000_000)
    assert "pixels" not in str(raised.value)
