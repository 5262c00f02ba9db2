"""A file that no engine can run is told in one line that says why."""

import pytest

from convwright.deploy.engines import open_file
from convwright.errors import UsageError

pytest.importorskip("openvino")


def test_weights_that_are_not_beside_are_told(tmp_path):
    (tmp_path / "network.xml").write_text("<net/>")
    with pytest.raises(UsageError, match=r"network\.xml: its weights are not beside it: there is no network\.bin"):
        open_file(tmp_path / "network.xml", "openvino")


def test_a_damaged_file_is_told_without_places_in_an_engines_source(tmp_path):
    (tmp_path / "network.xml").write_text("<net/>")
    (tmp_path / "network.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"network\.xml: openvino cannot run it: ") as told:
        open_file(tmp_path / "network.xml", "openvino")
    assert "Exception from" not in str(told.value)
