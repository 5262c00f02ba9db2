"""A place that cannot be written to is reported before any work is done."""

import re
import shlex

import pytest

from convwright.errors import UsageError
from convwright.places import check_file, check_folder, check_new_folder
from convwright.training.run import Run

IMPOSSIBLE = {
    "file/inside": "file is not a folder",
    "file/deep/inside": "file is not a folder",
    "/proc/convwright": "/proc cannot be written to",
    "/": "",
    "x" * 300: "File name too long",
    "broken": "is a broken link",
    "loop": "",
}
"""No file and no folder can be made here."""
IMPOSSIBLE_FILES = {
    **{"": "is a folder", ".": "is a folder", "full": "is a folder", "absent/a": "there is no folder absent"},
    **{"file/inside": "there is no folder file", "file/deep/inside": "there is no folder file/deep"},
    **{"broken": "there is no folder", "loop": "is a link to itself"},
}
IMPOSSIBLE_FOLDERS = {"file": "is a file"}
IMPOSSIBLE_NEW = {"": "is the current folder", ".": "is the current folder", "..": "", "full": "is not empty"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a file, a full folder, and links that lead nowhere; the current one."""
    here = tmp_path / "here"
    (here / "full").mkdir(parents=True)
    (here / "full" / "keep").write_text("me")
    (here / "file").write_text("me")
    (here / "broken").symlink_to("nowhere/at/all")
    (here / "loop").symlink_to("loop")
    monkeypatch.chdir(here)
    return here


def contents(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(("path", "reason"), (IMPOSSIBLE | IMPOSSIBLE_FILES).items())
def test_impossible_files(path, reason, place):
    refused(check_file, path, reason, place)


@pytest.mark.parametrize(("path", "reason"), (IMPOSSIBLE | IMPOSSIBLE_FOLDERS).items())
def test_impossible_folders(path, reason, place):
    refused(check_folder, path, reason, place)


@pytest.mark.parametrize(("path", "reason"), (IMPOSSIBLE | IMPOSSIBLE_FOLDERS | IMPOSSIBLE_NEW).items())
def test_impossible_new_folders(path, reason, place):
    refused(check_new_folder, path, reason, place)


def refused(check, path, reason, place):
    before = contents(place.parent)
    with pytest.raises(UsageError) as error:
        check("out", type(place)(path))
    assert str(error.value).startswith("out: ")
    assert reason in str(error.value)
    assert contents(place.parent) == before


def test_places_that_will_do(place):
    for path in ("new", "file", "/dev/null", place / "new"):
        check_file("out", type(place)(path))
    (place / "empty").mkdir()
    for path in ("new", "deep/new", "empty", place / "new", "../beside"):
        check_folder("out", type(place)(path))
        check_new_folder("out", type(place)(path))
    for path in (".", "full"):
        check_folder("out", type(place)(path))
    check_file("out", None)


FILES = {
    "data": ("data", "digits", "--html"),
    "reproduce": ("reproduce", "--html"),
    "bench": ("bench", "resnet18", "--html"),
    "show": ("show", "resnet18", "--diagram"),
    "scale plan": ("scale", "plan", "resnet18", "--phi", "1", "--out"),
    "scale search": ("scale", "search", "cifar_resnet8", "--data", "digits", "--html"),
    "scale family": ("scale", "family", "cifar_resnet8", "--data", "digits", "--train", "--html"),
    "evaluate": ("evaluate", "absent", "--predictions"),
    "report": ("report", "absent", "--html"),
    "explain reuse": ("explain", "reuse", "absent", "--csv"),
}
FOLDERS = {
    "train": ("train", "--data", "digits", "--out"),
    "scale search": ("scale", "search", "cifar_resnet8", "--data", "digits", "--out"),
    "scale family": ("scale", "family", "cifar_resnet8", "--data", "digits", "--train", "--out"),
    "demo": ("demo", "--data", "digits", "--out"),
    "explain cam": ("explain", "cam", "absent", "--out"),
    "explain excitation": ("explain", "excitation", "absent", "--drop", "--save", "1", "--out"),
}


@pytest.mark.parametrize("path", ["file/a.html", "/", "."])
@pytest.mark.parametrize("command", FILES.values(), ids=FILES)
def test_every_command_checks_the_place_of_a_file(command, path, place, convwright):
    check_command(command, path, place, convwright)


@pytest.mark.parametrize("path", ["file", "file/run", "/", "/proc/run"])
@pytest.mark.parametrize("command", FOLDERS.values(), ids=FOLDERS)
def test_every_command_checks_the_place_of_a_folder(command, path, place, convwright):
    check_command(command, path, place, convwright)


def check_command(command, path, place, convwright):
    before = contents(place)
    answer = convwright(*command, path)
    assert (answer.status, answer.out) == (2, "")
    assert re.search(rf"{command[-1]}:? {re.escape(path)}", answer.message)
    assert len(answer.err.splitlines()) == 1
    assert contents(place) == before


def test_a_family_that_is_not_trained_has_a_page_too(convwright, tmp_path):
    answer = convwright("scale", "family", "cifar_resnet8", "--phi", "1", "--html", tmp_path / "family.html")
    assert answer.status == 0, answer.err
    assert "compound" in (tmp_path / "family.html").read_text()


def test_suggested_commands_can_be_pasted(tmp_path, monkeypatch, convwright):
    """Paths with blanks, quotes and leading dashes are one word of the commands that messages suggest."""
    monkeypatch.chdir(tmp_path)
    for out in ("my first run", "it's; ls", "-r"):
        answer = convwright("train", "--data", "digits", "--network", "cifar_resnet8", "--epochs", 0.1, f"--out={out}")
        assert answer.status == 0, answer.err
        *_, suggestion = answer.out.splitlines()
        program, command, path = shlex.split(suggestion.partition(": ")[2])
        assert (program, command) == ("convwright", "evaluate")
        assert (tmp_path / path).samefile(tmp_path / out)
        assert not path.startswith("-")


def test_a_network_beside_a_configuration_is_fitted_to_its_images(tmp_path, monkeypatch, convwright):
    monkeypatch.chdir(tmp_path)
    options = ("--epochs", 0.1)
    assert convwright("train", "--data", "digits", "--network", "cifar_resnet8", *options, "--out", "old").status == 0
    assert convwright("train", "--data", "digits", "--network", "resnet18", *options, "--out", "new").status == 0
    other = ("--network", "resnet18", "--out", "other")
    assert convwright("train", "--config", "old/config.yaml", *other).status == 0
    fitted, expected = (Run.open(tmp_path / name).network for name in ("other", "new"))
    assert (fitted.name, fitted.resolution) == (expected.name, expected.resolution)
    assert "|fit" in fitted.name
    assert convwright("train", "--config", "old/config.yaml", *other[:2], "--no-fit", "--out", "unfitted").status == 0
    assert "|fit" not in Run.open(tmp_path / "unfitted").network.name


OWN = ["config.yaml", "model.safetensors", "checksums.json", "checkpoints/step-000000001.pt", "picked/pick.json"]


@pytest.mark.parametrize("name", OWN)
def test_no_command_replaces_a_file_of_a_run(tmp_path, name):
    run = tmp_path / "run"
    for folder in ("checkpoints", "picked"):
        (run / folder).mkdir(parents=True)
    for other in ("config.yaml", "network.json"):
        (run / other).touch()
    with pytest.raises(UsageError, match=r"out: .* is a file of a run, which would be replaced"):
        check_file("out", run / name)
    check_file("out", run / "report.html")
    (run / "network.json").unlink()  # then it is no run
    check_file("out", run / name)


def test_no_command_replaces_an_image(tmp_path):
    image = tmp_path / "photo.PNG"
    image.touch()
    with pytest.raises(UsageError, match="is an image, which would be replaced"):
        check_file("predictions", image)
