"""A page that cannot be written is told before any work is done."""

import pytest


@pytest.mark.parametrize(
    "command",
    [
        ("data", "digits"),
        ("reproduce",),
        ("bench", "resnet18"),
        ("scale", "search", "cifar_resnet8", "--data", "digits"),
        ("scale", "family", "cifar_resnet8", "--data", "digits", "--train"),
    ],
)
def test_the_place_of_a_page_is_checked_first(command, convwright, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, told in (("absent/a.html", "there is no folder absent"), (".", "is a folder; name a file in it")):
        answer = convwright(*command, "--html", name)
        assert answer.status == 2
        assert f"--html {name}" in answer.message
        assert told in answer.message
        assert answer.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_family_is_drawn_when_it_is_trained(convwright, tmp_path):
    answer = convwright("scale", "family", "cifar_resnet8", "--html", tmp_path / "family.html")
    assert answer.status == 2
    assert "--html draws trained networks; give --train too" in answer.message
