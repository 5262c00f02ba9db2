"""How files that others may read call data and models of this machine."""

from pathlib import Path

import pytest

from convwright.places import without_folders


@pytest.mark.parametrize(
    "name", ["", "digits", "fashion-mnist", "a.onnx", "hf:user/name", "hf://user/name/a.onnx", "https://x.org/a/b"]
)
def test_names_and_addresses_stay(name: str) -> None:
    assert without_folders(name) == name


@pytest.mark.parametrize("path", ["/srv/secret/a.onnx", "secret/a.onnx", "../secret/a.onnx", "./a.onnx", "~/x/a.onnx"])
def test_folders_are_left_out_of_every_path(path: str) -> None:
    assert without_folders(path) == without_folders(Path(path)) == "a.onnx"
    assert without_folders(f"{path}::/secret/{{1..2}}.tar") == "a.onnx::{1..2}.tar"


def test_a_folder_without_a_name_has_that_of_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos" / "train")
    assert (without_folders("."), without_folders("..")) == ("train", "photos")
    assert without_folders("/") == "/"
